//! One participant's UDP socket: batches in (`recvmmsg`, `UDP_GRO`, kernel arrival times), runs of equal datagrams out
//! in one call (`UDP_SEGMENT`).
#![allow(unsafe_code)] // batched receiving with timestamps and segmented sending exist only as raw socket calls

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::time::{ClockId, clock_gettime};

use crate::clock::Moment;

/// A bound, non-blocking socket; connected once its peer is known, which spares the kernel a look-up per packet.
pub struct Socket {
    socket: UdpSocket,
    segments: bool,
}

/// Memory for one `recvmmsg`, reused over the life of a thread.
pub struct Batch {
    bytes: Box<[u8]>,
    slots: Box<[Slot]>,
    filled: usize,
}

/// The same moment on both clocks: the kernel stamps arrivals in wall-clock time, participants live in monotonic time.
#[derive(Clone, Copy)]
pub struct ClockPair {
    /// Monotonic.
    pub now: Moment,
    /// Wall clock, in nanoseconds since 1970.
    wall: u64,
}

struct Slot {
    control: Control,
    length: usize,
    segment: usize,
    /// Wall clock, in nanoseconds since 1970; 0 where the kernel did not say.
    arrived: u64,
}

impl Socket {
    /// Binds to a port of the kernel's choice, of the family of `peer`.
    ///
    /// # Errors
    /// What the kernel says: no descriptor left, or no such family.
    pub fn for_peer(peer: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr =
            if peer.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let domain = socket2::Domain::for_address(any);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM.nonblocking(), Some(socket2::Protocol::UDP))?;
        socket.bind(&any.into())?;
        let fd = socket.as_raw_fd();
        set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, WANTED_BUFFER);
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, WANTED_BUFFER); // with privilege only
        // Both are optimisations that old kernels lack: receiving works without, sending falls back.
        let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        let segments = set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        Ok(Self { socket: socket.into(), segments })
    }

    /// Sends to and hears `peer` alone from now on.
    ///
    /// # Errors
    /// No route to it.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(peer)
    }

    /// Sends one datagram to an address, for checks of a path before it is chosen.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::WouldBlock`] where the socket is full.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(bytes, to).map(|_| ())
    }

    /// Sends datagrams of `lengths` that stand one behind the other in `bytes`, each run of equal ones in one call.
    /// Returns how many could not be sent.
    pub fn send_all(&self, mut bytes: &[u8], mut lengths: &[u16]) -> usize {
        let mut unsent = 0;
        while let Some(&first) = lengths.first() {
            let count = if self.segments { run_of(lengths) } else { 1 };
            let total: usize = lengths[..count].iter().map(|&length| usize::from(length)).sum();
            let (run, rest) = bytes.split_at(total);
            if self.send_run(run, (count > 1).then_some(first)).is_err() {
                unsent += count;
            }
            (bytes, lengths) = (rest, &lengths[count..]);
        }
        unsent
    }

    /// Receives what waits, at most one batch. Returns whether more probably waits.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing waits; [`io::ErrorKind::ConnectionRefused`] when the peer is gone.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.filled = 0;
        // SAFETY: all-zero is a valid value of these plain C structs.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { zeroed() };
        let mut vectors: [libc::iovec; MESSAGES] = unsafe { zeroed() };
        let slots = batch.slots.iter_mut().zip(batch.bytes.chunks_exact_mut(MESSAGE_BYTES));
        for ((header, vector), (slot, bytes)) in headers.iter_mut().zip(&mut vectors).zip(slots) {
            *vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = slot.control.0.len() as _;
        }
        let received = retry_interrupted(|| {
            // SAFETY: each header points at memory of the batch that outlives the call and is borrowed by nobody else.
            unsafe {
                let fd = self.socket.as_raw_fd();
                libc::recvmmsg(fd, headers.as_mut_ptr(), MESSAGES as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
                    as isize
            }
        })?;
        for (slot, header) in batch.slots.iter_mut().zip(&headers[..received]) {
            slot.read(header);
        }
        batch.filled = received;
        Ok(received == MESSAGES)
    }

    /// Sends bytes to the connected peer, cut every `segment` bytes.
    fn send_run(&self, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        let Some(segment) = segment else { return self.socket.send(bytes).map(|_| ()) };
        let mut control = Control([0; CONTROL_BYTES]);
        let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: all-zero is a valid msghdr; CMSG_SPACE and CMSG_LEN only compute, and CONTROL_BYTES holds one short.
        let header = unsafe {
            let message = control.0.as_mut_ptr().cast::<libc::cmsghdr>();
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
            let mut header: libc::msghdr = zeroed();
            header.msg_iov = &mut vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
            header
        };
        retry_interrupted(|| {
            // SAFETY: the header points at locals and at `bytes`, all alive; sendmsg writes to none of them.
            unsafe { libc::sendmsg(self.socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        })
        .map(|_| ())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Batch {
    /// Memory for `MESSAGES` messages of the greatest size.
    pub fn new() -> Self {
        let slot = || Slot { control: Control([0; CONTROL_BYTES]), length: 0, segment: 0, arrived: 0 };
        Self {
            bytes: vec![0; MESSAGES * MESSAGE_BYTES].into_boxed_slice(),
            slots: (0..MESSAGES).map(|_| slot()).collect(),
            filled: 0,
        }
    }

    /// Whether the last receive brought nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Hands over each datagram of the last receive, in order, with its arrival.
    pub fn each(&mut self, clock: ClockPair, mut take: impl FnMut(Moment, &mut [u8])) {
        let messages = self.slots.iter().zip(self.bytes.chunks_exact_mut(MESSAGE_BYTES));
        for (slot, bytes) in messages.take(self.filled) {
            let arrived = clock.arrival(slot.arrived);
            for datagram in bytes[..slot.length].chunks_mut(slot.segment.max(1)) {
                take(arrived, datagram);
            }
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl ClockPair {
    /// Reads both clocks.
    pub fn now() -> Self {
        let wall = clock_gettime(ClockId::Realtime);
        Self { now: Moment::now(), wall: wall.tv_sec as u64 * 1_000_000_000 + wall.tv_nsec as u64 }
    }

    /// Converts a kernel time. A difference that no datagram waits for means that the wall clock was moved: then the
    /// arrival is now.
    fn arrival(&self, kernel: u64) -> Moment {
        let age = self.wall.saturating_sub(kernel);
        if kernel == 0 || age > OLDEST_ARRIVAL { self.now } else { Moment(self.now.0.saturating_sub(age)) }
    }
}

impl Slot {
    fn read(&mut self, header: &libc::mmsghdr) {
        self.length = (header.msg_len as usize).min(MESSAGE_BYTES);
        self.segment = self.length;
        self.arrived = 0;
        // SAFETY: the kernel filled the header's control buffer, which is this slot's; the CMSG macros stay within
        // the length that it wrote, and each payload is read unaligned with the type its level and type promise.
        unsafe {
            let mut cursor = libc::CMSG_FIRSTHDR(&header.msg_hdr);
            while let Some(message) = cursor.as_ref() {
                let data = libc::CMSG_DATA(cursor);
                match (message.cmsg_level, message.cmsg_type) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let time = data.cast::<libc::timespec>().read_unaligned();
                        self.arrived = time.tv_sec.max(0) as u64 * 1_000_000_000 + time.tv_nsec.max(0) as u64;
                    }
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        self.segment = data.cast::<libc::c_int>().read_unaligned().max(1) as usize;
                    }
                    _ => {}
                }
                cursor = libc::CMSG_NXTHDR(&header.msg_hdr, cursor);
            }
        }
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            self.length = 0; // nothing of ours is that long
        }
    }
}

/// Ancillary data, aligned as `cmsghdr` wants.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// How many datagrams from the first on go in one call: equal ones, of which the last may be shorter.
fn run_of(lengths: &[u16]) -> usize {
    let first = lengths[0];
    let most = SEGMENTS_MAX.min(RUN_BYTES_MAX / usize::from(first.max(1))).max(1);
    let equal = lengths.iter().take(most).take_while(|&&length| length == first).count();
    match lengths.get(equal) {
        Some(&last) if equal < most && last < first => equal + 1,
        _ => equal,
    }
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option value is a live int of the size that is passed.
    let status = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn retry_interrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Messages per `recvmmsg`: with GRO each holds a burst, and a participant's socket seldom has more than a few.
const MESSAGES: usize = 8;
/// The largest UDP payload, which is also the most that GRO joins.
const MESSAGE_BYTES: usize = 65_536;
/// Room for a timestamp (32) and a segment size (24), rounded up.
const CONTROL_BYTES: usize = 64;
/// 1 MiB holds a second of eight megabits: more than one participant is sent while a thread is kept from its socket.
const WANTED_BUFFER: libc::c_int = 1 << 20;
/// The receive buffer holds far less than five seconds of traffic; in nanoseconds.
const OLDEST_ARRIVAL: u64 = 5_000_000_000;
/// What every kernel with `UDP_SEGMENT` takes in one call.
const SEGMENTS_MAX: usize = 64;
/// Below the largest UDP payload, headers included.
const RUN_BYTES_MAX: usize = 65_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_the_first_shorter_datagram_or_before_a_longer_one() {
        assert_eq!(run_of(&[100]), 1);
        assert_eq!(run_of(&[100, 100, 60, 60]), 3);
        assert_eq!(run_of(&[100, 100, 101]), 2);
        assert_eq!(run_of(&[100, 101]), 1);
        assert_eq!(run_of(&[100; 100]), SEGMENTS_MAX);
        assert_eq!(run_of(&[1200; 100]), 54);
    }

    #[test]
    fn datagrams_of_any_sizes_arrive_in_order_with_a_time_near_to_now() {
        let receiver = Socket::for_peer("127.0.0.1:9".parse().unwrap()).unwrap();
        let port = receiver.socket.local_addr().unwrap().port();
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let sender = Socket::for_peer(to).unwrap();
        sender.connect(to).unwrap();
        let lengths = [1200_u16, 1200, 1200, 700, 900, 80];
        let bytes: Vec<u8> = (0..lengths.len()).flat_map(|i| vec![i as u8; usize::from(lengths[i])]).collect();
        assert_eq!(sender.send_all(&bytes, &lengths), 0);
        let (mut batch, mut seen) = (Batch::new(), Vec::new());
        receiver.receive(&mut batch).unwrap();
        let clock = ClockPair::now();
        batch.each(clock, |arrived, datagram| {
            assert!(clock.now.since(arrived).as_millis() < 1000 && arrived <= clock.now);
            seen.push((datagram[0], datagram.len() as u16));
        });
        let sent: Vec<_> = lengths.iter().enumerate().map(|(i, &length)| (i as u8, length)).collect();
        assert_eq!(seen, sent);
        assert_eq!(receiver.receive(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

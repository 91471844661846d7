//! A worker's UDP socket: batches in (`recvmmsg`, `UDP_GRO`, kernel arrival times), batches out (`UDP_SEGMENT`), each
//! reply from the address that was asked (RFC 3542, `IP_PKTINFO`). What is sent first and what is dropped: [`egress`].
#![allow(unsafe_code)] // batched receiving with timestamps and segmented sending exist only as raw socket calls

pub mod egress;

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, Type};

use crate::relay::outbox::Path;
use egress::Wire;

/// A bound, non-blocking UDP socket.
pub struct Socket {
    socket: std::net::UdpSocket,
    family: Family,
    segments: bool,
    buffers: Buffers,
}

/// Bytes of socket buffer that the kernel granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// For receiving.
    pub receive: usize,
    /// For sending.
    pub send: usize,
}

/// Why a media socket could not be made ready; prints the operator's own setting only.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Another program has the port.
    #[error("UDP {0} is in use by another program; stop it, or choose another port with --media-port")]
    InUse(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is no address of this machine; set --media-bind to one that `ip addr` lists, or to 0.0.0.0 or ::")]
    NotLocal(IpAddr),
    /// Ports below 1024 need a capability.
    #[error("UDP {0} may not be bound by this user; choose --media-port above 1023, or grant CAP_NET_BIND_SERVICE")]
    Denied(SocketAddr),
    /// Anything else.
    #[error("UDP {0} cannot be opened: {1}")]
    Socket(SocketAddr, io::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    /// IPv6, or both where it is bound to `::`; IPv4 peers then come as mapped addresses.
    V6,
}

impl Socket {
    /// Binds to an address; `::` takes IPv4 as well.
    pub fn bind(address: SocketAddr) -> Result<Self, UdpError> {
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => UdpError::InUse(address),
            io::ErrorKind::AddrNotAvailable => UdpError::NotLocal(address.ip()),
            io::ErrorKind::PermissionDenied => UdpError::Denied(address),
            _ => UdpError::Socket(address, error),
        };
        Self::try_bind(address).map_err(fail)
    }

    fn try_bind(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if family == Family::V6 {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.bind(&address.into())?;
        let fd = socket.as_raw_fd();
        set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        match family {
            Family::V4 => {
                set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
                set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)?;
            }
            Family::V6 => {
                set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
                set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)?;
            }
        }
        // Both are optimisations that old kernels lack: receiving works without, sending falls back.
        let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        let segments = set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        let buffers = Buffers {
            receive: grow(fd, libc::SO_RCVBUF, libc::SO_RCVBUFFORCE)?,
            send: grow(fd, libc::SO_SNDBUF, libc::SO_SNDBUFFORCE)?,
        };
        Ok(Self { socket: socket.into(), family, segments, buffers })
    }

    /// The bound address, its port chosen by the kernel where 0 was asked for.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What the kernel granted.
    pub fn buffers(&self) -> Buffers {
        self.buffers
    }

    /// The setting to change where a buffer is smaller than wanted: one sentence for the operator.
    pub fn buffer_advice(&self) -> Option<String> {
        let mut fixes = Vec::new();
        if self.buffers.receive < WANTED_BUFFER {
            fixes.push(format!("net.core.rmem_max={WANTED_BUFFER}"));
        }
        if self.buffers.send < WANTED_BUFFER {
            fixes.push(format!("net.core.wmem_max={WANTED_BUFFER}"));
        }
        (!fixes.is_empty()).then(|| {
            format!(
                "socket buffers are smaller than wanted (receive {}, send {} bytes), so bursts may be lost: run `sysctl -w {}`",
                self.buffers.receive,
                self.buffers.send,
                fixes.join(" ")
            )
        })
    }

    /// Receives what waits, at most one batch. [`io::ErrorKind::WouldBlock`] when nothing does.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<()> {
        batch.filled = 0;
        // SAFETY: all-zero is a valid value of these plain C structs.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { zeroed() };
        let mut vectors: [libc::iovec; MESSAGES] = unsafe { zeroed() };
        let slots = batch.slots.iter_mut().zip(batch.bytes.chunks_exact_mut(MESSAGE_BYTES));
        for ((header, vector), (slot, bytes)) in headers.iter_mut().zip(&mut vectors).zip(slots) {
            *vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut slot.name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
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
        Ok(())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Wire for Socket {
    fn segments(&self) -> bool {
        self.segments
    }

    fn send(&self, path: &Path, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
        let (mut name, name_length) = self.encode(path.remote)?;
        let mut control = Control([0; CONTROL_BYTES]);
        let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: all-zero is a valid msghdr.
        let mut header: libc::msghdr = unsafe { zeroed() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = name_length;
        header.msg_iov = &mut vector;
        header.msg_iovlen = 1;
        let mut length = 0;
        if let Some(size) = segment {
            length = control.push(length, libc::SOL_UDP, libc::UDP_SEGMENT, size);
        }
        length = match (self.family, path.local) {
            (_, None) => length,
            (Family::V4, Some(IpAddr::V4(ip))) => {
                control.push(length, libc::IPPROTO_IP, libc::IP_PKTINFO, in_pktinfo(ip))
            }
            (Family::V4, Some(IpAddr::V6(_))) => length,
            (Family::V6, Some(ip)) => {
                control.push(length, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, in6_pktinfo(mapped(ip)))
            }
        };
        if length > 0 {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = length as _;
        }
        retry_interrupted(|| {
            // SAFETY: the header points at locals and at `bytes`, all alive; sendmsg writes to none of them.
            unsafe { libc::sendmsg(self.socket.as_raw_fd(), &header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        })
        .map(|_| ())
    }
}

impl Socket {
    fn encode(&self, remote: SocketAddr) -> io::Result<(libc::sockaddr_storage, libc::socklen_t)> {
        let remote = match (self.family, remote) {
            (Family::V4, SocketAddr::V6(_)) => return Err(io::ErrorKind::AddrNotAvailable.into()),
            (Family::V6, SocketAddr::V4(v4)) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            (_, same) => same,
        };
        let address = socket2::SockAddr::from(remote);
        // SAFETY: both are the platform's sockaddr_storage, plain bytes.
        let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
        unsafe {
            let length = address.len() as usize;
            std::ptr::copy_nonoverlapping(address.as_ptr().cast::<u8>(), (&raw mut storage).cast::<u8>(), length);
        }
        Ok((storage, address.len()))
    }
}

/// The same moment on both clocks: the kernel stamps arrivals in wall-clock time, the relay lives in monotonic time.
#[derive(Clone, Copy)]
pub struct ClockPair {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock.
    pub wall: SystemTime,
}

impl ClockPair {
    /// Converts a kernel time. A difference that no datagram waits for means that the wall clock was moved: then the
    /// arrival is now.
    pub fn arrival(&self, kernel: SystemTime) -> Instant {
        match self.wall.duration_since(kernel) {
            Ok(age) if age <= OLDEST_ARRIVAL => self.instant.checked_sub(age).unwrap_or(self.instant),
            _ => self.instant,
        }
    }
}

/// Memory for one `recvmmsg`, reused over the life of a worker.
pub struct Batch {
    bytes: Box<[u8]>,
    slots: Box<[Slot]>,
    filled: usize,
}

struct Slot {
    name: libc::sockaddr_storage,
    control: Control,
    length: usize,
    segment: usize,
    path: Option<Path>,
    arrived: Option<SystemTime>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Memory for [`MESSAGES`] messages of the greatest size.
    pub fn new() -> Self {
        let slot = || Slot {
            // SAFETY: all-zero is a valid sockaddr_storage.
            name: unsafe { zeroed() },
            control: Control([0; CONTROL_BYTES]),
            length: 0,
            segment: 0,
            path: None,
            arrived: None,
        };
        Self {
            bytes: vec![0; MESSAGES * MESSAGE_BYTES].into_boxed_slice(),
            slots: (0..MESSAGES).map(|_| slot()).collect(),
            filled: 0,
        }
    }

    /// Whether the last receive filled every slot, so that more probably waits.
    pub fn is_full(&self) -> bool {
        self.filled == MESSAGES
    }

    /// Hands over each datagram of the last receive, in order: its path, its arrival and its bytes.
    pub fn each(&mut self, clock: ClockPair, mut take: impl FnMut(Path, Instant, &mut [u8])) {
        let messages = self.slots.iter().zip(self.bytes.chunks_exact_mut(MESSAGE_BYTES));
        for (slot, bytes) in messages.take(self.filled) {
            let Some(path) = slot.path else { continue };
            let arrived = slot.arrived.map_or(clock.instant, |kernel| clock.arrival(kernel));
            for datagram in bytes[..slot.length].chunks_mut(slot.segment.max(1)) {
                take(path, arrived, datagram);
            }
        }
    }
}

impl Slot {
    fn read(&mut self, header: &libc::mmsghdr) {
        self.length = (header.msg_len as usize).min(MESSAGE_BYTES);
        self.segment = self.length;
        self.arrived = None;
        let mut local = None;
        // SAFETY: the kernel filled the header's control buffer, which is this slot's; the CMSG macros stay within
        // the length that it wrote, and each payload is read unaligned with the type its level and type promise.
        unsafe {
            let mut cursor = libc::CMSG_FIRSTHDR(&header.msg_hdr);
            while let Some(message) = cursor.as_ref() {
                let data = libc::CMSG_DATA(cursor);
                match (message.cmsg_level, message.cmsg_type) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                        let time = data.cast::<libc::timespec>().read_unaligned();
                        let since = Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32);
                        self.arrived = SystemTime::UNIX_EPOCH.checked_add(since);
                    }
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        self.segment = data.cast::<libc::c_int>().read_unaligned().max(1) as usize;
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        local = Some(IpAddr::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())));
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        local = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical());
                    }
                    _ => {}
                }
                cursor = libc::CMSG_NXTHDR(&header.msg_hdr, cursor);
            }
        }
        let truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        self.path = self.remote().filter(|_| !truncated).map(|remote| Path { remote, local });
    }

    fn remote(&self) -> Option<SocketAddr> {
        // SAFETY: the kernel wrote an address of the family it names; each is read as that family's struct.
        unsafe {
            let name = &raw const self.name;
            match libc::c_int::from(self.name.ss_family) {
                libc::AF_INET => {
                    let v4 = name.cast::<libc::sockaddr_in>().read();
                    let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
                }
                libc::AF_INET6 => {
                    let v6 = name.cast::<libc::sockaddr_in6>().read();
                    let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
                    Some(match ip.to_ipv4_mapped() {
                        Some(v4) => SocketAddr::new(v4.into(), port),
                        None => SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into(),
                    })
                }
                _ => None,
            }
        }
    }
}

/// Ancillary data, aligned as `cmsghdr` wants.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Control {
    /// Appends one message at `at` and returns where the next one goes.
    fn push<T: Copy>(&mut self, at: usize, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, length) =
            unsafe { (libc::CMSG_SPACE(size_of::<T>() as u32), libc::CMSG_LEN(size_of::<T>() as u32)) };
        assert!(at + space as usize <= CONTROL_BYTES, "control messages are counted in CONTROL_BYTES");
        // SAFETY: the assertion leaves room for header and value; `at` is a sum of CMSG_SPACEs, hence aligned.
        unsafe {
            let header = self.0.as_mut_ptr().add(at).cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = length as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        at + space as usize
    }
}

fn in_pktinfo(source: Ipv4Addr) -> libc::in_pktinfo {
    let any = libc::in_addr { s_addr: 0 };
    let spec = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: spec, ipi_addr: any }
}

fn in6_pktinfo(source: Ipv6Addr) -> libc::in6_pktinfo {
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: 0 }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// Asks for [`WANTED_BUFFER`] bytes, by privilege where the limit forbids it, and returns what was granted.
fn grow(fd: RawFd, option: libc::c_int, force: libc::c_int) -> io::Result<usize> {
    set_option(fd, libc::SOL_SOCKET, option, WANTED_BUFFER as libc::c_int)?;
    if granted(fd, option)? < WANTED_BUFFER {
        let _ = set_option(fd, libc::SOL_SOCKET, force, WANTED_BUFFER as libc::c_int);
    }
    granted(fd, option)
}

/// The kernel doubles what was asked for, to account for its own bookkeeping, and reports the double.
fn granted(fd: RawFd, option: libc::c_int) -> io::Result<usize> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value and length are locals of the size that is passed.
    let status = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut value).cast(), &mut length) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(value as usize / 2) }
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

/// Messages per `recvmmsg`: with GRO up to 64 datagrams each, so one call takes a burst of a thousand.
pub const MESSAGES: usize = 16;
/// The largest UDP payload, which is also the most that GRO joins.
const MESSAGE_BYTES: usize = 65_536;
/// Room for a timestamp (32), an IPv6 packet info (40) and a segment size (24), rounded up.
const CONTROL_BYTES: usize = 128;
/// 4 MiB hold about 30 ms of a gigabit: longer than a worker is ever kept from its socket.
const WANTED_BUFFER: usize = 4 << 20;
/// The receive buffer holds far less than a second of traffic that matters.
const OLDEST_ARRIVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

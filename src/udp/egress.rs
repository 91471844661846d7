//! What leaves first and what is dropped: runs split for `UDP_SEGMENT`, the way back to single datagrams, and the
//! policy for a full socket (video goes before audio, audio before control).

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::relay::outbox::{Class, Outbox, Path};

/// Something that sends one datagram, or several of equal size in one call (only the last may be shorter).
pub trait Wire {
    /// Whether several datagrams may be sent at once.
    fn segments(&self) -> bool;
    /// Sends all bytes, cut every `segment` bytes. [`io::ErrorKind::WouldBlock`] when the socket is full.
    fn send(&self, path: &Path, bytes: &[u8], segment: Option<u16>) -> io::Result<()>;
}

/// Sends outboxes over a [`Wire`].
pub struct Egress<W> {
    wire: W,
    segments: bool,
    waiting: VecDeque<Waiting>,
    losses: Losses,
}

/// What was not sent, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Datagrams dropped because the socket was full.
    pub congested: u64,
    /// Datagrams that the kernel refused.
    pub refused: u64,
}

struct Waiting {
    path: Path,
    class: Class,
    since: Instant,
    bytes: Vec<u8>,
}

impl<W: Wire> Egress<W> {
    /// Sends segmented where the wire can.
    pub fn new(wire: W) -> Self {
        let segments = wire.segments();
        Self { wire, segments, waiting: VecDeque::new(), losses: Losses::default() }
    }

    /// What lies under.
    pub fn wire(&self) -> &W {
        &self.wire
    }

    /// What was not sent.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Whether something waits for the socket to take it; [`Self::flush`] again when it is writable.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waited, then what the outbox holds. The caller clears the outbox.
    pub fn flush(&mut self, now: Instant, outbox: &Outbox) {
        self.send_waiting(now);
        for (path, bytes) in outbox.singles() {
            self.send_one(now, path, Class::Control, bytes);
        }
        for run in outbox.dirty_runs() {
            if let Some(path) = run.path() {
                self.send_run(now, path, run.bytes(), run.datagrams());
            }
        }
    }

    fn send_run(&mut self, now: Instant, path: &Path, mut bytes: &[u8], mut datagrams: &[(u16, Class)]) {
        while !datagrams.is_empty() {
            let count = if self.segments { segment_count(datagrams) } else { 1 };
            let length = datagrams[..count].iter().map(|&(size, _)| usize::from(size)).sum();
            let (chunk, rest) = bytes.split_at(length);
            self.send_chunk(now, path, chunk, &datagrams[..count]);
            (bytes, datagrams) = (rest, &datagrams[count..]);
        }
    }

    fn send_chunk(&mut self, now: Instant, path: &Path, bytes: &[u8], datagrams: &[(u16, Class)]) {
        if datagrams.len() > 1 && self.waiting.is_empty() {
            match self.wire.send(path, bytes, Some(datagrams[0].0)) {
                Ok(()) => return,
                Err(error) => match judge(&error) {
                    // A device or route that cannot segment will not learn to.
                    Refusal::Unsupported => self.segments = false,
                    // Full, or one path's limit: each datagram for itself.
                    Refusal::Full | Refusal::Segments | Refusal::Other => {}
                },
            }
        }
        let mut rest = bytes;
        for &(size, class) in datagrams {
            let (datagram, after) = rest.split_at(usize::from(size));
            self.send_one(now, path, class, datagram);
            rest = after;
        }
    }

    fn send_one(&mut self, now: Instant, path: &Path, class: Class, bytes: &[u8]) {
        // While something waits, nothing overtakes it, so video cannot take the room that audio needs.
        let full = !self.waiting.is_empty()
            || match self.wire.send(path, bytes, None) {
                Ok(()) => false,
                Err(error) if judge(&error) == Refusal::Full => true,
                Err(_) => {
                    self.losses.refused += 1;
                    return;
                }
            };
        if full {
            self.hold(now, path, class, bytes);
        }
    }

    /// Keeps control and audio for another try; video is dropped, as the receiver can ask for it again.
    fn hold(&mut self, now: Instant, path: &Path, class: Class, bytes: &[u8]) {
        if class == Class::Video {
            self.losses.congested += 1;
            return;
        }
        if self.waiting.len() == MOST_WAITING {
            self.losses.congested += 1;
            match self.waiting.iter().position(|waiting| waiting.class > class) {
                Some(lesser) => self.waiting.remove(lesser),
                None => return,
            };
        }
        self.waiting.push_back(Waiting { path: *path, class, since: now, bytes: bytes.to_vec() });
    }

    /// Control first, then audio, each in its order, until the socket is full again.
    fn send_waiting(&mut self, now: Instant) {
        if self.waiting.is_empty() {
            return;
        }
        let before = self.waiting.len();
        self.waiting.retain(|waiting| now.saturating_duration_since(waiting.since) < LONGEST_WAIT);
        self.losses.congested += (before - self.waiting.len()) as u64;
        for class in [Class::Control, Class::Audio] {
            let mut index = 0;
            while let Some(waiting) = self.waiting.get(index) {
                if waiting.class != class {
                    index += 1;
                    continue;
                }
                match self.wire.send(&waiting.path, &waiting.bytes, None) {
                    Err(error) if judge(&error) == Refusal::Full => return,
                    Err(_) => self.losses.refused += 1,
                    Ok(()) => {}
                }
                self.waiting.remove(index);
            }
        }
    }
}

/// How many datagrams from the front can leave in one segmented send.
fn segment_count(datagrams: &[(u16, Class)]) -> usize {
    let size = datagrams[0].0;
    let most = (MOST_SEGMENT_BYTES / usize::from(size.max(1))).clamp(1, MOST_SEGMENTS).min(datagrams.len());
    let equal = datagrams[..most].iter().take_while(|&&(other, _)| other == size).count();
    match datagrams[..most].get(equal) {
        Some(&(shorter, _)) if shorter < size => equal + 1,
        _ => equal,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Full,
    Segments,
    Unsupported,
    Other,
}

fn judge(error: &io::Error) -> Refusal {
    match error.raw_os_error() {
        // ENOBUFS is the device queue's way to say full.
        Some(libc::EAGAIN | libc::ENOBUFS) => Refusal::Full,
        Some(libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT) => Refusal::Unsupported,
        // This path's MTU is below the segment size: alone, the datagram is fragmented and arrives.
        Some(libc::EINVAL | libc::EMSGSIZE) => Refusal::Segments,
        _ if error.kind() == io::ErrorKind::WouldBlock => Refusal::Full,
        _ => Refusal::Other,
    }
}

/// The kernel's UDP_MAX_SEGMENTS in all versions that know UDP_SEGMENT.
const MOST_SEGMENTS: usize = 64;
/// Below 65,535 less IP and UDP headers and options.
const MOST_SEGMENT_BYTES: usize = 65_000;
/// Control and audio of a few hundred receivers for one turn; more would only be late.
const MOST_WAITING: usize = 1_024;
/// Jitter buffers have given up on audio by then, and checks and handshakes repeat themselves.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[derive(Default)]
    struct Fake {
        room: Cell<usize>,
        failure: Cell<Option<i32>>,
        sent: RefCell<Vec<(Vec<u8>, Option<u16>)>>,
    }

    impl Wire for Fake {
        fn segments(&self) -> bool {
            true
        }
        fn send(&self, _: &Path, bytes: &[u8], segment: Option<u16>) -> io::Result<()> {
            if let (Some(code), Some(_)) = (self.failure.get(), segment) {
                return Err(io::Error::from_raw_os_error(code));
            }
            if self.room.get() == 0 {
                return Err(io::Error::from_raw_os_error(libc::EAGAIN));
            }
            self.room.set(self.room.get() - 1);
            self.sent.borrow_mut().push((bytes.to_vec(), segment));
            Ok(())
        }
    }

    fn path() -> Path {
        Path { remote: "127.0.0.1:9".parse().unwrap(), local: None }
    }

    fn outbox(datagrams: &[(Class, &[u8])]) -> Outbox {
        let mut outbox = Outbox::new();
        let key = outbox.open();
        outbox.set_path(key, path());
        for (class, bytes) in datagrams {
            outbox.push(key, *class, |arena| arena.extend_from_slice(bytes));
        }
        outbox
    }

    fn with_room(room: usize) -> Egress<Fake> {
        let egress = Egress::new(Fake::default());
        egress.wire.room.set(room);
        egress
    }

    fn sent(egress: &Egress<Fake>) -> Vec<(Vec<u8>, Option<u16>)> {
        egress.wire.sent.take()
    }

    #[test]
    fn only_the_last_segment_of_a_send_is_shorter() {
        let sizes = |sizes: &[u16]| sizes.iter().map(|&size| (size, Class::Video)).collect::<Vec<_>>();
        assert_eq!(segment_count(&sizes(&[1200, 1200, 900, 900])), 3);
        assert_eq!(segment_count(&sizes(&[900, 1200])), 1);
        assert_eq!(segment_count(&sizes(&[5])), 1);
        assert_eq!(segment_count(&sizes(&[100; 80])), 64);
        assert_eq!(segment_count(&sizes(&[1200; 80])), 54);
        assert_eq!(segment_count(&sizes(&[65_001, 4])), 1);
    }

    #[test]
    fn a_run_of_mixed_sizes_leaves_whole_and_in_order() {
        let mut egress = with_room(100);
        let parts: [&[u8]; 6] = [b"aaaa", b"bbbb", b"cc", b"dddd", b"eeeeee", b"ffffff"];
        egress.flush(Instant::now(), &outbox(&parts.map(|bytes| (Class::Video, bytes))));
        let expected: [(&[u8], Option<u16>); 3] =
            [(b"aaaabbbbcc", Some(4)), (b"dddd", None), (b"eeeeeeffffff", Some(6))];
        assert_eq!(sent(&egress), expected.map(|(bytes, segment)| (bytes.to_vec(), segment)));
    }

    #[test]
    fn a_device_that_cannot_segment_is_asked_once() {
        let mut egress = with_room(100);
        egress.wire.failure.set(Some(libc::EIO));
        let media = outbox(&[(Class::Video, b"aa"), (Class::Video, b"bb")]);
        egress.flush(Instant::now(), &media);
        assert_eq!(sent(&egress), [(b"aa".to_vec(), None), (b"bb".to_vec(), None)]);
        egress.wire.failure.set(None);
        egress.flush(Instant::now(), &media);
        assert_eq!(sent(&egress).len(), 2, "segmentation stays off");
        assert_eq!(egress.losses(), Losses::default());
    }

    #[test]
    fn a_path_with_a_small_mtu_does_not_stop_segmentation_for_others() {
        let mut egress = with_room(100);
        egress.wire.failure.set(Some(libc::EMSGSIZE));
        let media = outbox(&[(Class::Video, b"aa"), (Class::Video, b"bb")]);
        egress.flush(Instant::now(), &media);
        assert_eq!(sent(&egress).len(), 2);
        egress.wire.failure.set(None);
        egress.flush(Instant::now(), &media);
        assert_eq!(sent(&egress), [(b"aabb".to_vec(), Some(2))]);
    }

    #[test]
    fn a_full_socket_drops_video_and_sends_control_before_audio_later() {
        let mut egress = with_room(0);
        let start = Instant::now();
        egress.flush(start, &outbox(&[(Class::Video, b"v"), (Class::Audio, b"a"), (Class::Control, b"c")]));
        egress.flush(start, &outbox(&[(Class::Video, b"w")]));
        assert_eq!(egress.losses(), Losses { congested: 2, refused: 0 });
        assert!(egress.is_waiting());
        egress.wire.room.set(1);
        egress.flush(start, &outbox(&[(Class::Video, b"x")]));
        assert_eq!(sent(&egress), [(b"c".to_vec(), None)], "video does not overtake the audio that waits");
        egress.wire.room.set(9);
        egress.flush(start, &outbox(&[(Class::Video, b"y")]));
        assert_eq!(sent(&egress), [(b"a".to_vec(), None), (b"y".to_vec(), None)]);
        assert_eq!(egress.losses().congested, 3);
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_age_and_loses_audio_first() {
        let mut egress = with_room(0);
        let start = Instant::now();
        let audio = vec![(Class::Audio, b"a".as_slice()); MOST_WAITING];
        egress.flush(start, &outbox(&audio));
        egress.flush(start, &outbox(&[(Class::Control, b"c"), (Class::Audio, b"b")]));
        assert_eq!(egress.waiting.len(), MOST_WAITING);
        assert_eq!(egress.losses().congested, 2);
        assert!(egress.waiting.iter().any(|waiting| waiting.class == Class::Control));
        egress.wire.room.set(9);
        egress.flush(start + LONGEST_WAIT, &Outbox::new());
        assert!(!egress.is_waiting() && sent(&egress).is_empty(), "late audio is worth nothing");
        assert_eq!(egress.losses().congested, 2 + MOST_WAITING as u64);
    }

    #[test]
    fn a_refused_datagram_is_counted_and_the_next_one_still_leaves() {
        struct Refuses;
        impl Wire for Refuses {
            fn segments(&self) -> bool {
                false
            }
            fn send(&self, _: &Path, bytes: &[u8], _: Option<u16>) -> io::Result<()> {
                if bytes == b"x" { Err(io::Error::from_raw_os_error(libc::ENETUNREACH)) } else { Ok(()) }
            }
        }
        let mut egress = Egress::new(Refuses);
        egress.flush(Instant::now(), &outbox(&[(Class::Audio, b"x"), (Class::Audio, b"y")]));
        assert_eq!(egress.losses(), Losses { congested: 0, refused: 1 });
        assert!(!egress.is_waiting());
    }
}

//! Where the relay writes what is to be sent: one contiguous run of datagrams per path, so that a run can leave in
//! one `UDP_SEGMENT` call, and the events for the control plane.

use std::net::{IpAddr, SocketAddr};

use super::command::Event;

/// The two ends of a datagram's way: replies leave from the address that was asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The participant's address and port.
    pub remote: SocketAddr,
    /// The address of ours that the datagram came to, where the kernel told it.
    pub local: Option<IpAddr>,
}

/// What a datagram carries; under pressure video is dropped before audio, and audio before control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// STUN, DTLS and SRTCP.
    Control,
    /// SRTP audio.
    Audio,
    /// SRTP video, its retransmissions included.
    Video,
}

/// Which run of the outbox belongs to a receiver; given out by [`Outbox::open`] and valid until [`Outbox::close`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunKey(pub(super) usize);

/// Datagrams for one path, back to back.
pub struct Run {
    path: Option<Path>,
    bytes: Vec<u8>,
    datagrams: Vec<(u16, Class)>,
}

impl Run {
    /// Where the run goes; `None` until the receiver's address is known.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// The datagrams' bytes, back to back.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length and class of each datagram, in order.
    pub fn datagrams(&self) -> &[(u16, Class)] {
        &self.datagrams
    }
}

/// What one drain of the socket, one command or one timeout produced.
#[derive(Default)]
pub struct Outbox {
    runs: slab::Slab<Run>,
    dirty: Vec<usize>,
    singles: Vec<(Path, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    /// For the control plane, in order.
    pub events: Vec<Event>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a run for a receiver.
    pub fn open(&mut self) -> RunKey {
        RunKey(self.runs.insert(Run { path: None, bytes: Vec::new(), datagrams: Vec::new() }))
    }

    /// Says where a run goes from now on.
    pub fn set_path(&mut self, key: RunKey, path: Path) {
        if let Some(run) = self.runs.get_mut(key.0) {
            run.path = Some(path);
        }
    }

    /// Forgets a run and what stands in it.
    pub fn close(&mut self, key: RunKey) {
        if self.runs.contains(key.0) {
            self.runs.remove(key.0);
            self.dirty.retain(|&index| index != key.0);
        }
    }

    /// Leaves a run without a way to go: what stands in it is not sent.
    pub fn clear_path(&mut self, key: RunKey) {
        if let Some(run) = self.runs.get_mut(key.0) {
            run.path = None;
        }
    }

    /// Appends one datagram: `write` adds its bytes to the end of the arena. Nothing is added where it adds none.
    /// Returns the datagram's length.
    pub fn push(&mut self, key: RunKey, class: Class, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let run = &mut self.runs[key.0];
        let before = run.bytes.len();
        write(&mut run.bytes);
        let length = run.bytes.len() - before;
        if length == 0 {
            return 0;
        }
        if run.datagrams.is_empty() {
            self.dirty.push(key.0);
        }
        run.datagrams.push((length as u16, class));
        length
    }

    /// The last `length` bytes of a run: the datagram that [`Outbox::push`] has just added.
    pub fn latest(&self, key: RunKey, length: usize) -> &[u8] {
        let bytes = &self.runs[key.0].bytes;
        &bytes[bytes.len() - length..]
    }

    /// Appends one control datagram for a path that no run belongs to: an answer to a check from a new address.
    /// Returns its length.
    pub fn push_single(&mut self, path: Path, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut bytes = self.spare.pop().unwrap_or_default();
        write(&mut bytes);
        let length = bytes.len();
        if length == 0 {
            self.spare.push(bytes);
        } else {
            self.singles.push((path, bytes));
        }
        length
    }

    /// The runs that hold datagrams.
    pub fn dirty_runs(&self) -> impl Iterator<Item = &Run> {
        self.dirty.iter().map(|&index| &self.runs[index])
    }

    /// The datagrams that stand alone.
    pub fn singles(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.singles.iter().map(|(path, bytes)| (path, bytes.as_slice()))
    }

    /// How many runs are open.
    pub fn opened(&self) -> usize {
        self.runs.len()
    }

    /// Whether nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.singles.is_empty()
    }

    /// Empties runs and singles after they were sent; their memory stays for the next batch.
    pub fn clear(&mut self) {
        for index in self.dirty.drain(..) {
            let run = &mut self.runs[index];
            run.bytes.clear();
            run.datagrams.clear();
        }
        for (_, mut bytes) in self.singles.drain(..) {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

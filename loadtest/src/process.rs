//! What a process takes of the machine, by `/proc` (proc(5)): CPU in user mode and in the kernel, memory, descriptors;
//! and what the kernel threw away because this process did not read its UDP sockets in time.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::time::Duration;

use procfs::ProcError;
use procfs::process::{FDTarget, ProcState, Process as Entry};

/// A running process, held by its folder in `/proc`, so that another one that gets its number later is not taken for it.
#[derive(Debug)]
pub struct Process {
    entry: Entry,
    tick: Duration,
    page: u64,
}

/// What a process took until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU in user mode, of all threads that ever ran; counted in ticks of the kernel, usually 10 ms.
    pub user: Duration,
    /// CPU in the kernel, likewise.
    pub system: Duration,
    /// Bytes of memory (resident set).
    pub memory: u64,
    /// Open descriptors; `None` where the kernel does not tell this user.
    pub descriptors: Option<u64>,
}

/// Why a process could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It has ended, or never was.
    #[error("no process {0} runs here; give the number of a relay on this machine, or leave it out")]
    Gone(i32),
    /// `/proc` is not readable.
    #[error("process {0} cannot be measured: {1}; run as the relay's user, or leave its number out")]
    Unreadable(i32, ProcError),
}

/// Datagrams that the kernel dropped at the UDP sockets of this process, summed over sockets that were closed since.
#[derive(Debug, Default)]
pub struct UdpDrops {
    /// By the socket's inode.
    open: HashMap<u64, u64>,
    closed: u64,
}

impl Process {
    /// The process with this number.
    ///
    /// # Errors
    /// [`ProcessError::Gone`] where there is none, [`ProcessError::Unreadable`] where it may not be looked at.
    pub fn new(pid: u32) -> Result<Self, ProcessError> {
        // Beyond what the kernel numbers, so it cannot be there.
        let number = i32::try_from(pid).map_err(|_| ProcessError::Gone(i32::MAX))?;
        Self::from_entry(Entry::new(number).map_err(|error| failed(number, error))?)
    }

    /// This process.
    ///
    /// # Errors
    /// [`ProcessError::Unreadable`] where `/proc` is not mounted.
    pub fn own() -> Result<Self, ProcessError> {
        Self::from_entry(Entry::myself().map_err(|error| ProcessError::Unreadable(0, error))?)
    }

    /// What it took until now.
    ///
    /// # Errors
    /// [`ProcessError::Gone`] once it has ended, whether or not its parent has taken notice.
    pub fn usage(&self) -> Result<Usage, ProcessError> {
        let stat = self.entry.stat().map_err(|error| failed(self.entry.pid, error))?;
        if matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead)) {
            return Err(ProcessError::Gone(self.entry.pid));
        }
        let ticks = |count: u64| Duration::from_secs_f64(count as f64 * self.tick.as_secs_f64());
        Ok(Usage {
            user: ticks(stat.utime),
            system: ticks(stat.stime),
            memory: stat.rss * self.page,
            descriptors: self.entry.fd_count().ok().map(|count| count as u64),
        })
    }

    fn from_entry(entry: Entry) -> Result<Self, ProcessError> {
        let tick = Duration::from_secs(1) / u32::try_from(procfs::ticks_per_second()).unwrap_or(100).max(1);
        Ok(Self { entry, tick, page: procfs::page_size() })
    }
}

impl Usage {
    /// CPU in user mode and in the kernel together.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

impl UdpDrops {
    /// How many datagrams were dropped until now, since the process began. What a socket dropped between the last
    /// call and its closing is not in it.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn count(&mut self) -> io::Result<u64> {
        let ours = own_sockets()?;
        let mut open = HashMap::new();
        for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
            match fs::read_to_string(table) {
                Ok(text) => open.extend(drops_in(&text).filter(|(inode, _)| ours.contains(inode))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // a kernel without IPv6
                Err(error) => return Err(error),
            }
        }
        Ok(self.note(open))
    }

    fn note(&mut self, open: HashMap<u64, u64>) -> u64 {
        // A number that fell belongs to another socket that got the inode.
        let gone = |(inode, drops): (&u64, &u64)| open.get(inode).is_none_or(|now| now < drops).then_some(*drops);
        self.closed += self.open.iter().filter_map(gone).sum::<u64>();
        self.open = open;
        self.closed + self.open.values().sum::<u64>()
    }
}

/// Inodes of all sockets of this process.
fn own_sockets() -> io::Result<HashSet<u64>> {
    let entry = Entry::myself().and_then(|myself| myself.fd()).map_err(io::Error::other)?;
    let inode = |target| match target {
        FDTarget::Socket(inode) => Some(inode),
        _ => None,
    };
    // A descriptor that is closed while we look is none of ours any more.
    Ok(entry.filter_map(|descriptor| inode(descriptor.ok()?.target)).collect())
}

/// Inode and drops of each line of `/proc/net/udp`, whose header names thirteen columns (two of them in pairs).
fn drops_in(table: &str) -> impl Iterator<Item = (u64, u64)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        Some((columns.get(INODE)?.parse().ok()?, columns.get(DROPS)?.parse().ok()?))
    })
}

fn failed(pid: i32, error: ProcError) -> ProcessError {
    match error {
        ProcError::NotFound(_) => ProcessError::Gone(pid),
        // What is read of a process that ended meanwhile.
        ProcError::Io(error, _) if error.raw_os_error() == Some(libc::ESRCH) => ProcessError::Gone(pid),
        error => ProcessError::Unreadable(pid, error),
    }
}

/// Column of the inode in `/proc/net/udp`, counted from 0.
const INODE: usize = 9;
/// Column of the drops.
const DROPS: usize = 12;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::clock::Moment;

    #[test]
    fn work_shows_as_cpu_of_this_process_and_memory_and_descriptors_are_told() {
        let process = Process::own().unwrap();
        let before = process.usage().unwrap();
        let (start, mut sum) = (Moment::now(), 0u64);
        while process.usage().unwrap().cpu() < before.cpu() + Duration::from_millis(50) {
            sum = (0..100_000).fold(sum, |sum, value| sum.wrapping_mul(31).wrapping_add(value));
            assert!(Moment::now().since(start) < Duration::from_secs(30), "30 s of work and no CPU: {sum}");
        }
        let sockets: Vec<_> = (0..40).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let after = process.usage().unwrap();
        assert!(after.memory > 1 << 20, "a test binary in {} bytes", after.memory);
        assert!(after.descriptors.unwrap() >= sockets.len() as u64);
    }

    #[test]
    fn a_process_that_ended_is_gone_even_before_its_parent_looks() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process::new(child.id()).unwrap();
        assert!(process.usage().is_ok());
        drop(child.stdin.take());
        let start = Moment::now();
        while process.usage().is_ok() {
            assert!(Moment::now().since(start) < Duration::from_secs(10), "a zombie still counts as running");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(matches!(process.usage(), Err(ProcessError::Gone(_))));
        assert!(matches!(Process::new(u32::MAX), Err(ProcessError::Gone(_))));
    }

    #[test]
    fn what_overflows_a_socket_is_counted_and_stays_counted_when_it_is_closed() {
        let mut drops = UdpDrops::default();
        let before = drops.count().unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        for _ in 0..4_000 {
            let _ = sender.send(&[0; 1_200]);
        }
        let mut received = 0;
        receiver.set_nonblocking(true).unwrap();
        let full = drops.count().unwrap();
        while receiver.recv(&mut [0; 2_048]).is_ok() {
            received += 1;
        }
        // other tests of this process may lose datagrams meanwhile, so at least
        assert!(full - before >= 4_000 - received, "{} of {}", full - before, 4_000 - received);
        assert!(full > before, "the buffer took all {received}");
        drop(receiver);
        assert!(drops.count().unwrap() >= full);
    }

    #[test]
    fn an_inode_that_is_used_again_loses_nothing_of_the_sum() {
        let mut drops = UdpDrops::default();
        assert_eq!(drops.note(HashMap::from([(1, 5), (2, 7)])), 12);
        assert_eq!(drops.note(HashMap::from([(1, 6), (2, 1)])), 14, "2 was closed with 7 and is another socket now");
        assert_eq!(drops.note(HashMap::new()), 14);
    }
}

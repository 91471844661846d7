//! Ctrl-C and SIGTERM: the first ends the run early, the second ends the program at once.

use rustix::process::{Pid, Signal as Kill, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, the same to us.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on they do not end the program by themselves.
    ///
    /// # Errors
    ///
    /// Where the system takes no handler.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one. May be dropped and called again.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The next one ends the program, and the relay that it started.
    pub fn exit_at_next(mut self, relay: Option<u32>) {
        tokio::spawn(async move {
            self.asked().await;
            // Leaving this way drops nothing, so the relay would stay.
            if let Some(relay) = relay.and_then(|pid| Pid::from_raw(pid as i32)) {
                let _ = kill_process(relay, Kill::KILL);
            }
            std::process::exit(INTERRUPTED);
        });
    }
}

/// What a shell shows for a program that was interrupted.
const INTERRUPTED: i32 = 130;

//! The relay of a run: one of our own, or one that runs already; measured from outside where it is on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::Target;
use crate::plan::{Plan, Scenario};
use crate::process::{Process, ProcessError, Usage};
use crate::relay_process::{RelayProcess, SpawnError, SpawnOptions};
use crate::relay_url::RelayUrl;

/// The relay of a run.
pub struct Carrier {
    url: RelayUrl,
    process: Option<Process>,
    own: Option<RelayProcess>,
}

/// Why there is no relay to run against.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// It could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It cannot be measured.
    #[error("--pid: {0}")]
    Process(#[from] ProcessError),
    /// It does not answer.
    #[error("no relay answers at the address that was given ({0}); start it, or check host and port")]
    Silent(String),
}

impl Carrier {
    /// Starts the relay, or sees whether it answers.
    ///
    /// # Errors
    ///
    /// Where it cannot be started or does not answer, in words that say what to do.
    pub async fn find(target: &Target, plan: &Plan) -> Result<Self, CarrierError> {
        match target {
            Target::Spawn { binary, workers } => {
                let options = SpawnOptions { binary: binary.clone(), workers: *workers, ..room_for(plan) };
                let own = RelayProcess::spawn(&options).await?;
                let process = Some(Process::new(own.pid())?);
                Ok(Self { url: RelayUrl::of_host(&own.host_name()), process, own: Some(own) })
            }
            Target::Running { url, pid, .. } => {
                let process = pid.map(Process::new).transpose()?;
                let silent = |reason: &dyn ToString| CarrierError::Silent(reason.to_string());
                match timeout(ANSWERED_WITHIN, TcpStream::connect(url.address())).await {
                    Err(_) => Err(silent(&format!("not within {} s", ANSWERED_WITHIN.as_secs()))),
                    Ok(Err(error)) => Err(silent(&error.kind())),
                    Ok(Ok(_)) => Ok(Self { url: url.clone(), process, own: None }),
                }
            }
        }
    }

    /// Where it is reached.
    pub fn url(&self) -> &RelayUrl {
        &self.url
    }

    /// The process that was started for this run.
    pub fn own_pid(&self) -> Option<u32> {
        self.own.as_ref().map(RelayProcess::pid)
    }

    /// What it took until now; `None` where its process cannot be seen.
    ///
    /// # Errors
    ///
    /// In words for the report, where its process is gone.
    pub fn usage(&self) -> Result<Option<Usage>, String> {
        match self.process.as_ref().map(Process::usage).transpose() {
            Ok(usage) => Ok(usage),
            Err(ProcessError::Gone(_)) => Err("its process is gone".to_owned()),
            Err(ProcessError::Unreadable(..)) => Ok(None),
        }
    }

    /// Media packets that it sent until now, as its own metrics say; `None` where they are not known.
    pub async fn forwarded(&self) -> Option<u64> {
        let admin = self.own.as_ref()?.admin();
        sent_media(&timeout(ANSWERED_WITHIN, metrics(admin)).await.ok()??)
    }

    /// Waits until the process that was started for this run ends by itself, and tells how.
    pub async fn died(&mut self) -> String {
        match &mut self.own {
            Some(own) => own.died().await,
            None => std::future::pending().await,
        }
    }

    /// Stops what was started for this run.
    pub async fn stop(self) {
        if let Some(own) = self.own {
            own.stop().await;
        }
    }
}

/// What a run needs beyond the relay's defaults, with room for browsers that join it.
fn room_for(plan: &Plan) -> SpawnOptions {
    let most = |needed: usize, default: usize| u32::try_from(needed.max(default)).ok();
    let steps = if plan.scenario == Scenario::Ramp { plan.ramp.steps.saturating_mul(plan.ramp.calls) } else { 0 };
    SpawnOptions {
        // While somebody leaves, the next one joins.
        max_participants: most(plan.participants + plan.participants / 2 + GUESTS, 100),
        max_calls: most(plan.calls.saturating_add(steps).min(MOST_CALLS), 1_000),
        max_publications: most(2 * (plan.participants + GUESTS), 400),
        ..SpawnOptions::default()
    }
}

/// The text of `/metrics`.
async fn metrics(admin: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(admin).await.ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok()?;
    Some(text)
}

/// Of `sotto_sent_packets_total`, what carries sound and picture.
fn sent_media(metrics: &str) -> Option<u64> {
    let of = |protocol: &str| {
        let name = format!("sotto_sent_packets_total{{protocol=\"{protocol}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<f64>().ok())
    };
    let counts: Option<Vec<f64>> = ["audio", "video", "rtx"].into_iter().map(of).collect();
    counts.map(|counts| counts.iter().sum::<f64>() as u64)
}

/// A relay on the same continent answers in a tenth of this; a busy one as well.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Browsers that may join a call beside the peers.
const GUESTS: usize = 8;
/// More calls than the relay takes as a setting.
const MOST_CALLS: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_sent_are_read_from_the_metrics() {
        let text = "# TYPE sotto_sent_packets_total counter\n\
                    sotto_sent_packets_total{protocol=\"stun\"} 7\n\
                    sotto_sent_packets_total{protocol=\"audio\"} 100\n\
                    sotto_sent_packets_total{protocol=\"video\"} 20\n\
                    sotto_sent_packets_total{protocol=\"rtx\"} 3\n";
        assert_eq!(sent_media(text), Some(123));
        assert_eq!(sent_media("HTTP/1.1 503 Service Unavailable"), None);
    }

    #[test]
    fn a_relay_of_ones_own_has_room_for_the_plan() {
        let options = room_for(&Plan { participants: 101, calls: 2_000, ..Plan::default() });
        assert!(options.max_participants.unwrap() > 101 && options.max_calls.unwrap() >= 2_000);
        assert_eq!(room_for(&Plan::default()).max_calls, Some(1_000));
    }
}

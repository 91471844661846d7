//! What a run shows while it goes on: a bar on a terminal, and plain lines every few seconds where there is none.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::conductor::ledger::Glance;
use crate::report::words;

/// Shows a run on standard error; standard output is the report's.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Into a file or a pipe.
    Lines {
        /// When the next line is due, in the run.
        next: Duration,
    },
}

impl Progress {
    /// Of a run that takes so long as planned.
    pub fn new(length: Duration) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { next: EVERY };
        }
        let bar = ProgressBar::with_draw_target(Some(length.as_millis() as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30.cyan/dim} {prefix}\n{wide_msg}").expect("a known template");
        bar.set_style(style);
        Self::Bar(bar)
    }

    /// Says something once, above the bar.
    pub fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| write(text)),
            Self::Lines { .. } => write(text),
        }
    }

    /// Shows what the last second was like, so far into the run.
    pub fn show(&mut self, elapsed: Duration, length: Duration, glance: &Glance) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(elapsed.as_millis() as u64);
                bar.set_prefix(format!("{} of {}", clock(elapsed), clock(length)));
                bar.set_message(figures(glance));
            }
            Self::Lines { next } if elapsed >= *next => {
                write(&format!("{} of {}  {}", clock(elapsed), clock(length), figures(glance)));
                *next = elapsed + EVERY;
            }
            Self::Lines { .. } => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn figures(glance: &Glance) -> String {
    let Glance { connected, wanted, packets, bitrate, loss, latency_p99, relay_cpu } = glance;
    let people = if connected == wanted { format!("{connected}") } else { format!("{connected} of {wanted}") };
    let mut parts = vec![
        format!("{people} connected"),
        format!("{} packets/s", words::count(*packets)),
        words::bitrate(*bitrate),
        format!("{} lost", words::percent(*loss)),
    ];
    parts.extend(latency_p99.map(|p99| format!("p99 {}", words::milliseconds(p99))));
    parts.extend(relay_cpu.map(|cpu| format!("relay {cpu:.0} % CPU")));
    parts.join(" · ")
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// Nobody may be reading any more, as when a pipe was closed; the run goes on all the same.
fn write(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Often enough to see that it goes on, seldom enough for a log of hours.
const EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_their_units_and_leave_out_what_is_not_known() {
        let glance = Glance {
            connected: 7,
            wanted: 8,
            packets: 4_321,
            bitrate: 20.5e6,
            loss: 0.0,
            latency_p99: Some(3.21),
            relay_cpu: Some(41.7),
        };
        let line = figures(&glance);
        for part in ["7 of 8 connected", "packets/s", "Mbit/s", "p99 3.2", "relay 42 % CPU"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let line = figures(&Glance { latency_p99: None, relay_cpu: None, ..glance });
        assert!(!line.contains("p99") && !line.contains("CPU"), "{line}");
        assert!(!line.contains('\n') && !line.contains('\x1b'));
    }

    #[test]
    fn times_are_read_as_on_a_clock() {
        for (seconds, text) in [(0.0, "0:00"), (19.98, "0:20"), (61.0, "1:01"), (3_661.0, "1:01:01")] {
            assert_eq!(clock(Duration::from_secs_f64(seconds)), text);
        }
    }
}

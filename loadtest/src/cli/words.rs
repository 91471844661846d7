//! What the help says: examples, networks, metrics and exit codes.

use super::metrics;
use crate::plan::network::{PROFILES, SETTINGS};

pub const ABOUT: &str =
    "Load tester for Sotto: synthetic participants that connect, encrypt and measure as real ones do";

pub const LONG_ABOUT: &str = "\
Load tester for Sotto: synthetic participants that connect, encrypt and measure as real ones do.

They join through the relay's public signaling, agree on keys as the page does, send sound and picture with sequence
and send time inside, and decrypt and compare what they receive. One command does everything:

  sotto-loadtest meeting --spawn --participants 8 --duration 20s --json out.json --html out.html

`sotto-loadtest SCENARIO --help` has an example for each scenario. Times have their unit (500ms, 20s, 5m, 2h), bitrates
too (32k, 1.7m). Ctrl-C ends a run early, with its report; a second one ends it at once.";

pub const MEETING: &str = "\
Example: 8 people for 20 seconds, failing on any loss or frame that does not decrypt
  sotto-loadtest meeting --spawn --participants 8 --duration 20s --fail-if 'loss>0' 'decrypt_failures>0'

Example: 3 simulcast encodings, and the last of each call on a bad network
  sotto-loadtest meeting --spawn --layers 180p@150k,360p@500k,720p@1.7m --network bad --network-peers 1

Example: a picture that you can see: open the link that it prints in a browser
  sotto-loadtest meeting --relay http://127.0.0.1:8080 --clip --show-link --duration 5m";

pub const WEBINAR: &str = "\
Example: one sends to 100, on an engine made for many peers
  sotto-loadtest webinar --spawn --participants 101 --engine light --video 720p@1.7m --duration 1m";

pub const CHURN: &str = "\
Example: twice a second somebody leaves and another joins
  sotto-loadtest churn --spawn --calls 2 --participants 6 --per-second 2 --fail-if 'key_change_p95>1s'";

pub const RAMP: &str = "\
Each step adds calls, waits for the joins, and is measured for --hold. Without --fail-if it ends at
loss>0.5%, latency_p99>150ms, join_p95>3s or decrypt_failures>0; also when the tester itself is the limit.

Example: how many calls of 5 does this relay carry?
  sotto-loadtest ramp --relay http://10.0.0.5:8080 --participants 5 --step-calls 2 --hold 15s --engine light";

pub const SOAK: &str = "\
Example: a night, and does memory grow?
  sotto-loadtest soak --spawn --participants 5 --duration 8h --html night.html";

pub fn network() -> String {
    let mut text = format!(
        "Between each peer and the relay: a name, settings, or a name with settings that alter it, such as\n\
         'loss=5%,delay=40ms', 'lte' or 'lte,down.rate=2m'.\n\nSettings: {SETTINGS}; each for both directions, or with\n\
         up. or down. before it for one. bursts is begin/end/loss of Gilbert-Elliott, such as 1%/25%/80%.\n\nNames:"
    );
    for profile in PROFILES {
        text += &format!("\n  {:<5} {}: {}", profile.name, profile.about, profile.settings);
    }
    text
}

pub fn thresholds() -> String {
    let mut text =
        "Fail the run, with exit code 2, where this is true of it, such as 'loss>0.5%' 'latency_p99>50ms'.\n\
         Comparisons are > >= < <=. What was not measured breaks its threshold too. `failed>0` always holds unless\n\
         you give one for failed.\n\nMetrics, each with a limit as it is written:"
            .to_owned();
    for (name, about, example) in metrics() {
        text += &format!("\n  {name:<22} {about} ({example})");
    }
    text
}

pub fn exit_codes() -> &'static str {
    "\
Exit codes:
  0  the run ended, and no threshold broke (also after Ctrl-C)
  1  it could not be run; the message says why and what to do
  2  a threshold broke
  3  the tester itself was the limit, so its figures say nothing about the relay
  4  the relay was lost"
}

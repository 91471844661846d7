//! Who fared worst: what an operator looks at first when a run did not hold.

use std::cmp::Ordering;

use super::{Peer, Report, StreamReport, Summary};

/// Every participant, those that fared worst first.
pub fn peers(report: &Report) -> Vec<&Peer> {
    let mut peers: Vec<&Peer> = report.peers.iter().collect();
    peers.sort_by(|a, b| a.failure.is_empty().cmp(&b.failure.is_empty()).then(worse(&a.summary, &b.summary)));
    peers
}

/// Every stream with its receiver, those that fared worst first.
pub fn streams(report: &Report) -> Vec<(&Peer, &StreamReport)> {
    let mut streams: Vec<_> =
        report.peers.iter().flat_map(|peer| peer.streams.iter().map(move |stream| (peer, stream))).collect();
    streams.sort_by(|(_, a), (_, b)| worse(&a.summary, &b.summary));
    streams
}

/// Whether anything but its latency makes one worth a line.
pub fn is_noteworthy(peer: &Peer) -> bool {
    !peer.failure.is_empty() || hurt(&peer.summary)
}

/// Whether something was lost, late or wrong.
pub fn hurt(summary: &Summary) -> bool {
    summary.loss_before_repair > 0.0
        || summary.freezes > 0
        || summary.decrypt_failures + summary.mismatches + summary.frames_lost + summary.reconnects > 0
}

/// What cannot be excused first, then what is heard and seen, then what is only slow.
fn worse(a: &Summary, b: &Summary) -> Ordering {
    (b.decrypt_failures + b.mismatches)
        .cmp(&(a.decrypt_failures + a.mismatches))
        .then(b.loss.total_cmp(&a.loss))
        .then(b.frozen.total_cmp(&a.frozen))
        .then(b.loss_before_repair.total_cmp(&a.loss_before_repair))
        .then(b.latency.p99.total_cmp(&a.latency.p99))
}

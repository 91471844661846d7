//! What one direction of an impaired network did, counted, so that a report can be held against it.

use std::ops::AddAssign;
use std::time::Duration;

use crate::clock::Moment;

/// Counts of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Every datagram.
    pub all: Counts,
    /// RTP alone, without RTCP, DTLS and STUN: what reports of loss speak of. Retransmissions are in it.
    pub rtp: Counts,
}

/// Counts of datagrams. All that entered either left, were lost for one of four reasons, or are under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That came.
    pub entered: u64,
    /// That left, duplicates included.
    pub left: u64,
    /// Lost at random.
    pub lost: u64,
    /// Lost in bursts.
    pub lost_in_bursts: u64,
    /// Lost because the queue was full.
    pub overflowed: u64,
    /// Lost in outages.
    pub lost_in_outages: u64,
    /// That others overtook on purpose.
    pub overtaken: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// That were to leave and the machine did not take: the tester's fault, not the network's.
    pub refused: u64,
    /// How long those that left were under way as planned, together.
    pub delay: Duration,
    /// How much later than planned they left, together: the tester's fault.
    pub late: Duration,
    /// How much later at most.
    pub latest: Duration,
}

/// What becomes of a datagram that does not simply arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Lost at random.
    Loss,
    /// Lost in a burst.
    Burst,
    /// Found the queue full.
    Queue,
    /// Met an outage.
    Outage,
    /// Arrives behind those that were behind it.
    Overtaken,
}

impl Flow {
    /// A datagram comes.
    pub fn enter(&mut self, rtp: bool) {
        self.both(rtp, |counts| counts.entered += 1);
    }

    /// This becomes of it.
    pub fn count(&mut self, rtp: bool, fate: Fate) {
        self.both(rtp, |counts| {
            *match fate {
                Fate::Loss => &mut counts.lost,
                Fate::Burst => &mut counts.lost_in_bursts,
                Fate::Queue => &mut counts.overflowed,
                Fate::Outage => &mut counts.lost_in_outages,
                Fate::Overtaken => &mut counts.overtaken,
            } += 1;
        });
    }

    /// It will leave twice.
    pub fn duplicate(&mut self, rtp: bool) {
        self.both(rtp, |counts| counts.duplicated += 1);
    }

    /// It leaves now, and was due a little ago.
    pub fn leave(&mut self, rtp: bool, arrived: Moment, due: Moment, now: Moment) {
        let late = now.since(due);
        self.both(rtp, |counts| {
            counts.left += 1;
            counts.delay += due.since(arrived);
            counts.late += late;
            counts.latest = counts.latest.max(late);
        });
    }

    /// It left and the machine did not take it.
    pub fn refuse(&mut self, rtp: bool) {
        self.both(rtp, |counts| counts.refused += 1);
    }

    fn both(&mut self, rtp: bool, mut change: impl FnMut(&mut Counts)) {
        change(&mut self.all);
        if rtp {
            change(&mut self.rtp);
        }
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.rtp += other.rtp;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.entered += other.entered;
        self.left += other.left;
        self.lost += other.lost;
        self.lost_in_bursts += other.lost_in_bursts;
        self.overflowed += other.overflowed;
        self.lost_in_outages += other.lost_in_outages;
        self.overtaken += other.overtaken;
        self.duplicated += other.duplicated;
        self.refused += other.refused;
        self.delay += other.delay;
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
    }
}

impl Counts {
    /// How many did not arrive by the network's fault.
    pub fn missing(&self) -> u64 {
        self.lost + self.lost_in_bursts + self.overflowed + self.lost_in_outages
    }

    /// Their percentage of those that came.
    pub fn loss(&self) -> f64 {
        if self.entered == 0 { 0.0 } else { 100.0 * self.missing() as f64 / self.entered as f64 }
    }

    /// The planned delay of those that left, in the mean.
    pub fn mean_delay(&self) -> Duration {
        self.delay.checked_div(u32::try_from(self.left).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

/// Whether a datagram is RTP by its first two bytes (RFC 7983, section 7, and RFC 5761, section 4).
pub fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !(192..=223).contains(kind))
}

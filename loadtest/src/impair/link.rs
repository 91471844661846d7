//! One direction of an impaired network, as a queue of datagrams: what it loses, delays, reorders, repeats and holds to
//! a rate. Told the time; its randomness comes from a seed, apart for each purpose, so that changing the jitter leaves
//! the losses where they were.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::flow::{Fate, Flow, is_rtp};
use crate::clock::Moment;
use crate::plan::{Bursts, Impairment, Outage};

/// One direction.
pub struct Link {
    impairment: Impairment,
    outages: Vec<(Moment, Moment)>,
    dice: Dice,
    in_burst: bool,
    /// When the link has sent what it accepted so far.
    busy_until: Moment,
    jitter: Jitter,
    /// By the time at which they are due.
    flights: VecDeque<Flight>,
    held: Vec<Held>,
    flow: Flow,
}

/// A datagram on its way.
struct Flight {
    arrived: Moment,
    due: Moment,
    datagram: Vec<u8>,
}

/// A datagram that others are to overtake.
struct Held {
    flight: Flight,
    /// How many still have to.
    overtakers: u32,
    /// When it goes on all the same.
    latest: Moment,
}

/// Randomness for each purpose.
struct Dice {
    loss: ChaCha8Rng,
    burst: ChaCha8Rng,
    jitter: ChaCha8Rng,
    reorder: ChaCha8Rng,
    duplicate: ChaCha8Rng,
}

/// A deviation from the delay that wanders: a Gaussian process whose memory fades. Independent deviations would be
/// flattened by keeping the order, since every packet would have to wait for the most delayed one before it.
struct Jitter {
    deviation: f64,
    at: Option<Moment>,
}

impl Link {
    /// A link that has carried nothing yet. Outages count from `run_start`; `rng` should be another for each link.
    pub fn new(impairment: &Impairment, outages: &[Outage], run_start: Moment, rng: ChaCha8Rng) -> Self {
        let span = |outage: &Outage| (run_start + outage.at, run_start + outage.at + outage.lasts);
        Self {
            impairment: impairment.clone(),
            outages: outages.iter().map(span).collect(),
            dice: Dice::new(&rng),
            in_burst: false,
            busy_until: Moment::default(),
            jitter: Jitter { deviation: 0.0, at: None },
            flights: VecDeque::new(),
            held: Vec::new(),
            flow: Flow::default(),
        }
    }

    /// A datagram enters.
    pub fn handle_datagram(&mut self, now: Moment, datagram: &[u8]) {
        let rtp = is_rtp(datagram);
        self.flow.enter(rtp);
        match self.due(now, datagram.len()) {
            Ok(due) => self.take(Flight { arrived: now, due, datagram: datagram.to_vec() }, rtp),
            Err(fate) => self.flow.count(rtp, fate),
        }
    }

    /// A datagram that leaves now, in the order in which they are to leave.
    pub fn poll(&mut self, now: Moment) -> Option<Vec<u8>> {
        self.give_up_holding(now);
        let flight = self.flights.pop_front_if(|flight| flight.due <= now)?;
        self.flow.leave(is_rtp(&flight.datagram), flight.arrived, flight.due, now);
        Some(flight.datagram)
    }

    /// When to call [`Link::poll`] next.
    pub fn next_timeout(&self) -> Option<Moment> {
        let held = self.held.iter().map(|held| held.latest);
        held.chain(self.flights.front().map(|flight| flight.due)).min()
    }

    /// What it did until now.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Takes notice of a datagram that left the link and could not be handed on by the machine.
    pub fn refused(&mut self, datagram: &[u8]) {
        self.flow.refuse(is_rtp(datagram));
    }

    /// When a datagram that enters now is due at the other end, or why it never is.
    fn due(&mut self, now: Moment, bytes: usize) -> Result<Moment, Fate> {
        // The dice are cast for every datagram, so that an outage or a full queue does not shift what follows.
        let at_random = self.dice.loss.random_bool(self.impairment.loss);
        let in_burst = self.impairment.bursts.is_some_and(|bursts| self.lost_in_burst(bursts));
        if self.in_outage(now) {
            return Err(Fate::Outage);
        }
        let sent = self.serve(now, bytes)?;
        // What is lost in the air has taken its share of the rate.
        if in_burst {
            return Err(Fate::Burst);
        }
        if at_random {
            return Err(Fate::Loss);
        }
        let due = self.last_due().max(sent + self.delay(sent));
        if self.in_outage(due) { Err(Fate::Outage) } else { Ok(due) }
    }

    fn lost_in_burst(&mut self, bursts: Bursts) -> bool {
        let changes = if self.in_burst { bursts.end } else { bursts.begin };
        self.in_burst ^= self.dice.burst.random_bool(changes);
        let lost = self.dice.burst.random_bool(bursts.loss);
        self.in_burst && lost
    }

    fn in_outage(&self, at: Moment) -> bool {
        self.outages.iter().any(|&(begin, end)| begin <= at && at < end)
    }

    /// When the last bit of a datagram is sent at the link's rate, behind those that wait already.
    fn serve(&mut self, now: Moment, bytes: usize) -> Result<Moment, Fate> {
        if self.flights.len() + self.held.len() >= MOST_IN_FLIGHT {
            return Err(Fate::Queue);
        }
        let Some(rate) = self.impairment.rate else { return Ok(now) };
        let begin = now.max(self.busy_until);
        if begin.since(now) > milliseconds(self.impairment.queue_ms) {
            return Err(Fate::Queue);
        }
        let bits = (bytes + HEADERS) as u64 * 8;
        self.busy_until = begin + Duration::from_nanos(bits * 1_000_000_000 / rate.max(1));
        Ok(self.busy_until)
    }

    fn delay(&mut self, at: Moment) -> Duration {
        let Impairment { delay_ms, jitter_ms, .. } = self.impairment;
        if jitter_ms == 0.0 {
            return milliseconds(delay_ms);
        }
        milliseconds(delay_ms + self.jitter.at(at, &mut self.dice.jitter) * jitter_ms)
    }

    fn last_due(&self) -> Moment {
        self.flights.back().map_or(Moment::default(), |flight| flight.due)
    }

    /// Lines a datagram up, and behind it those that it was the last to overtake.
    fn take(&mut self, flight: Flight, rtp: bool) {
        let duplicate = self.dice.duplicate.random_bool(self.impairment.duplicate);
        let overtaken = self.dice.reorder.random_bool(self.impairment.reorder);
        let overtakers = self.dice.reorder.random_range(1..=MOST_OVERTAKERS);
        let due = flight.due;
        if duplicate {
            self.flow.duplicate(rtp);
            self.flights.push_back(flight.copy());
        }
        if overtaken {
            self.held.push(Held { flight, overtakers, latest: due + HELD_AT_MOST });
            return;
        }
        self.flights.push_back(flight);
        self.count_overtaking(due);
    }

    fn count_overtaking(&mut self, due: Moment) {
        for held in &mut self.held {
            held.overtakers -= 1;
        }
        for mut free in self.held.extract_if(.., |held| held.overtakers == 0) {
            self.flow.count(is_rtp(&free.flight.datagram), Fate::Overtaken);
            free.flight.due = due;
            self.flights.push_back(free.flight);
        }
    }

    /// What nothing overtook in time goes on.
    fn give_up_holding(&mut self, now: Moment) {
        while let Some(place) = self.held.iter().position(|held| held.latest <= now) {
            let held = self.held.remove(place);
            let flight = Flight { due: held.latest, ..held.flight };
            if self.in_outage(flight.due) {
                self.flow.count(is_rtp(&flight.datagram), Fate::Outage);
                continue;
            }
            let place = self.flights.partition_point(|other| other.due <= flight.due);
            self.flights.insert(place, flight);
        }
    }
}

impl Flight {
    fn copy(&self) -> Self {
        Self { datagram: self.datagram.clone(), ..*self }
    }
}

impl Dice {
    fn new(rng: &ChaCha8Rng) -> Self {
        let die = |purpose| {
            let mut die = rng.clone();
            die.set_stream(rng.get_stream() * PURPOSES + purpose);
            die
        };
        Self { loss: die(0), burst: die(1), jitter: die(2), reorder: die(3), duplicate: die(4) }
    }
}

impl Jitter {
    /// The deviation at this time, in standard deviations.
    fn at(&mut self, now: Moment, die: &mut ChaCha8Rng) -> f64 {
        let kept = self.at.map_or(0.0, |at| (-now.since(at).as_secs_f64() / JITTER_MEMORY.as_secs_f64()).exp());
        let fresh: f64 = die.sample(StandardNormal);
        self.deviation = self.deviation * kept + fresh * (1.0 - kept * kept).sqrt();
        self.at = Some(now);
        self.deviation
    }
}

/// Milliseconds as a duration; nothing arrives before it was sent.
fn milliseconds(count: f64) -> Duration {
    Duration::try_from_secs_f64(count / 1_000.0).unwrap_or_default()
}

/// Bytes of IPv4 and UDP header, which take their share of the rate.
const HEADERS: usize = 28;
/// How long a deviation is remembered: wireless links schedule and repeat within ten to thirty milliseconds, so that
/// the packets of one frame are late together and those of the next may not be.
const JITTER_MEMORY: Duration = Duration::from_millis(20);
/// A packet is overtaken by one to three, as parallel paths do it; a fast retransmission begins at three.
const MOST_OVERTAKERS: u32 = 3;
/// A packet that waits for others to overtake it does not wait longer: the last one of a stream has none behind it.
const HELD_AT_MOST: Duration = Duration::from_millis(100);
/// Bounds memory: at 1,200 bytes, three seconds of 100 Mbit/s.
const MOST_IN_FLIGHT: usize = 1 << 15;
/// Numbers of randomness kept free for one link, more than [`Dice`] has.
const PURPOSES: u64 = 8;

#[cfg(test)]
mod tests;

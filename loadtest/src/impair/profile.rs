//! Networks by name, and as text: `lte`, `loss=5%,delay=40ms`, `bad;down:rate=500kbit;outage=10s+3s`.

use std::str::FromStr;
use std::time::Duration;

use crate::plan::{Bursts, Impairment, Network, Outage};

/// Why a network cannot be impaired as described.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum NetworkError {
    #[error(
        "`{0}` is neither a network (wifi, lte, bad) nor a setting; settings are loss=5%, burst=1%/25%, \
             delay=40ms, jitter=10ms, reorder=1%, duplicate=1%, rate=2mbit, queue=200ms, each after up: or down: for \
             one direction; and peers=2, outage=10s+3s"
    )]
    Unknown(String),
    #[error("{0}=`{1}` is no {2}")]
    Value(String, String, &'static str),
    #[error("{0}= belongs to the network, not to one direction; write it without up: and down:")]
    OneWay(String),
    #[error("the network `{0}` must come first, for it sets everything anew")]
    Late(String),
    #[error("{0} is a share of the packets and must lie from 0 to 100 %")]
    Share(&'static str),
    #[error("{0} must lie from 0 to {1} ms")]
    Milliseconds(&'static str, f64),
    #[error("a jitter of {jitter} ms needs a delay of at least as much, about which it varies; it is {delay} ms")]
    Jitter { jitter: f64, delay: f64 },
    #[error("a rate of {0} bit/s is too low to connect over; set at least 8000")]
    Rate(u64),
    #[error("the end of a burst must have a probability above 0, or it never ends")]
    Endless,
}

/// A network by its name: `wifi`, `lte` or `bad`.
pub fn profile(name: &str) -> Option<Network> {
    let (up, down) = match name {
        "wifi" => (wifi(15_000_000), wifi(40_000_000)),
        "lte" => (lte(8.0, 5_000_000), lte(5.0, 20_000_000)),
        "bad" => (bad(800_000), bad(1_500_000)),
        _ => return None,
    };
    Some(Network { up, down, ..Network::default() })
}

/// A flat with neighbours. The access point is near, and its link layer repeats what collides, which shows as jitter
/// and, where it gives up, as a few packets lost together. Rates are those of a busy channel, less one way since the
/// access point wins it more often; its queue is the tenth of a second that consumer hardware has.
fn wifi(rate: u64) -> Impairment {
    Impairment {
        // once in 2,000 packets three in the mean, of which half get through: 0.07 % in all
        bursts: Some(Bursts { begin: 0.0005, end: 0.35, loss: 0.5 }),
        delay_ms: 4.0,
        jitter_ms: 3.0,
        rate: Some(rate),
        queue_ms: 100.0,
        ..Impairment::default()
    }
}

/// A telephone in a town, walking. Half of the usual 50 ms round trip each way; radio repeats within 8 ms and grants
/// sending in turns, hence the jitter, upwards more. The radio's own repeats leave almost no loss but at handovers,
/// here 15 packets once in 10,000; base stations queue generously.
fn lte(jitter_ms: f64, rate: u64) -> Impairment {
    Impairment {
        loss: 0.0005,
        bursts: Some(Bursts { begin: 0.0001, end: 1.0 / 15.0, loss: 1.0 }),
        delay_ms: 25.0,
        jitter_ms,
        rate: Some(rate),
        queue_ms: 300.0,
        ..Impairment::default()
    }
}

/// A crowded network behind another continent's: what a call should survive. 3 % at random is where voice is heard to
/// suffer without repair; bursts of five, of which two thirds are lost, add 1.6 %; with the 160 ms that the delays make
/// there and back a repair comes late; the rate holds one picture of moderate size, and overflows with more.
fn bad(rate: u64) -> Impairment {
    Impairment {
        loss: 0.03,
        bursts: Some(Bursts { begin: 0.005, end: 0.2, loss: 0.66 }),
        delay_ms: 80.0,
        jitter_ms: 20.0,
        reorder: 0.005,
        duplicate: 0.001,
        rate: Some(rate),
        queue_ms: 400.0,
    }
}

/// Whether the settings of a direction make sense together.
///
/// # Errors
/// Names the setting and what it may be.
pub fn check(impairment: &Impairment) -> Result<(), NetworkError> {
    let Impairment { loss, bursts, delay_ms, jitter_ms, reorder, duplicate, rate, queue_ms } = *impairment;
    let bursts = bursts.unwrap_or(Bursts { begin: 0.0, end: 1.0, loss: 0.0 });
    let shares = [
        ("loss", loss),
        ("reorder", reorder),
        ("duplicate", duplicate),
        ("the beginning of a burst", bursts.begin),
        ("the end of a burst", bursts.end),
        ("the loss in a burst", bursts.loss),
    ];
    if let Some((name, _)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
        return Err(NetworkError::Share(name));
    }
    let times = [("delay", delay_ms), ("jitter", jitter_ms), ("queue", queue_ms)];
    if let Some((name, _)) = times.into_iter().find(|(_, time)| !(0.0..=LONGEST_MS).contains(time)) {
        return Err(NetworkError::Milliseconds(name, LONGEST_MS));
    }
    match rate {
        _ if bursts.end == 0.0 => Err(NetworkError::Endless),
        _ if jitter_ms > delay_ms => Err(NetworkError::Jitter { jitter: jitter_ms, delay: delay_ms }),
        Some(rate) if rate < LEAST_RATE => Err(NetworkError::Rate(rate)),
        _ => Ok(()),
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut network = Network::default();
        for (place, part) in text.split(';').enumerate() {
            let (direction, items) = match part.trim().split_once(':') {
                Some(("up", items)) => (Some(Direction::Up), items),
                Some(("down", items)) => (Some(Direction::Down), items),
                Some(_) => return Err(NetworkError::Unknown(part.to_owned())),
                None => (None, part),
            };
            for (item_place, item) in items.split(',').map(str::trim).enumerate() {
                match profile(item) {
                    Some(profile) if (place, item_place, direction) == (0, 0, None) => network = profile,
                    Some(_) => return Err(NetworkError::Late(item.to_owned())),
                    None => set(&mut network, direction, item)?,
                }
            }
        }
        for impairment in [&mut network.up, &mut network.down] {
            if impairment.rate.is_some() && impairment.queue_ms == 0.0 {
                impairment.queue_ms = DEFAULT_QUEUE_MS;
            }
            check(impairment)?;
        }
        Ok(network)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

fn set(network: &mut Network, direction: Option<Direction>, item: &str) -> Result<(), NetworkError> {
    let (key, value) = item.split_once('=').ok_or_else(|| NetworkError::Unknown(item.to_owned()))?;
    let wrong = |expected| NetworkError::Value(key.to_owned(), value.to_owned(), expected);
    match key {
        "peers" | "outage" if direction.is_some() => return Err(NetworkError::OneWay(key.to_owned())),
        "peers" => {
            network.peers = Some(value.parse().map_err(|_| wrong("number of participants, such as 2"))?);
            return Ok(());
        }
        "outage" => {
            network.outages.push(outage(value).ok_or_else(|| wrong("beginning and length, such as 10s+3s"))?);
            return Ok(());
        }
        _ => {}
    }
    if direction != Some(Direction::Down) {
        set_one(&mut network.up, key, value, item)?;
    }
    if direction != Some(Direction::Up) {
        set_one(&mut network.down, key, value, item)?;
    }
    Ok(())
}

fn set_one(impairment: &mut Impairment, key: &str, value: &str, item: &str) -> Result<(), NetworkError> {
    let wrong = |expected| NetworkError::Value(key.to_owned(), value.to_owned(), expected);
    let share = || share(value).ok_or_else(|| wrong("share of packets, such as 5% or 0.05"));
    let time = || time(value).map(|time| time.as_secs_f64() * 1_000.0).ok_or_else(|| wrong("time, such as 40ms"));
    match key {
        "loss" => impairment.loss = share()?,
        "burst" => {
            let expected = "begin/end or begin/end/loss in a burst, such as 1%/25%/80%";
            impairment.bursts = Some(bursts(value).ok_or_else(|| wrong(expected))?);
        }
        "delay" => impairment.delay_ms = time()?,
        "jitter" => impairment.jitter_ms = time()?,
        "reorder" => impairment.reorder = share()?,
        "duplicate" => impairment.duplicate = share()?,
        "rate" => impairment.rate = Some(rate(value).ok_or_else(|| wrong("rate, such as 500kbit or 2mbit"))?),
        "queue" => impairment.queue_ms = time()?,
        _ => return Err(NetworkError::Unknown(item.to_owned())),
    }
    Ok(())
}

/// `5%` or `0.05`
fn share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    share.is_finite().then_some(share)
}

/// `40ms` or `1.5s`
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

/// `500kbit`, `2mbit`, `1gbit` or `9600bit`, a second
fn rate(text: &str) -> Option<u64> {
    let number = text.strip_suffix("bit")?;
    let (number, factor) = match number.char_indices().next_back()? {
        (at, 'k') => (&number[..at], 1e3),
        (at, 'm') => (&number[..at], 1e6),
        (at, 'g') => (&number[..at], 1e9),
        _ => (number, 1.0),
    };
    let rate = number.parse::<f64>().ok()? * factor;
    (0.0..=1e12).contains(&rate).then_some(rate as u64)
}

/// `begin/end` or `begin/end/loss`
fn bursts(text: &str) -> Option<Bursts> {
    let mut shares = text.split('/').map(share);
    let (begin, end) = (shares.next()??, shares.next()??);
    let loss = shares.next().unwrap_or(Some(1.0))?;
    shares.next().is_none().then_some(Bursts { begin, end, loss })
}

/// `at+lasts`
fn outage(text: &str) -> Option<Outage> {
    let (at, lasts) = text.split_once('+')?;
    Some(Outage { at: time(at)?, lasts: time(lasts)? })
}

/// Longer than any path on earth takes.
const LONGEST_MS: f64 = 10_000.0;
/// Below it a handshake's certificate takes a second.
const LEAST_RATE: u64 = 8_000;
/// Where a rate is written without a queue: a usual home router's.
const DEFAULT_QUEUE_MS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_network_makes_sense_and_is_worse_than_the_one_before() {
        let networks = ["wifi", "lte", "bad"].map(|name| name.parse::<Network>().unwrap());
        assert!(networks.windows(2).all(|pair| pair[0].up.delay_ms < pair[1].up.delay_ms));
        assert!(networks.windows(2).all(|pair| pair[0].down.rate > pair[1].down.rate));
        assert!(networks.iter().all(|network| network.up.rate < network.down.rate));
        assert_eq!(profile("fibre"), None);
    }

    #[test]
    fn every_setting_can_be_written() {
        let network: Network =
            "loss=5%, delay=40ms,jitter=10ms,rate=2mbit,queue=0.2s,burst=1%/25%/80%,reorder=0.01,duplicate=1%"
                .parse()
                .unwrap();
        let expected = Impairment {
            loss: 0.05,
            bursts: Some(Bursts { begin: 0.01, end: 0.25, loss: 0.8 }),
            delay_ms: 40.0,
            jitter_ms: 10.0,
            reorder: 0.01,
            duplicate: 0.01,
            rate: Some(2_000_000),
            queue_ms: 200.0,
        };
        assert_eq!((&network.up, &network.down), (&expected, &expected));
    }

    #[test]
    fn settings_change_a_named_network_in_one_direction_or_both() {
        let network: Network = "lte,loss=1%;down:rate=500kbit;outage=10s+3s,peers=2,outage=20s+500ms".parse().unwrap();
        let lte = profile("lte").unwrap();
        assert_eq!((network.up.loss, network.down.loss), (0.01, 0.01));
        assert_eq!((network.up.rate, network.down.rate), (lte.up.rate, Some(500_000)));
        assert_eq!(network.up.bursts, lte.up.bursts);
        assert_eq!(network.peers, Some(2));
        let seconds = |at, lasts| Outage { at: Duration::from_secs(at), lasts: Duration::from_millis(lasts) };
        assert_eq!(network.outages, [seconds(10, 3_000), seconds(20, 500)]);
        assert_eq!("rate=1mbit".parse::<Network>().unwrap().up.queue_ms, DEFAULT_QUEUE_MS);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (text, said) in [
            ("", "neither a network"),
            ("fibre", "neither a network"),
            ("los=5%", "los=5%"),
            ("sideways:loss=5%", "sideways"),
            ("loss=five", "share of packets"),
            ("loss=500%", "0 to 100"),
            ("loss=-1%", "0 to 100"),
            ("loss=nan", "share of packets"),
            ("burst=1%", "begin/end"),
            ("burst=1%/0%", "never ends"),
            ("delay=40", "time, such as"),
            ("delay=-40ms", "time, such as"),
            ("delay=60s", "10000 ms"),
            ("jitter=10ms", "needs a delay"),
            ("rate=2", "rate, such as"),
            ("rate=2kbit", "too low"),
            ("up:outage=1s+1s", "without up:"),
            ("outage=1s", "10s+3s"),
            ("loss=1%,lte", "must come first"),
            ("up:lte", "must come first"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}

//! A link does what its settings say, in virtual time. Every failure prints the seed that shows it.

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

const START: Moment = Moment(1_000_000_000);
const SEEDS: std::ops::Range<u64> = 1..9;

fn link(impairment: &Impairment, outages: &[Outage], seed: u64) -> Link {
    Link::new(impairment, outages, START, ChaCha8Rng::seed_from_u64(seed))
}

/// What arrives, in order: number of the datagram and time in nanoseconds from the start.
#[derive(Debug, PartialEq)]
struct Arrival {
    number: u64,
    at: u64,
}

/// Sends `count` datagrams of `bytes`, evenly, and waits for the last. Times come true to the nanosecond.
fn send(link: &mut Link, count: u64, bytes: usize, spacing: Duration) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    let mut collect = |link: &mut Link, until: Moment| {
        while let Some(at) = link.next_timeout().filter(|&at| at <= until) {
            let mut any = false;
            while let Some(datagram) = link.poll(at) {
                let number = u64::from_be_bytes(*datagram[2..].first_chunk().unwrap());
                arrivals.push(Arrival { number, at: at.0 - START.0 });
                any = true;
            }
            assert!(any || link.next_timeout().is_none_or(|next| next > at), "a timeout at which nothing happens");
        }
    };
    for number in 0..count {
        let now = START + spacing * number as u32;
        collect(link, now);
        let mut datagram = vec![0; bytes];
        datagram[..2].copy_from_slice(&[0x80, 96]);
        datagram[2..10].copy_from_slice(&number.to_be_bytes());
        link.handle_datagram(now, &datagram);
    }
    collect(link, START + Duration::from_secs(100_000));
    arrivals
}

fn ms(count: f64) -> Duration {
    Duration::from_secs_f64(count / 1_000.0)
}

/// That a share of `count` trials is what its probability allows: 4.5 standard deviations, 1 in 150,000.
fn assert_share(seen: u64, count: u64, probability: f64, what: &str, seed: u64) {
    let expected = count as f64 * probability;
    let deviation = (expected * (1.0 - probability)).sqrt();
    let off = (seen as f64 - expected).abs() / deviation.max(f64::MIN_POSITIVE);
    assert!(off < 4.5, "{what}: {seen} of {count}, expected {expected}, off by {off} deviations; seed {seed}");
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}

#[test]
fn a_link_without_settings_changes_nothing() {
    let mut link = link(&Impairment::default(), &[], 1);
    let arrivals = send(&mut link, 1_000, 100, ms(1.0));
    let expected: Vec<_> = (0..1_000).map(|number| Arrival { number, at: number * 1_000_000 }).collect();
    assert_eq!(arrivals, expected);
    let flow = link.flow();
    assert_eq!((flow.rtp.entered, flow.rtp.left, flow.rtp.missing()), (1_000, 1_000, 0));
}

#[test]
fn as_many_are_lost_as_asked_for_each_on_its_own() {
    for seed in SEEDS {
        let impairment = Impairment { loss: 0.05, ..Impairment::default() };
        let mut link = link(&impairment, &[], seed);
        let arrivals = send(&mut link, 40_000, 50, ms(1.0));
        let lost = 40_000 - arrivals.len() as u64;
        assert_share(lost, 40_000, 0.05, "lost", seed);
        assert_eq!(link.flow().rtp.lost, lost);
        let pairs = (1..40_000u64).filter(|number| !has(&arrivals, number - 1) && !has(&arrivals, *number)).count();
        assert_share(pairs as u64, 39_999, 0.05 * 0.05, "lost one after the other", seed);
    }
}

fn has(arrivals: &[Arrival], number: u64) -> bool {
    arrivals.binary_search_by_key(&number, |arrival| arrival.number).is_ok()
}

#[test]
fn bursts_come_as_often_and_last_as_long_as_asked_for() {
    for seed in SEEDS {
        let bursts = Bursts { begin: 0.01, end: 0.2, loss: 1.0 };
        let impairment = Impairment { bursts: Some(bursts), ..Impairment::default() };
        let mut link = link(&impairment, &[], seed);
        let arrivals = send(&mut link, 60_000, 50, ms(1.0));
        let mut lengths: Vec<u64> = arrivals.windows(2).map(|pair| pair[1].number - pair[0].number - 1).collect();
        lengths.retain(|&length| length > 0);
        let (mean, _) = mean_and_deviation(&lengths.iter().map(|&length| length as f64).collect::<Vec<_>>());
        // lengths are geometric: mean 1/0.2, deviation of the mean sqrt(0.8)/0.2/sqrt(n)
        let allowed = 4.5 * 0.8f64.sqrt() / 0.2 / (lengths.len() as f64).sqrt();
        assert!((mean - 5.0).abs() < allowed, "mean length {mean}, expected 5 +- {allowed}; seed {seed}");
        let in_good = 60_000 - link.flow().rtp.lost_in_bursts;
        assert_share(lengths.len() as u64, in_good, 0.01, "bursts", seed);
        let single = lengths.iter().filter(|&&length| length == 1).count() as u64;
        assert_share(single, lengths.len() as u64, 0.2, "bursts of one", seed);
    }
}

#[test]
fn a_burst_loses_only_its_share() {
    for seed in SEEDS {
        let bursts = Bursts { begin: 0.02, end: 0.1, loss: 0.5 };
        let impairment = Impairment { bursts: Some(bursts), ..Impairment::default() };
        let lost = 100_000 - send(&mut link(&impairment, &[], seed), 100_000, 50, ms(1.0)).len();
        let share = lost as f64 / 100_000.0;
        // 1/6 of the time in the bad state; neighbours are alike, so the binomial bounds do not hold: 10 % of it
        assert!((share - 1.0 / 12.0).abs() < 0.1 / 12.0, "lost {share}, expected {}; seed {seed}", 1.0 / 12.0);
    }
}

#[test]
fn a_delay_is_exact() {
    let impairment = Impairment { delay_ms: 40.5, ..Impairment::default() };
    let arrivals = send(&mut link(&impairment, &[], 1), 1_000, 100, ms(0.1));
    assert!(arrivals.iter().enumerate().all(|(at, arrival)| arrival.at == at as u64 * 100_000 + 40_500_000));
    assert_eq!(arrivals.len(), 1_000);
}

#[test]
fn jitter_has_its_mean_and_deviation_and_keeps_the_order() {
    for (seed, spacing, jitter) in SEEDS.flat_map(|seed| [(seed, 20.0, 5.0), (seed, 1.0, 2.0), (seed, 20.0, 10.0)]) {
        let impairment = Impairment { delay_ms: 50.0, jitter_ms: jitter, ..Impairment::default() };
        let mut link = link(&impairment, &[], seed);
        let arrivals = send(&mut link, 40_000, 100, ms(spacing));
        assert!(arrivals.windows(2).all(|pair| pair[0].number < pair[1].number && pair[0].at <= pair[1].at));
        let delays: Vec<f64> = arrivals.iter().map(|arrival| delay(arrival, spacing)).collect();
        let (mean, deviation) = mean_and_deviation(&delays);
        assert!((mean - 50.0).abs() < 0.15 * jitter, "mean {mean}; spacing {spacing} ms; seed {seed}");
        assert!((deviation / jitter - 1.0).abs() < 0.1, "deviation {deviation} for {jitter}; seed {seed}");
        let told = link.flow().rtp.mean_delay().as_secs_f64() * 1_000.0;
        assert!((told - mean).abs() < 0.001, "told {told}, measured {mean}");
    }
}

fn delay(arrival: &Arrival, spacing: f64) -> f64 {
    arrival.at as f64 / 1e6 - arrival.number as f64 * spacing
}

#[test]
fn as_many_are_overtaken_as_asked_for_by_one_to_three() {
    for seed in SEEDS {
        let impairment = Impairment { reorder: 0.02, delay_ms: 10.0, ..Impairment::default() };
        let mut link = link(&impairment, &[], seed);
        let arrivals = send(&mut link, 50_000, 100, ms(1.0));
        assert_eq!(arrivals.len(), 50_000, "none is lost");
        let (mut highest, mut late) = (0, Vec::new());
        for arrival in &arrivals {
            if arrival.number < highest {
                late.push(highest - arrival.number);
            }
            highest = highest.max(arrival.number);
        }
        assert_share(late.len() as u64, 50_000, 0.02, "late", seed);
        assert_eq!(link.flow().rtp.overtaken, late.len() as u64);
        assert!(late.iter().all(|&by| by <= 6), "three overtake, and those that are held meanwhile do not: {late:?}");
        for by in 1..=3 {
            let share = late.iter().filter(|&&late| late == by).count() as f64 / late.len() as f64;
            assert!((share - 1.0 / 3.0).abs() < 0.1, "overtaken by {by}: {share}; seed {seed}");
        }
    }
}

#[test]
fn the_last_one_is_not_held_for_ever() {
    let impairment = Impairment { reorder: 1.0, delay_ms: 5.0, ..Impairment::default() };
    let arrivals = send(&mut link(&impairment, &[], 1), 3, 100, ms(1.0));
    let times: Vec<_> = arrivals.iter().map(|arrival| arrival.at / 1_000_000).collect();
    assert_eq!(times, [105, 106, 107]);
}

#[test]
fn as_many_come_twice_as_asked_for() {
    for seed in SEEDS {
        let impairment = Impairment { duplicate: 0.03, jitter_ms: 5.0, delay_ms: 20.0, ..Impairment::default() };
        let mut link = link(&impairment, &[], seed);
        let arrivals = send(&mut link, 30_000, 100, ms(1.0));
        let twice = arrivals.windows(2).filter(|pair| pair[0].number == pair[1].number).count() as u64;
        assert_eq!(arrivals.len() as u64, 30_000 + twice);
        assert_share(twice, 30_000, 0.03, "twice", seed);
        assert_eq!(link.flow().rtp.duplicated, twice);
    }
}

#[test]
fn what_passes_keeps_to_the_rate_and_waits_no_longer_than_the_queue() {
    let (rate, bytes) = (2_000_000, 1_172);
    let impairment = Impairment { rate: Some(rate), queue_ms: 200.0, ..Impairment::default() };
    let mut link = link(&impairment, &[], 1);
    // 1,200 bytes each ms with headers are 9.6 Mbit/s
    let arrivals = send(&mut link, 10_000, bytes, ms(1.0));
    let seconds = (arrivals.last().unwrap().at - arrivals[0].at) as f64 / 1e9;
    let passed = (arrivals.len() - 1) as f64 * (bytes + HEADERS) as f64 * 8.0 / seconds;
    assert!((passed / rate as f64 - 1.0).abs() < 0.001, "{passed} bit/s");
    let longest = arrivals.iter().map(|arrival| delay(arrival, 1.0)).fold(0.0, f64::max);
    assert!((200.0..205.0).contains(&longest), "{longest} ms: the queue, and 4.8 ms to send the packet itself");
    assert_eq!(link.flow().rtp.overflowed, 10_000 - arrivals.len() as u64);
    // and within any window of a tenth of a second
    for window in arrivals.windows(21) {
        assert!(window[20].at - window[0].at >= 95_999_000, "21 packets take 20 times 4.8 ms");
    }
}

#[test]
fn below_the_rate_nothing_is_dropped() {
    let impairment = Impairment { rate: Some(2_000_000), queue_ms: 50.0, ..Impairment::default() };
    let mut link = link(&impairment, &[], 1);
    assert_eq!(send(&mut link, 10_000, 1_172, ms(5.0)).len(), 10_000);
    assert_eq!(link.flow().rtp.mean_delay(), Duration::from_micros(4_800));
}

#[test]
fn an_outage_takes_everything_from_its_first_to_its_last_nanosecond() {
    let outage = Outage { at: ms(1_000.0), lasts: ms(3_000.0) };
    let mut link = link(&Impairment::default(), &[outage], 1);
    let arrivals = send(&mut link, 10_000, 100, ms(1.0));
    assert_eq!(arrivals.len(), 7_000);
    assert!(arrivals.iter().all(|arrival| !(1_000..4_000).contains(&arrival.number)));
    assert_eq!(link.flow().rtp.lost_in_outages, 3_000);
}

#[test]
fn what_is_under_way_when_an_outage_begins_does_not_arrive_in_it() {
    let impairment = Impairment { delay_ms: 50.0, jitter_ms: 10.0, reorder: 0.1, ..Impairment::default() };
    let outage = Outage { at: ms(1_000.0), lasts: ms(500.0) };
    for seed in SEEDS {
        let arrivals = send(&mut link(&impairment, &[outage], seed), 3_000, 100, ms(1.0));
        assert!(arrivals.iter().all(|arrival| !(1_000_000_000..1_500_000_000).contains(&arrival.at)), "seed {seed}");
        assert!(arrivals.len() < 2_500, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_losses_whatever_else_is_set() {
    let lossy = Impairment { loss: 0.1, ..Impairment::default() };
    let more = Impairment { delay_ms: 30.0, jitter_ms: 5.0, duplicate: 0.2, ..lossy.clone() };
    let numbers = |impairment: &Impairment, seed| {
        let arrivals = send(&mut link(impairment, &[], seed), 2_000, 100, ms(1.0));
        let mut numbers: Vec<_> = arrivals.iter().map(|arrival| arrival.number).collect();
        numbers.dedup();
        numbers
    };
    assert_eq!(numbers(&lossy, 5), numbers(&more, 5));
    assert_ne!(numbers(&lossy, 5), numbers(&lossy, 6));
}

#[test]
fn rtp_is_counted_apart() {
    let mut link = link(&Impairment::default(), &[], 1);
    for datagram in [&[0x80, 96, 0][..], &[0x80, 0xe0, 0], &[0x80, 200, 0], &[0, 1, 0], &[22, 254], &[0x90], &[]] {
        link.handle_datagram(START, datagram);
    }
    assert_eq!((link.flow().all.entered, link.flow().rtp.entered), (7, 2));
}

proptest! {
    #[test]
    fn every_datagram_is_accounted_for(
        loss in 0.0..0.5, reorder in 0.0..0.5, duplicate in 0.0..0.5, delay_ms in 0.0..100.0, jitter_ms in 0.0..50.0,
        rate in proptest::option::of(10_000u64..5_000_000), queue_ms in 0.0..300.0, bursts in any::<bool>(), seed: u64,
    ) {
        let bursts = bursts.then_some(Bursts { begin: 0.05, end: 0.3, loss: 0.8 });
        let impairment = Impairment { loss, bursts, delay_ms, jitter_ms, reorder, duplicate, rate, queue_ms };
        let outage = Outage { at: ms(100.0), lasts: ms(50.0) };
        let mut link = link(&impairment, &[outage], seed);
        let arrivals = send(&mut link, 500, 200, ms(1.0));
        let rtp = link.flow().rtp;
        prop_assert_eq!(rtp.left, arrivals.len() as u64);
        prop_assert_eq!(rtp.entered + rtp.duplicated, rtp.left + rtp.missing());
        prop_assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
        prop_assert_eq!(rtp.late, Duration::ZERO);
        prop_assert!(link.next_timeout().is_none());
    }
}

use super::*;
use crate::measure::sequences::Counts;
use crate::process::Usage;
use crate::report::Outcome as Ending;

fn at(seconds: f64) -> Moment {
    Moment(1_000_000_000_000) + Duration::from_secs_f64(seconds)
}

fn sample(seconds: f64) -> Sample {
    let relay = Usage {
        user: Duration::from_secs_f64(seconds * 0.1),
        system: Duration::from_secs_f64(seconds * 0.2),
        memory: 10_000_000 + (seconds * 1e6) as u64,
        descriptors: Some(10),
    };
    let tester = Usage { user: Duration::from_secs_f64(seconds * 0.5), ..Usage::default() };
    Sample { at: at(seconds), relay: Some(relay), tester, ..Sample::default() }
}

fn ledger(plan: &Plan) -> Ledger {
    let thresholds = plan.fail_if.iter().map(|text| Threshold::parse(text).unwrap()).collect();
    let mut ledger = Ledger::new(plan, thresholds, 2, sample(0.0));
    (0..plan.participants).for_each(|index| ledger.asked(PeerId(index), Place { call: 0, index }));
    ledger
}

fn join(ledger: &mut Ledger, peers: usize) {
    for peer in 0..peers {
        ledger.update(Update::Joined { peer: PeerId(peer), at: at(0.5), took: Duration::from_millis(200) });
    }
}

/// A second that ended then, with so many packets received and lost.
fn second(ledger: &mut Ledger, peer: usize, ended: f64, received: u64, lost: u64) {
    let packets = Counts { received, lost, ..Counts::default() };
    let mut interval = Interval { packets, bytes: received * 100, frames: received, ..Interval::default() };
    interval.latency.record(Duration::from_millis(5));
    let second = Second { at: at(ended), connected: true, interval, ..Second::default() };
    ledger.update(Update::Second { peer: PeerId(peer), second: Box::new(second) });
}

fn gone(ledger: &mut Ledger, peer: usize, failure: &str) -> Option<Place> {
    let outcome = Outcome { index: peer, failure: failure.to_owned(), ..Outcome::default() };
    ledger.update(Update::Gone { peer: PeerId(peer), outcome: Box::new(outcome) })
}

fn report(ledger: Ledger) -> Report {
    ledger.report(Ending::Completed, "2026-01-01T00:00:00Z".into(), "a machine".into())
}

fn two() -> Plan {
    Plan { participants: 2, ..Plan::default() }
}

#[test]
fn the_timeline_has_a_row_for_each_second_and_puts_in_it_what_ended_in_it() {
    let mut ledger = ledger(&two());
    join(&mut ledger, 2);
    for full in 1..=4 {
        second(&mut ledger, 0, f64::from(full) - 0.4, 100, 1);
        second(&mut ledger, 1, f64::from(full), 50, 0);
        ledger.tick(full as usize - 1, sample(f64::from(full) + 0.003));
    }
    let report = report(ledger);
    assert_eq!(report.timeline.iter().map(|row| row.at).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0]);
    for row in &report.timeline {
        assert_eq!((row.packets, row.lost, row.peers), (150, 1, 2));
        assert!((row.relay_cpu.unwrap() - 30.0).abs() < 1.0 && (row.tester_cpu - 50.0).abs() < 1.0);
    }
}

#[test]
fn the_relays_cpu_is_of_the_steady_time_alone() {
    let mut ledger = ledger(&two());
    join(&mut ledger, 1);
    assert!(!ledger.is_complete(), "one is not in yet");
    second(&mut ledger, 0, 0.9, 1_000_000, 0);
    join(&mut ledger, 2);
    assert!(ledger.is_complete());
    ledger.begin_steady(sample(1.0));
    for full in 2..=11 {
        second(&mut ledger, 0, f64::from(full) - 0.5, 1_000, 0);
    }
    ledger.sample(sample(11.0));
    let relay = report(ledger).relay.unwrap();
    assert_eq!(relay.packets_forwarded, 10_000);
    assert!((relay.user_us_per_packet - 100.0).abs() < 1e-6, "1 s for 10,000 packets");
    assert!((relay.system_us_per_packet - 200.0).abs() < 1e-6);
    assert_eq!((relay.memory_before, relay.memory_peak), (10_000_000, 21_000_000));
    assert!((relay.memory_per_participant - 5_500_000.0).abs() < 1.0);
}

#[test]
fn what_comes_after_the_end_does_not_count() {
    let mut ledger = ledger(&two());
    join(&mut ledger, 2);
    ledger.begin_steady(sample(1.0));
    second(&mut ledger, 0, 1.9, 10, 0);
    ledger.tick(1, sample(2.0));
    ledger.end(at(2.0), true);
    second(&mut ledger, 0, 2.2, 1_000, 900);
    let report = report(ledger);
    assert_eq!(report.timeline.iter().map(|row| row.lost).sum::<u64>(), 0);
    assert_eq!(report.relay.unwrap().packets_forwarded, 10);
}

#[test]
fn who_fails_to_join_holds_nothing_up_and_is_reported() {
    let mut ledger = ledger(&two());
    join(&mut ledger, 1);
    assert_eq!(gone(&mut ledger, 1, "the relay refused it"), Some(Place { call: 0, index: 1 }));
    assert!(ledger.is_complete());
    assert_eq!(ledger.nobody_came(), None);
    assert_eq!(gone(&mut ledger, 0, ""), Some(Place { call: 0, index: 0 }));
    let report = report(ledger);
    assert_eq!(report.peers.iter().map(|peer| peer.failure.as_str()).collect::<Vec<_>>(), ["", "the relay refused it"]);
    assert_eq!(Reading::of(&report).failed, 1);
}

#[test]
fn a_run_into_which_nobody_came_says_why() {
    let mut ledger = ledger(&two());
    gone(&mut ledger, 0, "refused");
    assert_eq!(ledger.nobody_came(), None, "the other may still come");
    gone(&mut ledger, 1, "refused");
    assert_eq!(ledger.nobody_came(), Some("refused"));
}

#[test]
fn who_is_not_in_at_the_end_of_a_full_run_failed_to_join() {
    for (in_full, failed) in [(true, 1), (false, 0)] {
        let mut ledger = ledger(&two());
        join(&mut ledger, 1);
        ledger.end(at(20.0), in_full);
        gone(&mut ledger, 0, "");
        gone(&mut ledger, 1, "");
        assert_eq!(Reading::of(&report(ledger)).failed, failed, "in full: {in_full}");
    }
}

#[test]
fn who_never_ends_is_in_the_report_all_the_same() {
    let mut ledger = ledger(&two());
    join(&mut ledger, 2);
    gone(&mut ledger, 0, "");
    let report = report(ledger);
    assert_eq!(report.peers.len(), 2);
    assert!(report.peers[1].failure.contains("did not end"));
}

fn ramp() -> Plan {
    Plan { participants: 2, fail_if: vec!["loss>1%".into(), "join_p95>1s".into()], ..Plan::of(Scenario::Ramp) }
}

#[test]
fn a_ramp_is_judged_by_the_largest_load_that_held() {
    let mut ledger = ledger(&ramp());
    join(&mut ledger, 2);
    ledger.begin_step(sample(3.0));
    second(&mut ledger, 0, 4.0, 1_000, 0);
    ledger.sample(sample(13.0));
    assert!(ledger.judge_step(1));
    ledger.begin_step(sample(16.0));
    second(&mut ledger, 0, 17.0, 900, 100);
    ledger.sample(sample(26.0));
    assert!(!ledger.judge_step(2), "10 % are lost, and nobody joined whose time could be told");
    let report = report(ledger);
    assert_eq!(report.ramp.iter().map(|step| (step.calls, step.held)).collect::<Vec<_>>(), [(1, true), (2, false)]);
    assert!(report.ramp[1].broken.contains(&"loss>1%".to_owned()));
    assert!(report.thresholds.iter().all(|threshold| !threshold.broken), "{:?}", report.thresholds);
    assert!(report.tester.overloaded.is_empty());
}

#[test]
fn a_ramp_that_ends_at_the_tester_says_so() {
    let mut ledger = ledger(&ramp());
    join(&mut ledger, 2);
    ledger.begin_step(sample(3.0));
    second(&mut ledger, 0, 4.0, 1_000, 0);
    ledger.sample(Sample { dropped: 7, ..sample(13.0) });
    assert!(!ledger.judge_step(1));
    let report = report(ledger);
    assert!(report.ramp[0].broken[0].starts_with(TESTER), "{:?}", report.ramp[0].broken);
    assert_eq!(report.tester.overloaded.len(), 1);
    assert!(report.tester.overloaded[0].starts_with("the kernel dropped 7"));
}

#[test]
fn reconnections_show_who_is_connected() {
    let mut ledger = ledger(&two());
    join(&mut ledger, 2);
    ledger.update(Update::Lost { peer: PeerId(0), at: at(1.0), signaling: true, reason: "gone".into() });
    assert_eq!(ledger.glance(at(1.1), 2).connected, 1);
    ledger.update(Update::Rejoined { peer: PeerId(0), at: at(2.0), after: Duration::from_secs(1) });
    assert_eq!(ledger.glance(at(2.1), 2).connected, 2);
}

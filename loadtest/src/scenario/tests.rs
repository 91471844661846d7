use super::*;
use crate::plan::Churn;

/// Plays a script in virtual time until its end, or for an hour.
fn played(plan: &Plan) -> Vec<(Duration, Act)> {
    let (mut script, mut acts, mut now) = (Script::new(plan), Vec::new(), Duration::ZERO);
    while let Some(due) = script.next_due().filter(|due| *due < Duration::from_secs(3600)) {
        now = now.max(due);
        while let Some(act) = script.poll(now) {
            acts.push((now, act));
            match act {
                Act::Judge => script.grow(now),
                Act::End => return acts,
                _ => {}
            }
        }
    }
    acts
}

fn joins(acts: &[(Duration, Act)]) -> Vec<(Duration, Place)> {
    acts.iter().filter_map(|&(at, act)| if let Act::Join(place) = act { Some((at, place)) } else { None }).collect()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn joins_are_spread_evenly_over_their_time() {
    let acts = played(&Plan { calls: 2, participants: 3, join_over: seconds(5.0), ..Plan::default() });
    let joins = joins(&acts);
    assert_eq!(joins.iter().map(|(at, _)| at.as_secs()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let places: std::collections::BTreeSet<Place> = joins.iter().map(|&(_, place)| place).collect();
    assert_eq!(places.len(), 6, "nobody joins twice");
    assert_eq!(joins[1].1, Place { call: 1, index: 0 }, "every call has its first before any has its second");
}

#[test]
fn a_run_ends_when_it_is_planned_to() {
    let acts = played(&Plan { duration: seconds(7.0), ..Plan::default() });
    assert_eq!(acts.last(), Some(&(seconds(7.0), Act::End)));
    assert_eq!(acts.iter().filter(|(_, act)| *act == Act::End).count(), 1);
}

#[test]
fn one_speaks_at_a_time_and_who_has_no_voice_never_does() {
    let plan = Plan { participants: 5, voices: Some(3), duration: seconds(300.0), ..Plan::default() };
    let (mut speaking, mut spoke) = (None, [0; 5]);
    for (_, act) in played(&plan) {
        match act {
            Act::Speak(place, false) => assert_eq!(speaking.take(), Some(place)),
            Act::Speak(place, true) => {
                assert_eq!(speaking.replace(place), None, "the one before rests first");
                spoke[place.index] += 1;
            }
            _ => {}
        }
    }
    assert!(spoke[..3].iter().all(|&turns| turns > 5) && spoke[3..] == [0, 0], "{spoke:?}");
}

#[test]
fn churn_keeps_every_call_at_its_size_and_its_roles() {
    let plan = Plan {
        calls: 3,
        participants: 4,
        duration: seconds(200.0),
        churn: Churn { per_second: 2.0 },
        ..Plan::of(Scenario::Churn)
    };
    let (mut there, mut changes, mut last) = (std::collections::BTreeSet::new(), 0, Duration::ZERO);
    for (at, act) in played(&plan) {
        match act {
            Act::Join(place) => assert!(there.insert(place), "an index is used once"),
            Act::Leave(place) => {
                assert!(there.remove(&place), "only who is there leaves");
                (changes, last) = (changes + 1, at);
            }
            _ => {}
        }
    }
    assert_eq!(there.len(), 12);
    for call in 0..3 {
        let roles = there.iter().filter(|place| place.call == call).map(|place| place.index % 4);
        assert_eq!(roles.collect::<std::collections::BTreeSet<_>>().len(), 4, "each role is still there once");
    }
    assert!((320..470).contains(&changes), "two a second for 195 s: {changes}");
    assert!(last + LAST_JOIN <= plan.duration);
}

#[test]
fn churn_does_not_ask_the_departed_to_leave() {
    let plan = Plan { participants: 2, duration: seconds(60.0), ..Plan::of(Scenario::Churn) };
    let mut script = Script::new(&plan);
    while script.poll(seconds(2.0)).is_some() {}
    assert_eq!(script.present(), 2);
    script.departed(Place { call: 0, index: 0 });
    script.departed(Place { call: 0, index: 1 });
    assert_eq!(script.present(), 0);
    while let Some(act) = script.poll(seconds(60.0)) {
        assert!(!matches!(act, Act::Leave(_) | Act::Join(_) | Act::Speak(..)), "{act:?}");
    }
}

#[test]
fn a_ramp_adds_calls_step_by_step_and_ends_with_its_last() {
    let mut plan = Plan { calls: 2, participants: 3, join_over: seconds(2.0), ..Plan::of(Scenario::Ramp) };
    plan.ramp = crate::plan::Ramp { calls: 4, hold: seconds(10.0), steps: 3 };
    let acts = played(&plan);
    let joined = joins(&acts);
    assert_eq!(joined.len(), (2 + 4 + 4) * 3);
    let judged: Vec<Duration> = acts.iter().filter(|(_, act)| *act == Act::Judge).map(|(at, _)| *at).collect();
    assert_eq!(judged, [13.0, 26.0, 39.0].map(seconds));
    for (hold, judge) in acts.iter().filter(|(_, act)| *act == Act::Hold).map(|(at, _)| *at).zip(judged) {
        assert_eq!(judge - hold, seconds(10.0));
        let meanwhile = joined.iter().filter(|(at, _)| *at >= hold && *at < judge);
        assert_eq!(meanwhile.count(), 0, "nobody joins while it is measured");
    }
    assert_eq!(acts.last(), Some(&(seconds(39.0), Act::End)));
}

#[test]
fn a_ramp_that_is_ended_does_nothing_more() {
    let mut script = Script::new(&Plan::of(Scenario::Ramp));
    while script.poll(seconds(13.0)).is_some_and(|act| act != Act::Judge) {}
    script.end();
    assert_eq!(script.poll(seconds(13.0)), Some(Act::End));
    assert_eq!((script.poll(seconds(1e6)), script.next_due()), (None, None));
}

#[test]
fn the_seed_alone_makes_the_run() {
    for scenario in [Scenario::Meeting, Scenario::Churn] {
        let plan = Plan { duration: seconds(100.0), ..Plan::of(scenario) };
        assert_eq!(played(&plan), played(&plan));
        assert_ne!(played(&plan), played(&Plan { seed: 2, ..plan }));
    }
}

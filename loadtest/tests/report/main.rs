//! What is made of a report, held against made-up runs: its JSON against the schema, its page, its summary, a comparison.
#![allow(clippy::unwrap_used)] // of what these tests made themselves

use serde_json::Value;
use sotto_loadtest::plan::{Bursts, EngineKind, Plan};
use sotto_loadtest::report::compare::{Side, render_html, render_text, rows, warnings};
use sotto_loadtest::report::measure::MEASURES;
use sotto_loadtest::report::verdict::{Tone, Verdict};
use sotto_loadtest::report::{Outcome, Report, html, summary};

#[path = "../../examples/report_pages/samples.rs"]
mod samples;
mod schema;

use schema::Schema;

#[test]
fn every_report_is_as_the_schema_says() {
    let schema = Schema::read();
    for (name, report) in samples::all() {
        let faults = schema.faults(&serde_json::to_value(&report).unwrap());
        assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
    }
}

#[test]
fn the_schema_and_what_is_written_have_the_same_fields() {
    let schema = Schema::read();
    let mut written = std::collections::BTreeSet::new();
    let reports = samples::all().into_iter().filter(|it| it.0 != "soak").map(|it| it.1); // hours of the same fields
    for report in reports.chain([full()]) {
        schema.fields_of(&serde_json::to_value(&report).unwrap(), &mut written);
    }
    let described = schema.fields();
    let unknown: Vec<_> = written.difference(&described).collect();
    assert!(unknown.is_empty(), "written, but not in the schema: {unknown:?}");
    let missing: Vec<_> = described.difference(&written).collect();
    assert!(missing.is_empty(), "in the schema, but never written: {missing:?}");
}

#[test]
fn every_field_has_a_description_and_every_number_a_unit() {
    assert_eq!(Schema::read().undescribed(), Vec::<String>::new());
}

#[test]
fn the_schema_refuses_what_is_not_a_report() {
    let schema = Schema::read();
    let good = serde_json::to_value(full()).unwrap();
    assert_eq!(schema.faults(&good), Vec::<String>::new());
    let spoiled: [(&str, Value); 6] = [
        ("/schema", 999.into()),
        ("/overall/loss", "none".into()),
        ("/overall/frames", (-1).into()),
        ("/outcome/kind", "vanished".into()),
        ("/plan/engine", "diesel".into()),
        ("/peers/0/streams/0", Value::Object(Default::default())),
    ];
    for (place, value) in spoiled {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        assert!(!schema.faults(&bad).is_empty(), "{place}");
    }
}

#[test]
fn a_report_read_back_gives_the_same_page() {
    for (name, report) in [("good", samples::good()), ("ramp", samples::ramp()), ("empty", samples::empty())] {
        let read: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert!(html::render(&read) == html::render(&report), "{name}");
    }
}

#[test]
fn a_page_asks_nobody_for_anything() {
    let pages = samples::all().into_iter().map(|(name, report)| (name, html::render(&report)));
    let compared = render_html(&samples::good(), &samples::lossy());
    for (name, page) in pages.chain([("compared", compared)]) {
        for asking in [" src=", "@import", "url(", "<iframe", "<object", "http://", "https://"] {
            assert!(!page.contains(asking), "{name} has {asking}");
        }
        assert!(page.matches(" href=").count() == 1 && page.contains("href=\"data:,\""), "{name}");
        assert!(page.contains("default-src 'none'"), "{name}");
    }
}

#[test]
fn nothing_that_comes_from_elsewhere_becomes_markup() {
    const EVIL: &str = "\"'><img onerror=alert(1)></script>&<b>";
    let mut report = samples::ramp();
    report.machine = EVIL.into();
    report.version = EVIL.into();
    report.started = EVIL.into();
    report.outcome = Outcome::RelayLost { at: 5.0, reason: EVIL.into() };
    report.thresholds[0].expression = EVIL.into();
    report.plan.fail_if = vec![EVIL.into()];
    report.tester.overloaded = vec![EVIL.into()];
    report.ramp[12].broken = vec![EVIL.into()];
    report.peers[0].failure = EVIL.into();
    report.peers[1].streams[0].stream = EVIL.into();
    for page in [html::render(&report), render_html(&report, &report)] {
        for markup in ["<img", "<b>\"", "&<b", "'><"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&lt;img onerror=alert(1)&gt;"));
    }
}

#[test]
fn a_page_with_very_many_streams_shows_the_worst_and_says_so() {
    let report = samples::webinar();
    assert!(report.peers.iter().map(|peer| peer.streams.len()).sum::<usize>() > 3000);
    let page = html::render(&report);
    assert!(page.contains("The worst 200 of 3,960 are shown; the JSON has all."));
    assert!(page.len() < 400_000, "{} bytes", page.len());
    let failed = page.find("the relay closed the WebSocket").unwrap();
    assert!(page[..failed].matches("<th scope=\"row\" data-v=").count() == 1, "who failed stands first");
}

#[test]
fn hours_of_seconds_are_drawn_as_a_few_hundred_points() {
    let report = samples::soak();
    assert_eq!(report.timeline.len(), 28_800);
    let page = html::render(&report);
    assert!(page.contains("Each point stands for 48&nbsp;s"));
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn a_spike_of_one_second_in_hours_is_still_seen() {
    let mut report = samples::soak();
    report.timeline[10_001].latency.p99 = 4321.0;
    assert!(html::render(&report).contains("p99 at its worst: 4,321&nbsp;ms"));
}

#[test]
fn the_plan_on_the_page_repeats_the_run() {
    let report = full();
    let page = html::render(&report);
    let (_, rest) = page.split_once("aria-label=\"plan.toml\"><code>").unwrap();
    let shown = rest.split_once("</code>").unwrap().0;
    let text = shown
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&");
    assert_eq!(Plan::from_toml(&text, None).unwrap(), report.plan);
}

#[test]
fn summaries_fit_on_80_columns_and_begin_with_the_verdict() {
    let compared = ("compared", render_text(&samples::good(), &samples::outage()));
    for (name, report) in samples::all() {
        let text = summary::render(&report);
        assert!(text.starts_with(&Verdict::of(&report).headline), "{name}");
    }
    let texts = samples::all().into_iter().map(|(name, report)| (name, summary::render(&report)));
    for (name, text) in texts.chain([compared]) {
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
    }
}

#[test]
fn a_summary_has_the_relays_cpu_apart_and_the_testers_state_in_words() {
    let good = summary::render(&samples::good());
    assert!(good.contains("2.03 µs (0.71 µs user, 1.32 µs system)"), "{good}");
    assert!(good.contains("Tester: kept up") && !good.contains("Worst"), "{good}");
    let overloaded = summary::render(&samples::overloaded());
    assert!(
        overloaded.contains("did NOT keep up") && overloaded.contains("18,204 packets dropped unread"),
        "{overloaded}"
    );
    let outage = summary::render(&samples::outage());
    assert!(outage.contains("Worst participants") && outage.contains("call 0 peer 3 ~"), "{outage}");
}

#[test]
fn the_verdict_says_what_was_the_limit_and_when_it_ended() {
    let of = |report: &Report| {
        let verdict = Verdict::of(report);
        (verdict.tone, verdict.headline)
    };
    assert_eq!(of(&samples::good()), (Tone::Good, "All 3 thresholds held.".into()));
    assert_eq!(of(&samples::outage()), (Tone::Bad, "1 of 2 thresholds broke.".into()));
    assert_eq!(of(&samples::killed()), (Tone::Bad, "The relay was lost 13.2 s into the run.".into()));
    assert_eq!(of(&samples::overloaded()), (Tone::Doubtful, "The tester was the limit, not the relay.".into()));
    assert_eq!(of(&samples::ramp()).1, "It held up to 48 participants in 12 calls; 52 broke it.");
    assert_eq!(of(&samples::interrupted()), (Tone::Doubtful, "Interrupted after 8.4 s.".into()));
    assert_eq!(of(&samples::empty()), (Tone::Bad, "The run failed.".into()));
}

#[test]
fn a_lost_relay_is_told_even_where_the_tester_was_overloaded_too() {
    let report = Report { outcome: samples::killed().outcome, ..samples::overloaded() };
    let verdict = Verdict::of(&report);
    assert_eq!(verdict.headline, "The relay was lost 13.2 s into the run.");
    assert!(verdict.details.iter().any(|detail| detail.contains("18,204 packets")));
}

#[test]
fn frames_that_do_not_decrypt_are_told_without_any_threshold() {
    let mut report = samples::interrupted();
    report.outcome = Outcome::Completed;
    assert_eq!(Verdict::of(&report).tone, Tone::Plain);
    report.overall.decrypt_failures = 2;
    let verdict = Verdict::of(&report);
    assert_eq!((verdict.tone, verdict.details[0].as_str()), (Tone::Doubtful, "2 frames did not decrypt."));
}

#[test]
fn runs_that_are_not_alike_are_compared_with_a_warning() {
    let a = samples::good();
    assert_eq!(warnings(&a, &a), Vec::<String>::new());
    let mut b = a.clone();
    b.machine = "another".into();
    assert!(warnings(&a, &b)[0].starts_with("The machines differ"));
    b.machine.clone_from(&a.machine);
    b.plan.engine = EngineKind::Light;
    assert!(warnings(&a, &b)[0].starts_with("The engines differ"));
    b.plan.engine = a.plan.engine;
    b.plan.network.up.loss = 0.1;
    assert_eq!(warnings(&a, &b), ["The plans differ in: network.up.loss (0.0 and 0.1)."]);
    assert_eq!(warnings(&a, &samples::overloaded()).iter().filter(|it| it.contains("tester was the limit")).count(), 1);
}

#[test]
fn a_comparison_names_the_better_and_the_difference_with_its_sign() {
    let (a, mut b) = (samples::good(), samples::good());
    b.overall.latency.p99 = a.overall.latency.p99 * 2.0;
    b.overall.bitrate = 1.0;
    b.overall.jitter = a.overall.jitter * 1.01;
    b.relay.as_mut().unwrap().user_us_per_packet /= 2.0;
    let rows = rows(&a, &b);
    let row = |name: &str| rows.iter().find(|row| row.measure.name == name).unwrap();
    assert_eq!((row("latency p99").better(), row("latency p99").ratio().as_str()), (Some(Side::A), "×2"));
    assert_eq!(row("latency p99").difference(), "+1.51 ms");
    assert_eq!(row("of it user").better(), Some(Side::B));
    assert_eq!(row("of it user").difference().chars().next(), Some('−'));
    assert_eq!(row("bitrate received").better(), None, "more is not better where the plan sets it");
    assert_eq!(row("jitter").better(), None, "a hundredth is no difference");
    assert_eq!(row("packets due").difference(), "=");
}

#[test]
fn the_readme_defines_every_measure_as_the_page_does() {
    let table = MEASURES.iter().fold(String::from("| Measure | What it says |\n|---|---|\n"), |table, measure| {
        format!("{table}| {}: {} | {} |\n", measure.group, measure.name, measure.definition)
    });
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&table), "README.md should have this table:\n\n{table}");
}

/// A report in which every optional field is there.
fn full() -> Report {
    let mut report = samples::ramp();
    report.plan.publishers = Some(2);
    report.plan.voices = Some(3);
    report.plan.watch = Some(9);
    report.plan.network = samples::outage().plan.network;
    report.plan.network.up.bursts = Some(Bursts { begin: 0.01, end: 0.3, loss: 0.9 });
    report.plan.network.up.rate = Some(3_000_000);
    report
}

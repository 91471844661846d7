use super::*;

fn read(line: &str) -> Result<Request, CliError> {
    let words = line.split_whitespace().map(|word| word.trim_matches('\''));
    Request::from_args(std::iter::once("sotto-loadtest").chain(words).map(OsString::from))
}

fn run(line: &str) -> Run {
    match read(line) {
        Ok(Request::Run(run)) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> String {
    read(line).expect_err(line).to_string()
}

fn help(line: &str) -> String {
    match read(line) {
        Ok(Request::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_arguments_are_in_themselves_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn one_command_does_everything() {
    let run = run("meeting --spawn --participants 8 --duration 20s --json out.json --html out.html");
    assert_eq!((run.plan.scenario, run.plan.participants), (Scenario::Meeting, 8));
    assert_eq!(run.plan.duration, Duration::from_secs(20));
    assert!(matches!(run.target, Target::Spawn { binary: None, workers: None }));
    assert_eq!((run.json, run.html), (Some("out.json".into()), Some("out.html".into())));
}

#[test]
fn flags_stand_before_and_behind_the_scenario() {
    for line in ["webinar --spawn --participants 30", "--spawn --participants 30 webinar"] {
        assert_eq!(run(line).plan.participants, 30, "{line}");
    }
}

#[test]
fn every_flag_reaches_the_plan() {
    let plan = run("churn --spawn --calls 2 --participants 5 --publishers 3 --voices 4 --duration 30s --join-over 3s \
         --speaker-every 4s --watch 2 --no-hints --seed 7 --engine light --check 1/10 --audio-bitrate 48k --vbr --tone \
         --codec vp9 --fps 15 --layers 180p@150k,360p@500k --key-frame-every 10s --network loss=5% --network-peers 1 \
         --outage 8s+3s --outage 15s+1s --fail-if loss>1% latency_p99>50ms --per-second 2")
    .plan;
    let expected = Plan {
        scenario: Scenario::Churn,
        engine: EngineKind::Light,
        seed: 7,
        calls: 2,
        participants: 5,
        publishers: Some(3),
        voices: Some(4),
        duration: Duration::from_secs(30),
        join_over: Duration::from_secs(3),
        speaker_every: Duration::from_secs(4),
        hints: false,
        watch: Some(2),
        check_one_in: 10,
        fail_if: vec!["loss>1%".into(), "latency_p99>50ms".into()],
        ..Plan::default()
    };
    assert_eq!((plan.audio.bitrate, plan.audio.constant, plan.audio.signal), (48_000, false, Signal::Tone));
    assert_eq!((plan.video.codec, plan.video.fps, plan.video.layers.len()), (VideoCodec::Vp9, 15, 2));
    assert_eq!(plan.video.key_frame_every, Duration::from_secs(10));
    assert_eq!((plan.network.up.loss, plan.network.peers, plan.network.outages.len()), (0.05, Some(1), 2));
    assert_eq!(plan.network.outages[0], Outage { at: Duration::from_secs(8), lasts: Duration::from_secs(3) });
    assert_eq!(plan.churn.per_second, 2.0);
    let rest = Plan {
        audio: plan.audio.clone(),
        video: plan.video.clone(),
        network: plan.network.clone(),
        churn: plan.churn,
        ..expected
    };
    assert_eq!(plan, rest);
}

#[test]
fn a_ramp_has_its_own_flags_and_others_have_them_not() {
    let plan = run("ramp --spawn --step-calls 2 --hold 15s --steps 4 --no-video").plan;
    assert_eq!((plan.ramp.calls, plan.ramp.hold, plan.ramp.steps), (2, Duration::from_secs(15), 4));
    assert!(!plan.video.on);
    assert!(plan.fail_if.contains(&"loss>0.5%".to_owned()), "it would never end");
    assert_eq!(run("ramp --spawn --fail-if loss>3%").plan.fail_if, ["loss>3%"]);
    assert!(refusal("meeting --spawn --hold 15s").contains("--hold"));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.toml");
    std::fs::write(&file, "scenario = 'webinar'\nparticipants = 30\nseed = 5\n[video]\nfps = 20").unwrap();
    let plan = run(&format!("--plan {} --spawn --seed 9", file.display())).plan;
    assert_eq!((plan.scenario, plan.participants, plan.seed, plan.video.fps), (Scenario::Webinar, 30, 9, 20));
    let plan = run(&format!("meeting --plan {} --spawn --video 720p@1m --participants 3", file.display())).plan;
    assert_eq!((plan.scenario, plan.participants), (Scenario::Meeting, 3));
    assert_eq!((plan.video.fps, plan.video.layers[0]), (20, Layer { height: 720, bitrate: 1_000_000 }));
}

#[test]
fn a_link_names_its_relay_and_is_never_printed() {
    let run = run("meeting --link http://127.0.0.1:8080/c#verysecret --pid 5");
    assert!(!format!("{run:?}").contains("verysecret"));
    let Target::Running { url, pid, link: Some(link) } = run.target else { panic!() };
    assert_eq!((url.host_name(), pid), ("127.0.0.1:8080", Some(5)));
    assert!(link.reveal().ends_with("#verysecret"));
}

#[test]
fn what_cannot_be_run_is_told_what_to_do() {
    for (line, words) in [
        ("--spawn", "meeting, webinar, churn, ramp or soak"),
        ("meeting", "--spawn starts one"),
        ("meeting --spawn --relay http://a", "--spawn and --relay exclude"),
        ("meeting --spawn --pid 3", "--spawn and --pid exclude"),
        ("meeting --relay http://a --relay-workers 1", "--relay-workers needs --spawn"),
        ("meeting --relay 127.0.0.1:8080", "write it as http://"),
        ("meeting --link http://a/c#b --calls 2", "leave out --calls"),
        ("ramp --link http://a/c#b", "leave out ramp"),
        ("meeting --spawn --video 360p@500k --layers 360p@500k", "--video and --layers exclude"),
        ("meeting --spawn --threads 0", "at least 1"),
        ("meeting --spawn --duration 20", "20s for seconds"),
        ("meeting --spawn --video 360p", "360p@500k"),
        ("meeting --spawn --codec h264", "vp8 or vp9"),
        ("meeting --spawn --outage 8s", "8s+3s"),
        ("meeting --spawn --network dsl", "wifi, lte, bad"),
        ("meeting --spawn --check 10", "1/10"),
        ("meeting --spawn --participants 1", "--participants 1"),
        ("meeting --spawn --fail-if luck>1", "the metrics are"),
        ("meeting --relay http://a --fail-if cpu_per_packet>3us", "--pid"),
        ("meeting --spawn --participant 8", "--participants"),
        ("meting --spawn", "meeting"),
        ("meeting --compare a.json b.json", "--compare and a scenario"),
        ("--plan /no/such.toml --spawn", "check the path"),
    ] {
        let said = refusal(line);
        assert!(said.contains(words), "{line}: {said}");
    }
}

#[test]
fn two_reports_are_compared_without_a_run() {
    let Ok(Request::Compare { before, after, html }) = read("--compare a.json b.json --html c.html") else { panic!() };
    assert_eq!((before, after, html), ("a.json".into(), "b.json".into(), Some("c.html".into())));
    assert!(refusal("--compare a.json").contains("--compare"));
}

#[test]
fn the_help_shows_every_scenario_with_an_example_and_every_exit_code() {
    let all = help("--help");
    for scenario in ["meeting", "webinar", "churn", "ramp", "soak"] {
        assert!(all.contains(&format!("\n  {scenario}")), "{all}");
        let own = help(&format!("{scenario} --help"));
        assert!(own.contains(&format!("  sotto-loadtest {scenario} ")), "{own}");
    }
    for code in 0..=4 {
        assert!(all.contains(&format!("\n  {code}  ")), "{all}");
    }
    assert!(all.contains("latency_p99 ") && all.contains("Gilbert-Elliott"), "{all}");
    assert!(help("").contains("meeting"), "without any word it says what words there are");
}

#[test]
fn every_example_of_the_help_can_be_run() {
    let examples = [words::LONG_ABOUT, words::MEETING, words::WEBINAR, words::CHURN, words::RAMP, words::SOAK];
    let lines = examples.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("  sotto-loadtest "));
    assert!(lines.map(run).count() >= 7);
}

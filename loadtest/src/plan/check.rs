//! What a plan must hold to be run. Each fault names the flag and what to give instead.

use std::time::Duration;

use crate::media::voice;
use crate::plan::{Impairment, Picture, Plan, Scenario, VideoCodec};
use crate::threshold::{Threshold, ThresholdError};

/// A plan that cannot be run. Each prints as one line that names what to change; in a plan file the settings have the
/// names of the flags.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum PlanError {
    #[error("--calls 0 is no run; give at least 1")]
    NoCalls,
    #[error("--participants {0} is no call; give at least 2, since one alone receives nothing")]
    TooFew(usize),
    #[error("{flag} {given} are more than the {participants} of a call; raise --participants, or give fewer")]
    MoreThanThere { flag: &'static str, given: usize, participants: usize },
    #[error("nobody sends anything; leave out --no-audio or --no-video, or raise {0}")]
    Silent(&'static str),
    #[error(
        "{flag} {senders}: a participant receives from at most {PAIRS} others; give {flag} {most} at most{alternative}"
    )]
    Slots { flag: &'static str, senders: usize, most: usize, alternative: &'static str },
    #[error("--duration {0:?} is too short; give 2s or more, at which there is something to measure")]
    Short(Duration),
    #[error("--join-over {join:?} leaves nothing of --duration {duration:?}; make one of them shorter or longer")]
    Joins { join: Duration, duration: Duration },
    #[error("--speaker-every {0:?} is too short; give 1s or more, since people speak no faster in turns")]
    Speakers(Duration),
    #[error("--audio-bitrate {0} is no voice that a packet holds with its stamp; give 27k to 400k")]
    AudioBitrate(u32),
    #[error("--fps {0} is outside of what cameras have; give 15 to 60")]
    Fps(u32),
    #[error("--layers has {0} encodings; give 1 to 3")]
    Layers(usize),
    #[error("--layers must grow: {0}p comes behind {1}p; write the smallest first, each with more bits than the last")]
    Order(u32, u32),
    #[error("{height}p@{bitrate} is no encoding to send; give 90p to 2160p and 30k to 20m")]
    Layer { height: u32, bitrate: u32 },
    #[error("--clip {0}")]
    Clip(&'static str),
    #[error("--key-frame-every {0:?} is too often; give 1s or more")]
    KeyFrames(Duration),
    #[error("--check 1/0 checks nothing and everything; give 1/1 for all frames, 1/10 for one in ten")]
    Check,
    #[error("--network, {direction}: {fault}")]
    Network { direction: &'static str, fault: String },
    #[error("--outage {at:?}+{lasts:?} lies outside of the run of {run:?}; let it begin earlier, or raise --duration")]
    Outage { at: Duration, lasts: Duration, run: Duration },
    #[error("--per-second {0} is no rate of joins and leaves; give more than 0 and at most 100")]
    Churn(f64),
    #[error("{flag} is too small for a ramp; give {least} or more")]
    Ramp { flag: &'static str, least: &'static str },
    #[error("--fail-if `{0}` is known at the end of a run only; a ramp needs what is known of each step, such as loss")]
    NotOfSteps(String),
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
}

impl Plan {
    /// Whether it can be run.
    ///
    /// # Errors
    ///
    /// The first fault that is found.
    pub fn check(&self) -> Result<(), PlanError> {
        self.check_people()?;
        self.check_times()?;
        self.check_media()?;
        self.check_network()?;
        self.check_scenario()?;
        for text in &self.fail_if {
            let of_whole_streams = Threshold::parse(text)?.metric().of_whole_streams;
            if self.scenario == Scenario::Ramp && of_whole_streams {
                return Err(PlanError::NotOfSteps(text.clone()));
            }
        }
        Ok(())
    }

    fn check_people(&self) -> Result<(), PlanError> {
        let participants = self.participants;
        if self.calls == 0 {
            return Err(PlanError::NoCalls);
        }
        if participants < 2 {
            return Err(PlanError::TooFew(participants));
        }
        let counts =
            [("--publishers", self.publishers), ("--voices", self.voices), ("--network-peers", self.network.peers)];
        if let Some((flag, given)) =
            counts.into_iter().find_map(|(flag, n)| Some((flag, n.filter(|&n| n > participants)?)))
        {
            return Err(PlanError::MoreThanThere { flag, given, participants });
        }
        let (cameras, microphones) = (self.cameras(), self.microphones());
        if cameras + microphones == 0 {
            return Err(PlanError::Silent(if self.publishers == Some(0) { "--publishers" } else { "--voices" }));
        }
        // All senders but oneself; a pure listener hears one more.
        let most = |senders: usize| if senders < participants { PAIRS } else { PAIRS + 1 };
        if self.watch.is_none_or(|watch| watch > PAIRS) && cameras > most(cameras) {
            let alternative = ", or --watch 24, with which each watches that many";
            return Err(PlanError::Slots { flag: "--publishers", senders: cameras, most: most(cameras), alternative });
        }
        if microphones > most(microphones) {
            let most = most(microphones);
            return Err(PlanError::Slots { flag: "--voices", senders: microphones, most, alternative: "" });
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), PlanError> {
        if self.scenario != Scenario::Ramp {
            if self.duration < SHORTEST_RUN {
                return Err(PlanError::Short(self.duration));
            }
            if self.join_over >= self.duration {
                return Err(PlanError::Joins { join: self.join_over, duration: self.duration });
            }
        }
        if self.speaker_every < SHORTEST_TURN {
            return Err(PlanError::Speakers(self.speaker_every));
        }
        Ok(())
    }

    fn check_media(&self) -> Result<(), PlanError> {
        if self.audio.on && !voice::BITRATES.contains(&self.audio.bitrate) {
            return Err(PlanError::AudioBitrate(self.audio.bitrate));
        }
        if self.check_one_in == 0 {
            return Err(PlanError::Check);
        }
        let video = &self.video;
        if !video.on {
            return Ok(());
        }
        if !(15..=60).contains(&video.fps) {
            return Err(PlanError::Fps(video.fps));
        }
        if !(1..=3).contains(&video.layers.len()) {
            return Err(PlanError::Layers(video.layers.len()));
        }
        if let Some(layer) = video.layers.iter().find(|l| !LINES.contains(&l.height) || !PICTURE.contains(&l.bitrate)) {
            return Err(PlanError::Layer { height: layer.height, bitrate: layer.bitrate });
        }
        let wrong =
            |pair: &&[crate::plan::Layer]| pair[0].height >= pair[1].height || pair[0].bitrate >= pair[1].bitrate;
        if let Some(pair) = video.layers.windows(2).find(wrong) {
            return Err(PlanError::Order(pair[1].height, pair[0].height));
        }
        if video.key_frame_every < SHORTEST_TURN {
            return Err(PlanError::KeyFrames(video.key_frame_every));
        }
        match (video.picture, video.codec, video.layers.len()) {
            (Picture::Clip, VideoCodec::Vp9, _) => Err(PlanError::Clip("is VP8; leave out --codec vp9")),
            (Picture::Clip, _, 2..) => Err(PlanError::Clip("is one encoding; leave out --layers")),
            _ => Ok(()),
        }
    }

    fn check_network(&self) -> Result<(), PlanError> {
        for (direction, impairment) in [("up", &self.network.up), ("down", &self.network.down)] {
            impairment.check().map_err(|fault| PlanError::Network { direction, fault })?;
        }
        let run = self.length();
        let outside = self.network.outages.iter().find(|outage| outage.at >= run || outage.lasts.is_zero());
        outside.map_or(Ok(()), |outage| Err(PlanError::Outage { at: outage.at, lasts: outage.lasts, run }))
    }

    fn check_scenario(&self) -> Result<(), PlanError> {
        match self.scenario {
            Scenario::Churn if !(self.churn.per_second > 0.0 && self.churn.per_second <= FASTEST_CHURN) => {
                Err(PlanError::Churn(self.churn.per_second))
            }
            Scenario::Ramp if self.ramp.calls == 0 => Err(PlanError::Ramp { flag: "--step-calls", least: "1" }),
            Scenario::Ramp if self.ramp.steps == 0 => Err(PlanError::Ramp { flag: "--steps", least: "1" }),
            Scenario::Ramp if self.ramp.hold < SHORTEST_RUN => Err(PlanError::Ramp { flag: "--hold", least: "2s" }),
            _ => Ok(()),
        }
    }
}

impl Impairment {
    fn check(&self) -> Result<(), String> {
        let shares = [("loss", self.loss), ("reorder", self.reorder), ("duplicate", self.duplicate)];
        let bursts = self.bursts.map_or([0.0; 3], |bursts| [bursts.begin, bursts.end, bursts.loss]);
        let shares = shares.into_iter().chain(bursts.map(|share| ("bursts", share)));
        if let Some((name, share)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{name} {share} is no share; give 0 to 1, or 0% to 100% on the command line"));
        }
        let times = [("delay", self.delay_ms), ("jitter", self.jitter_ms), ("queue", self.queue_ms)];
        if let Some((name, time)) = times.into_iter().find(|(_, time)| !(0.0..=LONGEST_WAIT_MS).contains(time)) {
            return Err(format!("{name} of {time} ms is outside of 0 ms to {LONGEST_WAIT_MS} ms"));
        }
        match self.rate {
            Some(rate) if rate < u64::from(*PICTURE.start()) => {
                Err(format!("rate {rate} carries no call; give 30k or more"))
            }
            Some(_) if self.queue_ms == 0.0 => Err("a rate needs a queue; add queue=200ms".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Slot pairs that the relay gives one participant at most.
const PAIRS: usize = 24;
/// Joining takes a good part of a second, and rates are told per second.
const SHORTEST_RUN: Duration = Duration::from_secs(2);
/// Turns and key frames below this measure nothing that happens in calls.
const SHORTEST_TURN: Duration = Duration::from_secs(1);
/// From a thumbnail to 4K.
const LINES: std::ops::RangeInclusive<u32> = 90..=2160;
/// From what carries a thumbnail's key frame at all to more than browsers send.
const PICTURE: std::ops::RangeInclusive<u32> = 30_000..=20_000_000;
/// Above this even a satellite is exceeded tenfold.
const LONGEST_WAIT_MS: f64 = 10_000.0;
/// Each change is a handshake on both sides; more than this measures key generation.
const FASTEST_CHURN: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Bursts, Layer, Outage};

    type Spoil = Box<dyn FnOnce(&mut Plan)>;

    #[test]
    fn every_scenario_can_be_run_as_it_comes() {
        for scenario in Scenario::ALL {
            assert_eq!(Plan::of(scenario).check(), Ok(()), "{scenario:?}");
        }
    }

    #[test]
    fn every_fault_names_its_flag() {
        let layers = |layers: &[(u32, u32)]| {
            let layers = layers.iter().map(|&(height, bitrate)| Layer { height, bitrate }).collect();
            move |plan: &mut Plan| plan.video.layers = layers
        };
        let faults: Vec<(&str, Spoil)> = vec![
            ("--calls", Box::new(|plan| plan.calls = 0)),
            ("--participants", Box::new(|plan| plan.participants = 1)),
            ("--publishers", Box::new(|plan| plan.publishers = Some(5))),
            ("--voices", Box::new(|plan| plan.voices = Some(5))),
            ("--network-peers", Box::new(|plan| plan.network.peers = Some(5))),
            ("--no-audio", Box::new(|plan| (plan.audio.on, plan.video.on) = (false, false))),
            ("--publishers 26", Box::new(|plan| plan.participants = 26)),
            ("--duration", Box::new(|plan| plan.duration = Duration::from_secs(1))),
            ("--join-over", Box::new(|plan| plan.join_over = plan.duration)),
            ("--speaker-every", Box::new(|plan| plan.speaker_every = Duration::ZERO)),
            ("--audio-bitrate", Box::new(|plan| plan.audio.bitrate = 5_000)),
            ("--fps", Box::new(|plan| plan.video.fps = 5)),
            ("--layers has 0", Box::new(layers(&[]))),
            ("360p comes behind 720p", Box::new(layers(&[(720, 100_000), (360, 500_000)]))),
            ("720p@10", Box::new(layers(&[(720, 10)]))),
            (
                "--clip is one",
                Box::new(|plan| {
                    plan.video.layers.push(Layer { height: 720, bitrate: 1_700_000 });
                    plan.video.picture = Picture::Clip;
                }),
            ),
            (
                "--clip is VP8",
                Box::new(|plan| {
                    (plan.video.picture, plan.video.codec) = (Picture::Clip, VideoCodec::Vp9);
                }),
            ),
            ("--key-frame-every", Box::new(|plan| plan.video.key_frame_every = Duration::ZERO)),
            ("--check", Box::new(|plan| plan.check_one_in = 0)),
            ("loss", Box::new(|plan| plan.network.up.loss = 1.5)),
            (
                "bursts",
                Box::new(|plan| {
                    plan.network.down.bursts = Some(Bursts { begin: 0.1, end: 2.0, loss: 0.1 });
                }),
            ),
            ("delay", Box::new(|plan| plan.network.up.delay_ms = f64::NAN)),
            ("queue=200ms", Box::new(|plan| plan.network.up.rate = Some(500_000))),
            (
                "--outage",
                Box::new(|plan| {
                    plan.network.outages.push(Outage { at: plan.duration, lasts: Duration::from_secs(1) });
                }),
            ),
            ("--fail-if", Box::new(|plan| plan.fail_if.push("luck<5".to_owned()))),
        ];
        for (word, spoil) in faults {
            let mut plan = Plan::default();
            spoil(&mut plan);
            let said = plan.check().expect_err(word).to_string();
            assert!(said.contains(word), "{word}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn each_scenario_checks_its_own_settings() {
        let mut churn = Plan::of(Scenario::Churn);
        churn.churn.per_second = 0.0;
        assert!(churn.check().unwrap_err().to_string().contains("--per-second"));
        let mut ramp = Plan::of(Scenario::Ramp);
        ramp.ramp.hold = Duration::from_millis(10);
        assert!(ramp.check().unwrap_err().to_string().contains("--hold"));
        ramp = Plan { fail_if: vec!["loss>1%".into(), "jitter>5ms".into()], ..Plan::of(Scenario::Ramp) };
        assert!(ramp.check().unwrap_err().to_string().contains("`jitter>5ms`"));
    }

    #[test]
    fn a_participant_receives_from_as_many_as_it_has_slots_for() {
        let with =
            |participants, publishers, voices| Plan { participants, publishers, voices, ..Plan::default() }.check();
        assert_eq!(with(25, None, None), Ok(()), "each receives from 24 others");
        assert!(with(26, Some(25), Some(24)).is_err(), "who only listens would receive from 25");
        assert_eq!(with(26, Some(24), Some(24)), Ok(()));
        let webinar = Plan { participants: 101, ..Plan::of(Scenario::Webinar) };
        assert_eq!(webinar.check(), Ok(()));
        assert_eq!((webinar.cameras(), webinar.microphones()), (1, 1));
    }

    #[test]
    fn the_impaired_are_the_last_of_each_call() {
        let mut plan = Plan::default();
        assert!(!plan.is_impaired(3), "nothing is impaired");
        plan.network.up.loss = 0.05;
        assert!((0..4).all(|index| plan.is_impaired(index)));
        plan.network.peers = Some(1);
        assert_eq!((0..4).map(|index| plan.is_impaired(index)).collect::<Vec<_>>(), [false, false, false, true]);
    }
}

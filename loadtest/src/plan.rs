//! What a run does. Made from flags or a TOML file, written into the report, and with its seed enough to repeat it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

mod check;
mod file;
pub mod network;

pub use check::PlanError;
pub use file::FileError;

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// What happens.
    pub scenario: Scenario,
    /// What carries the media.
    pub engine: EngineKind,
    /// From which every random choice comes.
    pub seed: u64,
    /// Calls at one time.
    pub calls: usize,
    /// Participants of each call.
    pub participants: usize,
    /// How many of each call send a picture; all but in a webinar, where it is one, unless told otherwise.
    pub publishers: Option<usize>,
    /// How many of each call send sound; the same by default.
    pub voices: Option<usize>,
    /// From the first join to the end.
    #[serde(with = "seconds")]
    pub duration: Duration,
    /// Within which the participants join, evenly.
    #[serde(with = "seconds")]
    pub join_over: Duration,
    /// Sound.
    pub audio: Audio,
    /// Picture.
    pub video: Video,
    /// How long one speaks before the next does; the speaker is shown large by the others.
    #[serde(with = "seconds")]
    pub speaker_every: Duration,
    /// Whether microphones come with the speaking hints of the page, four a second.
    pub hints: bool,
    /// Pictures that one participant watches at most; the others' are not subscribed.
    pub watch: Option<usize>,
    /// Of how many frames one is decrypted and checked; 1 checks all. Every packet is counted all the same.
    pub check_one_in: u32,
    /// The network between peers and relay.
    pub network: Network,
    /// Joins and leaves, in `churn`.
    pub churn: Churn,
    /// Growth, in `ramp`.
    pub ramp: Ramp,
    /// Thresholds that fail the run when they are true, such as `loss>0.5%`.
    pub fail_if: Vec<String>,
}

/// What happens in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Everyone stays; speakers change.
    #[default]
    Meeting,
    /// One sends, the others watch.
    Webinar,
    /// Participants join and leave all the time.
    Churn,
    /// Calls are added until a threshold breaks.
    Ramp,
    /// A meeting for hours, with the slopes of memory and descriptors.
    Soak,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: [Scenario; 5] =
        [Scenario::Meeting, Scenario::Webinar, Scenario::Churn, Scenario::Ramp, Scenario::Soak];
}

/// What carries the media of the peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// The `webrtc` crate from end to end.
    #[default]
    Full,
    /// Its handshake, and a batched media path made to cost little.
    Light,
}

/// What is heard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Audio {
    /// Off: no microphones at all.
    pub on: bool,
    /// Bits per second of Opus.
    pub bitrate: u32,
    /// Constant, as the page asks of browsers, or variable.
    pub constant: bool,
    /// A steady tone or something with syllables and pauses.
    pub signal: Signal,
}

/// What the microphone hears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// One frequency for each participant.
    Tone,
    /// Harmonics in syllables, with pauses between phrases.
    #[default]
    Speech,
}

/// What is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Video {
    /// Off: no cameras at all.
    pub on: bool,
    /// VP8 or VP9.
    pub codec: VideoCodec,
    /// Frames of realistic sizes, or a clip that decodes.
    pub picture: Picture,
    /// Frames per second, 15 to 60.
    pub fps: u32,
    /// Height in lines and bits per second of each simulcast encoding, from the smallest; one is no simulcast.
    pub layers: Vec<Layer>,
    /// Between two key frames that nobody asked for.
    #[serde(with = "seconds")]
    pub key_frame_every: Duration,
}

/// The codec of synthetic pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // their names say it
pub enum VideoCodec {
    #[default]
    Vp8,
    Vp9,
}

/// Where frames come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Picture {
    /// Sizes as an encoder makes them, contents random but known to the receiver.
    #[default]
    Model,
    /// A real VP8 clip, which a browser decodes.
    Clip,
}

/// One simulcast encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Lines.
    pub height: u32,
    /// Bits per second.
    pub bitrate: u32,
}

/// The network between peers and relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Network {
    /// How many of each call have it; all by default, counted from the last, so that the first publisher comes last.
    pub peers: Option<usize>,
    /// From peer to relay.
    pub up: Impairment,
    /// From relay to peer.
    pub down: Impairment,
    /// Times in which nothing passes in either direction, from the start of the run.
    pub outages: Vec<Outage>,
}

/// What one direction of a network does to packets. Without any setting it does nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Impairment {
    /// Share lost at random, each on its own, 0 to 1.
    pub loss: f64,
    /// Loss in bursts.
    pub bursts: Option<Bursts>,
    /// Milliseconds that every packet takes.
    pub delay_ms: f64,
    /// Milliseconds by which that varies: the standard deviation. Order is kept.
    pub jitter_ms: f64,
    /// Share that is overtaken by those behind it, 0 to 1.
    pub reorder: f64,
    /// Share that arrives twice, 0 to 1.
    pub duplicate: f64,
    /// Bits per second that pass; unlimited where absent.
    pub rate: Option<u64>,
    /// Milliseconds of that rate that may wait before packets are dropped.
    pub queue_ms: f64,
}

/// Loss in bursts (Gilbert-Elliott): a good state that loses nothing and a bad one that loses much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bursts {
    /// Probability with each packet that the bad state begins.
    pub begin: f64,
    /// Probability with each packet that it ends.
    pub end: f64,
    /// Share lost in the bad state.
    pub loss: f64,
}

/// A time in which nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Outage {
    /// From the start of the run.
    #[serde(with = "seconds")]
    pub at: Duration,
    /// How long.
    #[serde(with = "seconds")]
    pub lasts: Duration,
}

/// Joins and leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Churn {
    /// Changes per second in the whole run; each is one participant that leaves and one that joins.
    pub per_second: f64,
}

/// Growth until a threshold breaks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ramp {
    /// Calls added with each step.
    pub calls: usize,
    /// How long each step is held.
    #[serde(with = "seconds")]
    pub hold: Duration,
    /// Steps at most.
    pub steps: usize,
}

impl Plan {
    /// What the scenario is without further words.
    pub fn of(scenario: Scenario) -> Self {
        let plan = Self { scenario, ..Self::default() };
        match scenario {
            Scenario::Meeting => plan,
            Scenario::Webinar => Self { participants: 20, ..plan },
            Scenario::Churn => Self { participants: 6, duration: Duration::from_secs(60), ..plan },
            Scenario::Ramp => Self { participants: 4, fail_if: RAMP_ENDS.map(str::to_owned).to_vec(), ..plan },
            Scenario::Soak => Self { duration: Duration::from_secs(3600), ..plan },
        }
    }

    /// Participants of one call that send a picture.
    pub fn cameras(&self) -> usize {
        let all = if self.scenario == Scenario::Webinar { 1 } else { self.participants };
        if self.video.on { self.publishers.unwrap_or(all).min(self.participants) } else { 0 }
    }

    /// Participants of one call that send sound.
    pub fn microphones(&self) -> usize {
        let all = if self.scenario == Scenario::Webinar { self.publishers.unwrap_or(1) } else { self.participants };
        if self.audio.on { self.voices.unwrap_or(all).min(self.participants) } else { 0 }
    }

    /// Whether the participant at this place of its call has the impaired network.
    pub fn is_impaired(&self, index: usize) -> bool {
        let network = &self.network;
        let any =
            network.up != Impairment::default() || network.down != Impairment::default() || !network.outages.is_empty();
        let impaired = network.peers.unwrap_or(self.participants).min(self.participants);
        any && index % self.participants >= self.participants - impaired
    }

    /// How long the run takes as planned; a ramp may end earlier.
    pub fn length(&self) -> Duration {
        match self.scenario {
            Scenario::Ramp => (self.join_over + self.ramp.hold) * u32::try_from(self.ramp.steps).unwrap_or(u32::MAX),
            _ => self.duration,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            scenario: Scenario::Meeting,
            engine: EngineKind::Full,
            seed: 1,
            calls: 1,
            participants: 4,
            publishers: None,
            voices: None,
            duration: Duration::from_secs(20),
            join_over: Duration::from_secs(2), // people do not come in the same instant
            audio: Audio::default(),
            video: Video::default(),
            speaker_every: Duration::from_secs(5),
            hints: true,
            watch: None,
            check_one_in: 1,
            network: Network::default(),
            churn: Churn::default(),
            ramp: Ramp::default(),
            fail_if: Vec::new(),
        }
    }
}

impl Default for Audio {
    fn default() -> Self {
        Self { on: true, bitrate: 32_000, constant: true, signal: Signal::Speech }
    }
}

impl Default for Video {
    fn default() -> Self {
        Self {
            on: true,
            codec: VideoCodec::Vp8,
            picture: Picture::Model,
            fps: 30,
            layers: vec![Layer { height: 360, bitrate: 500_000 }],
            key_frame_every: Duration::from_secs(60), // browsers send them on request only; this bounds a lost one
        }
    }
}

impl Default for Churn {
    fn default() -> Self {
        Self { per_second: 0.5 }
    }
}

impl Default for Ramp {
    fn default() -> Self {
        Self { calls: 1, hold: Duration::from_secs(10), steps: 100 }
    }
}

/// Where a ramp ends unless it is told otherwise: what people hear and see of a relay that is full. 150 ms one way is
/// what ITU-T G.114 has for a good conversation.
const RAMP_ENDS: [&str; 4] = ["loss>0.5%", "latency_p99>150ms", "join_p95>3s", "decrypt_failures>0"];

/// Durations are written as seconds, with a fraction where they have one, and read also as `20s` or `1h30m`.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::quantity;

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a duration is a number of seconds, or a text such as \"20s\"")]
    enum Written {
        Seconds(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Duration::try_from_secs_f64(seconds)
                .map_err(|_| D::Error::custom("a duration is a number of seconds from 0")),
            Written::Text(text) => quantity::duration(&text).map_err(D::Error::custom),
        }
    }
}

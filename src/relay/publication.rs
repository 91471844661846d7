//! A published track: one sending m-line of a participant, its simulcast layers and who receives it.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;

use crate::session::{Codec, Incoming, Kind, Ssrc};

use super::cache::Cache;
use super::clock::StreamClock;
use super::keyframe::KeyFrames;
use super::layer::{self, Arrivals, LAYERS, Pace};
use super::nack::Nacks;
use super::reception::Reception;
use super::rewrite::Origin;

/// One publication.
pub struct Publication {
    /// Index of the publisher within the call.
    pub owner: usize,
    /// The m-line as negotiated last.
    pub line: Incoming,
    /// Simulcast layers in the order of the offer, worst first; one without simulcast.
    pub layers: ArrayVec<Layer, LAYERS>,
    /// Who receives it: index of the participant, index of its slot.
    pub subscribers: Vec<(usize, usize)>,
}

/// One encoding of a publication.
pub struct Layer {
    /// Its media SSRC, once latched or announced and seen.
    pub ssrc: Option<Ssrc>,
    /// Its retransmission SSRC, likewise.
    pub rtx_ssrc: Option<Ssrc>,
    /// Tells streams apart: changes with the SSRC.
    pub serial: u64,
    /// Order, loss and jitter.
    pub reception: Reception,
    /// Whether it keeps step with the lowest layer.
    pub pace: Pace,
    /// What is missing.
    pub nacks: Nacks,
    /// Key-frame requests. They outlive a change of SSRC, so that changing it evades no throttle.
    pub key_frames: KeyFrames,
    /// Recent packets, for video.
    pub cache: Cache,
    /// The latest sender report.
    pub clock: Option<StreamClock>,
    /// Hz.
    pub clock_rate: u32,
}

impl Publication {
    /// A publication of which nothing has arrived.
    pub fn new(owner: usize, line: Incoming) -> Self {
        let count = line.rids.len().clamp(1, LAYERS);
        let layers = (0..count).map(|_| Layer::new(line.clock_rate())).collect();
        Self { owner, line, layers, subscribers: Vec::new() }
    }

    /// Takes the m-line of a renegotiation. Layers keep what they know where the encodings stay the same; `false`
    /// where they do not.
    pub fn update(&mut self, line: Incoming) -> bool {
        let same = self.line.rids == line.rids;
        if !same {
            let count = line.rids.len().clamp(1, LAYERS);
            self.layers = (0..count).map(|_| Layer::new(line.clock_rate())).collect();
        }
        self.line = line;
        same
    }

    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.line.kind
    }

    /// Whether any of its SSRCs is known.
    pub fn is_live(&self) -> bool {
        self.layers.iter().any(|layer| layer.ssrc.is_some())
    }

    /// The codec with this media payload type.
    pub fn codec(&self, payload_type: u8) -> Option<&Codec> {
        self.line.codecs.iter().find(|codec| codec.payload_type == payload_type)
    }

    /// The codec with this retransmission payload type.
    pub fn repaired_codec(&self, payload_type: u8) -> Option<&Codec> {
        self.line.codecs.iter().find(|codec| codec.rtx_payload_type == Some(payload_type))
    }

    /// Whether lost packets of it can be asked for.
    pub fn nack(&self) -> bool {
        self.line.codecs.iter().any(|codec| codec.nack)
    }

    /// Notes a packet of a layer; `last` is when the one before it arrived.
    pub fn keep_pace(&mut self, layer: usize, timestamp: u32, last: Option<Instant>, arrived: Instant) {
        let silence = last.map_or(Duration::MAX, |last| arrived.saturating_duration_since(last));
        let another = self.layers[layer].pace.arrived(timestamp, silence);
        if another && layer == 0 {
            self.layers[1..].iter_mut().for_each(|layer| layer.pace.miss());
        }
    }

    /// The layer that a receiver should be sent.
    pub fn wanted_layer(&self, current: Option<Origin>, now: Instant) -> Option<usize> {
        let mut arrivals: Arrivals = [None; LAYERS];
        for (arrival, layer) in arrivals.iter_mut().zip(&self.layers) {
            *arrival = layer.reception.last_arrival().filter(|_| !layer.pace.is_behind());
        }
        layer::choose(&arrivals, current.map(|origin| origin.layer), now)
    }
}

impl Layer {
    fn new(clock_rate: u32) -> Self {
        Self {
            ssrc: None,
            rtx_ssrc: None,
            serial: 0,
            reception: Reception::new(clock_rate),
            pace: Pace::default(),
            nacks: Nacks::new(),
            key_frames: KeyFrames::default(),
            cache: Cache::default(),
            clock: None,
            clock_rate,
        }
    }

    /// Another stream takes the layer's place.
    pub fn begin(&mut self, ssrc: Ssrc, serial: u64) {
        self.ssrc = Some(ssrc);
        self.serial = serial;
        self.reception = Reception::new(self.clock_rate);
        self.pace = Pace::default();
        self.nacks = Nacks::new();
        self.cache.clear();
        self.clock = None;
    }
}

impl Incoming {
    /// The clock of its timestamps in Hz; all codecs of one kind share it.
    fn clock_rate(&self) -> u32 {
        self.codecs.first().map_or(if self.kind == Kind::Audio { 48_000 } else { 90_000 }, |c| c.name.clock_rate())
    }
}

//! Which SSRC of a participant belongs to which m-line and layer (RFC 8843, section 9.2; RFC 8852). Only authenticated
//! packets get here, a participant has a table of its own, and a live SSRC is never given another meaning.

use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::rtp::extension::identifier;
use crate::rtp::header::Packet;
use crate::session::{ExtensionIds, Ssrc};

use super::publication::Publication;

/// SSRCs of the past that stay void: late packets of a stream must not take back the place of its successor.
const RETIRED: usize = 16;

/// What an SSRC carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Index of the publication within the call.
    pub publication: usize,
    /// Its layer.
    pub layer: usize,
    /// Retransmissions instead of media.
    pub repair: bool,
}

/// The SSRCs of one participant: at most two for each layer that it negotiated.
#[derive(Default)]
pub struct Latches {
    streams: HashMap<u32, Stream, RandomState>,
    retired: ArrayVec<u32, RETIRED>,
}

impl Latches {
    /// What a known SSRC carries.
    pub fn known(&self, ssrc: Ssrc) -> Option<Stream> {
        self.streams.get(&ssrc.0).copied()
    }

    /// What an unknown SSRC carries, by what the offer announced or by the packet's own MID and RID. `lines` are the
    /// participant's publications with their indices.
    pub fn identify<'p>(
        &self,
        packet: &Packet<'_>,
        ids: &ExtensionIds,
        lines: impl Iterator<Item = (usize, &'p Publication)> + Clone,
    ) -> Option<Stream> {
        if self.retired.contains(&packet.ssrc().0) {
            return None;
        }
        announced(packet.ssrc(), lines.clone()).or_else(|| named(packet, ids, lines))
    }

    /// Gives an SSRC its meaning; the one that it succeeds becomes void.
    pub fn latch(&mut self, ssrc: Ssrc, stream: Stream, predecessor: Option<Ssrc>) {
        if let Some(old) = predecessor.filter(|&old| old != ssrc) {
            self.retire(old);
        }
        self.streams.insert(ssrc.0, stream);
    }

    /// Makes an SSRC void.
    pub fn retire(&mut self, ssrc: Ssrc) {
        if self.streams.remove(&ssrc.0).is_some() {
            if self.retired.is_full() {
                self.retired.remove(0);
            }
            self.retired.push(ssrc.0);
        }
    }

    /// Forgets the SSRCs of a publication that is gone, and which were void: a new offer may use them again.
    pub fn forget(&mut self, publication: usize) {
        self.streams.retain(|_, stream| stream.publication != publication);
        self.retired.clear();
    }
}

/// By the offer's `a=ssrc` lines.
fn announced<'p>(ssrc: Ssrc, mut lines: impl Iterator<Item = (usize, &'p Publication)>) -> Option<Stream> {
    lines.find_map(|(publication, line)| {
        let groups = line.line.ssrcs.iter().take(line.layers.len()).enumerate();
        groups.into_iter().find_map(|(layer, &(media, rtx))| {
            let repair = rtx == Some(ssrc);
            (repair || media == ssrc).then_some(Stream { publication, layer, repair })
        })
    })
}

/// By the packet's MID with, where the m-line has several layers, its RID or repaired RID.
fn named<'p>(
    packet: &Packet<'_>,
    ids: &ExtensionIds,
    mut lines: impl Iterator<Item = (usize, &'p Publication)>,
) -> Option<Stream> {
    let read = |id: Option<u8>| packet.extension(id?).and_then(identifier);
    let mid = read(ids.mid)?;
    let (publication, line) = lines.find(|(_, line)| line.line.mid.as_str() == mid)?;
    let repair = line.repaired_codec(packet.payload_type()).is_some();
    if line.line.rids.is_empty() {
        return Some(Stream { publication, layer: 0, repair });
    }
    let rid = if repair { read(ids.repaired_rid)? } else { read(ids.rid)? };
    let layer = line.line.rids.iter().position(|known| known.as_str() == rid)?;
    Some(Stream { publication, layer, repair })
}

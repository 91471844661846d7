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

#[cfg(test)]
mod tests {
    use arrayvec::ArrayVec;

    use super::*;
    use crate::rtp::header::{Header, MAX_HEADER_LEN};
    use crate::session::{Codec, CodecName, Incoming, Kind, Mid, Rid};

    fn ids() -> ExtensionIds {
        ExtensionIds { mid: Some(1), rid: Some(2), repaired_rid: Some(3), ..ExtensionIds::default() }
    }

    fn camera(rids: &[&str], ssrcs: &[(u32, u32)]) -> Publication {
        let codec = Codec { name: CodecName::Vp8, payload_type: 96, rtx_payload_type: Some(97), nack: true };
        let line = Incoming {
            mid: Mid::from("cam").expect("short"),
            kind: Kind::Video,
            codecs: ArrayVec::from_iter([codec]),
            ssrcs: ssrcs.iter().map(|&(media, rtx)| (Ssrc(media), Some(Ssrc(rtx)))).collect(),
            rids: rids.iter().map(|rid| Rid::from(rid).expect("short")).collect(),
        };
        Publication::new(0, line)
    }

    /// What a packet with these header extensions would be taken for.
    fn identify(latches: &Latches, line: &Publication, payload_type: u8, elements: &[(u8, &[u8])]) -> Option<Stream> {
        let header = Header { marker: false, payload_type, sequence: 1, timestamp: 1, ssrc: Ssrc(7) };
        let mut bytes = [0; MAX_HEADER_LEN];
        let length = header.write(elements.iter().copied(), &mut bytes).expect("room");
        let packet = Packet::parse(&bytes[..length]).expect("well-formed");
        latches.identify(&packet, &ids(), std::iter::once((4, line)))
    }

    fn stream(layer: usize, repair: bool) -> Stream {
        Stream { publication: 4, layer, repair }
    }

    #[test]
    fn a_layer_is_named_by_mid_and_rid_and_by_nothing_less() {
        let (latches, line) = (Latches::default(), camera(&["l", "h"], &[]));
        assert_eq!(identify(&latches, &line, 96, &[(1, b"cam"), (2, b"h")]), Some(stream(1, false)));
        assert_eq!(identify(&latches, &line, 97, &[(1, b"cam"), (3, b"l")]), Some(stream(0, true)));
        assert_eq!(identify(&latches, &line, 97, &[(1, b"cam"), (2, b"l")]), None, "a repair has a RID of its own");
        assert_eq!(identify(&latches, &line, 96, &[(1, b"cam")]), None, "which of two layers is not said");
        assert_eq!(identify(&latches, &line, 96, &[(2, b"h")]), None);
        assert_eq!(identify(&latches, &line, 96, &[(1, b"mic"), (2, b"h")]), None);
    }

    #[test]
    fn what_the_offer_announced_needs_no_name() {
        let latches = Latches::default();
        assert_eq!(identify(&latches, &camera(&[], &[(7, 8)]), 96, &[]), Some(stream(0, false)));
        assert_eq!(identify(&latches, &camera(&[], &[(6, 7)]), 97, &[]), Some(stream(0, true)));
        assert_eq!(identify(&latches, &camera(&[], &[(5, 6)]), 96, &[]), None);
    }

    #[test]
    fn a_successor_makes_its_predecessor_void_until_the_line_is_gone() {
        let (mut latches, line) = (Latches::default(), camera(&[], &[(7, 8)]));
        latches.latch(Ssrc(7), stream(0, false), None);
        latches.latch(Ssrc(9), stream(0, false), Some(Ssrc(7)));
        assert_eq!((latches.known(Ssrc(7)), latches.known(Ssrc(9))), (None, Some(stream(0, false))));
        assert_eq!(identify(&latches, &line, 96, &[(1, b"cam")]), None, "neither by the offer nor by its name");
        latches.forget(4);
        assert_eq!(latches.known(Ssrc(9)), None);
        assert_eq!(identify(&latches, &line, 96, &[]), Some(stream(0, false)), "a new offer may use it again");
    }

    #[test]
    fn however_often_the_ssrc_changes_the_tables_stay_small() {
        let mut latches = Latches::default();
        for ssrc in 1..10_000 {
            latches.latch(Ssrc(ssrc), stream(0, false), Some(Ssrc(ssrc - 1)));
        }
        assert_eq!((latches.streams.len(), latches.retired.len()), (1, RETIRED));
    }
}

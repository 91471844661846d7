//! Puts plaintext handshake messages together again before they reach DTLS (RFC 6347, section 4.2.3): in any order,
//! overlapping, repeated, and within a fixed amount of memory.
//!
//! Browsers split their hello in two, because of its post-quantum key share. The DTLS library reassembles too, but keeps
//! each fragment apart with several kilobytes of state; so it is handed whole messages, one record at a time.

use arrayvec::ArrayVec;

/// Messages of one peer that are not whole yet.
#[derive(Default)]
pub(super) struct Reassembly {
    partial: ArrayVec<Partial, PARTIAL_MAX>,
    /// A record that is built for a message that came in parts.
    record: Vec<u8>,
    /// The client's last plaintext message was handed on.
    ready_for_change: bool,
}

struct Partial {
    header: MessageHeader,
    body: Vec<u8>,
    /// What has arrived: begin and end, apart and in order.
    ranges: ArrayVec<(usize, usize), RANGES_MAX>,
}

/// The handshake header that all fragments of a message share.
#[derive(Clone, Copy, PartialEq, Eq)]
struct MessageHeader {
    kind: u8,
    sequence: u16,
    length: usize,
}

struct Fragment<'a> {
    header: MessageHeader,
    offset: usize,
    body: &'a [u8],
}

impl Reassembly {
    /// Divides a datagram into records and hands them on, plaintext handshake messages only when they are whole. Stops
    /// at the first error of `deliver`, and silently at what is malformed.
    pub fn push<E>(&mut self, datagram: &[u8], mut deliver: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = datagram;
        for _ in 0..RECORDS_MAX {
            let Some((record, after)) = split_record(rest) else { break };
            rest = after;
            let plaintext = record[3..5] == [0, 0];
            match record[0] {
                HANDSHAKE if plaintext => self.push_handshake(record, &mut deliver)?,
                // Before the client's last plaintext message it would only wait in the library's queue.
                CHANGE_CIPHER_SPEC if plaintext && !self.ready_for_change => {}
                CHANGE_CIPHER_SPEC => deliver(record)?,
                // Anybody can forge a plaintext alert; who really cannot go on falls silent, and that is noticed too.
                _ if plaintext => {}
                _ => deliver(record)?,
            }
        }
        Ok(())
    }

    fn push_handshake<E>(&mut self, record: &[u8], deliver: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = &record[RECORD_HEADER_LEN..];
        for _ in 0..RECORDS_MAX {
            let Some((fragment, after)) = split_fragment(rest) else { break };
            let alone = after.is_empty() && rest.len() + RECORD_HEADER_LEN == record.len();
            rest = after;
            if fragment.header.length > MESSAGE_MAX || fragment.header.sequence > SEQUENCE_MAX {
                continue;
            }
            if fragment.body.len() == fragment.header.length && alone {
                self.ready_for_change |= fragment.header.sequence == SEQUENCE_MAX;
                deliver(record)?;
            } else if let Some(body) = self.add(&fragment) {
                write_record(&mut self.record, record, fragment.header, &body);
                self.ready_for_change |= fragment.header.sequence == SEQUENCE_MAX;
                deliver(&self.record)?;
            }
        }
        Ok(())
    }

    /// Adds a fragment; the message's body once it is whole.
    fn add(&mut self, fragment: &Fragment<'_>) -> Option<Vec<u8>> {
        let header = fragment.header;
        let known = self.partial.iter().position(|partial| partial.header.sequence == header.sequence);
        let index = match known {
            Some(index) => index,
            None if self.partial.is_full() => return None,
            None => {
                self.partial.push(Partial::new(header));
                self.partial.len() - 1
            }
        };
        let partial = &mut self.partial[index];
        // Two fragments that disagree cannot both be right; a forged one must not keep out the peer's, sent again.
        if partial.header != header {
            *partial = Partial::new(header);
        }
        partial.add(fragment.offset, fragment.body);
        if partial.is_whole() { Some(self.partial.swap_remove(index).body) } else { None }
    }
}

impl Partial {
    fn new(header: MessageHeader) -> Self {
        Partial { header, body: vec![0; header.length], ranges: ArrayVec::new() }
    }

    fn add(&mut self, offset: usize, body: &[u8]) {
        let (mut begin, mut end) = (offset, offset + body.len());
        let mut merged = self.ranges.clone();
        merged.retain(|&mut (from, to)| {
            let apart = to < begin || end < from;
            if !apart {
                begin = begin.min(from);
                end = end.max(to);
            }
            apart
        });
        if merged.is_full() {
            return;
        }
        let place = merged.iter().position(|&(from, _)| from > begin).unwrap_or(merged.len());
        merged.insert(place, (begin, end));
        self.ranges = merged;
        self.body[offset..offset + body.len()].copy_from_slice(body);
    }

    fn is_whole(&self) -> bool {
        self.ranges.as_slice() == [(0, self.header.length)]
    }
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = bytes.get(..RECORD_HEADER_LEN)?;
    let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
    (length > 0).then(|| bytes.split_at_checked(RECORD_HEADER_LEN + length)).flatten()
}

fn split_fragment(bytes: &[u8]) -> Option<(Fragment<'_>, &[u8])> {
    let (head, rest) = bytes.split_at_checked(MESSAGE_HEADER_LEN)?;
    let number = |at: usize| usize::from(head[at]) << 16 | usize::from(head[at + 1]) << 8 | usize::from(head[at + 2]);
    let (length, offset, fragment_length) = (number(1), number(6), number(9));
    let (body, after) = rest.split_at_checked(fragment_length)?;
    // An empty fragment of a message that is not empty carries nothing but work.
    let sound = offset + fragment_length <= length && (fragment_length > 0 || length == 0);
    let header = MessageHeader { kind: head[0], sequence: u16::from_be_bytes([head[4], head[5]]), length };
    sound.then_some((Fragment { header, offset, body }, after))
}

/// Writes a record that holds one whole message, under the record header of its last fragment.
fn write_record(out: &mut Vec<u8>, last: &[u8], header: MessageHeader, body: &[u8]) {
    let length = (header.length as u32).to_be_bytes();
    out.clear();
    out.extend_from_slice(&last[..RECORD_HEADER_LEN - 2]);
    out.extend_from_slice(&((MESSAGE_HEADER_LEN + body.len()) as u16).to_be_bytes());
    out.push(header.kind);
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&header.sequence.to_be_bytes());
    out.extend_from_slice(&[0; 3]);
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(body);
}

/// Longest message in bytes: a hello with a post-quantum share has 1.5 kB, a certificate with a long RSA key 2 kB.
pub(super) const MESSAGE_MAX: usize = 4 * 1024;
/// Messages in parts at one time: a hello, or certificate, key exchange and verify. With the above 12 KiB a peer.
const PARTIAL_MAX: usize = 3;
/// Holes of a message in parts: a path with the smallest MTU of IPv6 cuts four kilobytes into four.
const RANGES_MAX: usize = 8;
/// Records of a datagram, and messages of a record, that are looked at: a client's longest flight has five.
const RECORDS_MAX: usize = 16;
/// Hello, certificate, key exchange, verify: a client's plaintext messages, as there is no cookie. Later ones would
/// only fill the library's queue, at several kilobytes each.
const SEQUENCE_MAX: u16 = 3;
const RECORD_HEADER_LEN: usize = 13;
const MESSAGE_HEADER_LEN: usize = 12;
const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_in_two_parts_is_whole_in_either_order() {
        let body: Vec<u8> = (0..1413u16).map(|byte| byte as u8).collect();
        let parts = [fragment(1, 0, 1413, 0, &body[..1100]), fragment(1, 0, 1413, 1100, &body[1100..])];
        for order in [[0, 1], [1, 0]] {
            let mut reassembly = Reassembly::default();
            assert!(delivered(&mut reassembly, &parts[order[0]]).is_empty());
            assert_eq!(delivered(&mut reassembly, &parts[order[1]]), [fragment(1, 0, 1413, 0, &body)]);
        }
    }

    #[test]
    fn a_repeated_message_is_delivered_again_so_that_its_answer_is_repeated() {
        let mut reassembly = Reassembly::default();
        for _ in 0..3 {
            assert!(delivered(&mut reassembly, &fragment(1, 0, 4, 0, &[1, 2])).is_empty());
            assert_eq!(delivered(&mut reassembly, &fragment(1, 0, 4, 2, &[3, 4])).len(), 1);
        }
    }

    #[test]
    fn other_records_pass_as_they_are() {
        let finished = [&[HANDSHAKE, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3][..], &[7, 7, 7]].concat();
        let change = [&[20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1][..], &[1]].concat();
        let flight = [fragment(11, 3, 2, 0, &[5, 6]), change.clone(), finished.clone()].concat();
        let mut reassembly = Reassembly::default();
        assert_eq!(delivered(&mut reassembly, &flight), [fragment(11, 3, 2, 0, &[5, 6]), change, finished]);
    }

    #[test]
    fn what_anybody_could_forge_does_not_pass() {
        let mut reassembly = Reassembly::default();
        for kind in [20, 21, 23, 24] {
            assert!(delivered(&mut reassembly, &[kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]).is_empty());
        }
        assert!(delivered(&mut reassembly, &fragment(1, SEQUENCE_MAX + 1, 2, 0, &[1, 2])).is_empty());
    }

    #[test]
    fn two_messages_in_one_record_are_delivered_apart() {
        let (one, two) = (fragment(11, 1, 2, 0, &[5, 6]), fragment(16, 2, 1, 0, &[9]));
        let mut both = [one.clone(), two[RECORD_HEADER_LEN..].to_vec()].concat();
        both[12] = (both.len() - RECORD_HEADER_LEN) as u8;
        assert_eq!(delivered(&mut Reassembly::default(), &both), [one, two]);
    }

    #[test]
    fn a_hundred_thousand_bad_fragments_hold_little_memory() {
        let mut reassembly = Reassembly::default();
        for round in 0..100_000usize {
            let sequence = (round % 11) as u16;
            let length = 1 + round * 7919 % (2 * MESSAGE_MAX);
            let (offset, size) = (round * 31 % length, round % 40);
            let size = size.min(length - offset);
            delivered(&mut reassembly, &fragment(1, sequence, length, offset, &vec![0; size]));
            let held = |partial: &Partial| partial.body.capacity() + size_of::<Partial>();
            assert!(reassembly.partial.iter().map(held).sum::<usize>() <= 32 * 1024);
        }
    }

    proptest! {
        #[test]
        fn any_cut_in_any_order_with_overlaps_yields_the_message(
            body in proptest::collection::vec(any::<u8>(), 1..600),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
        ) {
            let mut reassembly = Reassembly::default();
            let mut whole = Vec::new();
            for (from, to) in cuts {
                let (from, to) = (from.index(body.len()), to.index(body.len()) + 1);
                if from < to {
                    whole.extend(delivered(&mut reassembly, &fragment(1, 0, body.len(), from, &body[from..to])));
                }
            }
            if whole.is_empty() {
                for (index, part) in body.chunks(100).enumerate() {
                    whole.extend(delivered(&mut reassembly, &fragment(1, 0, body.len(), index * 100, part)));
                }
            }
            prop_assert!(!whole.is_empty());
            prop_assert!(whole.iter().all(|record| *record == fragment(1, 0, body.len(), 0, &body)));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let plain = [&[HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes.len() as u8][..], &bytes].concat();
            let mut reassembly = Reassembly::default();
            delivered(&mut reassembly, &bytes);
            delivered(&mut reassembly, &plain);
        }
    }

    fn fragment(kind: u8, sequence: u16, length: usize, offset: usize, body: &[u8]) -> Vec<u8> {
        let number = |value: usize| (value as u32).to_be_bytes()[1..].to_vec();
        let mut record = vec![HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(((MESSAGE_HEADER_LEN + body.len()) as u16).to_be_bytes());
        record.push(kind);
        record.extend(number(length));
        record.extend(sequence.to_be_bytes());
        record.extend(number(offset));
        record.extend(number(body.len()));
        record.extend(body);
        record
    }

    fn delivered(reassembly: &mut Reassembly, datagram: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let outcome = reassembly.push(datagram, |record| {
            records.push(record.to_vec());
            Ok::<(), ()>(())
        });
        outcome.unwrap();
        records
    }
}

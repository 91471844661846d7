//! Sequence numbers and timestamps that wrap (RFC 3550, section 5.1), extended to 64 bits that do not.

/// Whether `a` comes after `b` on the circle of 16-bit sequence numbers. Of two numbers half the circle apart neither
/// does.
pub const fn is_newer(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

/// The 64-bit number nearest to `reference` whose low 16 bits are `sequence`; a number below zero is taken one cycle
/// later. This is also how SRTP estimates its rollover counter (RFC 3711, section 3.3.1).
pub const fn nearest_sequence(reference: u64, sequence: u16) -> u64 {
    nearest(reference, sequence as u64, 16)
}

/// The 64-bit number nearest to `reference` whose low 32 bits are `timestamp`; a number below zero is taken one cycle
/// later.
pub const fn nearest_timestamp(reference: u64, timestamp: u32) -> u64 {
    nearest(reference, timestamp as u64, 32)
}

/// Extends the sequence numbers of one stream, in whatever order they arrive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequences {
    highest: Option<u64>,
}

impl Sequences {
    /// The extended number of `sequence`. The first one counts as the second cycle, so that a number from before it
    /// keeps its place too.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        extend(&mut self.highest, u64::from(sequence), 16)
    }

    /// The highest extended number so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

/// Extends the timestamps of one stream, in whatever order they arrive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timestamps {
    highest: Option<u64>,
}

impl Timestamps {
    /// The extended value of `timestamp`. The first one counts as the second cycle, so that one from before it keeps
    /// its place too.
    pub fn extend(&mut self, timestamp: u32) -> u64 {
        extend(&mut self.highest, u64::from(timestamp), 32)
    }

    /// The highest extended timestamp so far.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

fn extend(highest: &mut Option<u64>, low: u64, bits: u32) -> u64 {
    let extended = match *highest {
        Some(highest) => nearest(highest, low, bits),
        None => (1 << bits) | low,
    };
    *highest = Some(highest.map_or(extended, |highest| highest.max(extended)));
    extended
}

const fn nearest(reference: u64, low: u64, bits: u32) -> u64 {
    let cycle = 1u64 << bits;
    let half = cycle / 2;
    let candidate = (reference & !(cycle - 1)) | low;
    if candidate > reference.saturating_add(half) && candidate >= cycle {
        candidate - cycle
    } else if reference > candidate.saturating_add(half) {
        candidate.saturating_add(cycle)
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wrap_is_newer_and_its_reverse_is_older() {
        assert!(is_newer(0, 65_535));
        assert!(!is_newer(65_535, 0));
        assert!(!is_newer(7, 7));
        assert!(!is_newer(0x8000, 0) && !is_newer(0, 0x8000));
    }

    #[test]
    fn a_packet_from_before_the_first_keeps_its_place() {
        let mut sequences = Sequences::default();
        let first = sequences.extend(2);
        assert_eq!(sequences.extend(65_534), first - 4);
        assert_eq!(sequences.extend(3), first + 1);
        assert_eq!(sequences.highest(), Some(first + 1));
    }

    #[test]
    fn the_first_cycle_has_none_below_it() {
        assert_eq!(nearest_sequence(10, 60_000), 60_000);
        assert_eq!(nearest_sequence(65_530, 3), 65_539);
        assert_eq!(nearest_sequence(65_539, 65_530), 65_530);
    }

    proptest! {
        #[test]
        fn nearby_numbers_survive_the_loss_of_their_high_bits(
            reference in 0x10_0000u64..1 << 47,
            step in -0x7fffi64..=0x7fff,
        ) {
            let number = reference.saturating_add_signed(step);
            prop_assert_eq!(nearest_sequence(reference, number as u16), number);
        }

        #[test]
        fn nearby_timestamps_survive_the_loss_of_their_high_bits(
            reference in 0x2_0000_0000u64..1 << 62,
            step in -0x7fff_ffffi64..=0x7fff_ffff,
        ) {
            let number = reference.saturating_add_signed(step);
            prop_assert_eq!(nearest_timestamp(reference, number as u32), number);
        }

        #[test]
        fn the_low_bits_always_stay(reference: u64, sequence: u16, timestamp: u32) {
            prop_assert!(reference > u64::MAX - (1 << 33) || nearest_sequence(reference, sequence) as u16 == sequence);
            prop_assert!(reference > u64::MAX - (1 << 33) || nearest_timestamp(reference, timestamp) as u32 == timestamp);
        }
    }
}

//! Sequence numbers that wrap (RFC 3550, section 5.1), extended to 64 bits that do not.

/// The 64-bit number nearest to `reference` whose low 16 bits are `sequence`; a number below zero is taken one cycle
/// later. This is also how SRTP estimates its rollover counter (RFC 3711, section 3.3.1).
pub const fn nearest_sequence(reference: u64, sequence: u16) -> u64 {
    let candidate = (reference & !(CYCLE - 1)) | sequence as u64;
    if candidate > reference.saturating_add(CYCLE / 2) && candidate >= CYCLE {
        candidate - CYCLE
    } else if reference > candidate.saturating_add(CYCLE / 2) {
        candidate.saturating_add(CYCLE)
    } else {
        candidate
    }
}

/// How many sequence numbers there are before they repeat: sixteen bits' worth.
const CYCLE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn the_low_bits_always_stay(reference: u64, sequence: u16) {
            prop_assert!(reference > u64::MAX - (1 << 33) || nearest_sequence(reference, sequence) as u16 == sequence);
        }
    }
}

//! RTP header extensions (RFC 8285) in their one-byte and two-byte forms, and the few whose content the relay reads.

/// The elements of a header's extension block. Padding is skipped; nothing is where no extension block is, or one of
/// another profile than RFC 8285.
#[derive(Clone)]
pub struct Extensions<'a> {
    form: Form,
    rest: &'a [u8],
}

/// How elements are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
    /// Not RFC 8285: skipped as a whole.
    Opaque,
}

/// An element that reaches beyond its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

impl<'a> Extensions<'a> {
    /// Views the block that stands behind `profile` and its length, without checking it.
    pub(super) fn new(profile: u16, block: &'a [u8]) -> Self {
        let form = match profile {
            ONE_BYTE_PROFILE => Form::OneByte,
            _ if profile & 0xfff0 == TWO_BYTE_PROFILE => Form::TwoByte,
            _ => Form::Opaque,
        };
        Self { form, rest: if form == Form::Opaque { &[] } else { block } }
    }

    /// Whether every element fits.
    pub(super) fn check(mut self) -> Result<(), Overrun> {
        while let Some(element) = self.step() {
            element?;
        }
        Ok(())
    }

    fn step(&mut self) -> Option<Result<(u8, &'a [u8]), Overrun>> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            self.rest = rest;
            let (id, length) = match self.form {
                _ if first == 0 => continue,
                // Id 15 ends the block, and so does id 0 with a length (RFC 8285, section 4.2).
                Form::OneByte if matches!(first >> 4, 0 | 15) => {
                    self.rest = &[];
                    return None;
                }
                Form::OneByte => (first >> 4, usize::from(first & 0xf) + 1),
                Form::TwoByte => {
                    let Some((&length, rest)) = self.rest.split_first() else { return Some(self.overrun()) };
                    self.rest = rest;
                    (first, length.into())
                }
                Form::Opaque => return None,
            };
            let Some((content, rest)) = self.rest.split_at_checked(length) else { return Some(self.overrun()) };
            self.rest = rest;
            return Some(Ok((id, content)));
        }
    }

    fn overrun<T>(&mut self) -> Result<T, Overrun> {
        self.rest = &[];
        Err(Overrun)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.step()?.ok()
    }
}

/// Reads a transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 2).
pub fn transport_sequence(content: &[u8]) -> Option<u16> {
    content.first_chunk().map(|&bytes| u16::from_be_bytes(bytes))
}

/// The content of a transport-wide sequence number.
pub const fn transport_sequence_bytes(sequence: u16) -> [u8; 2] {
    sequence.to_be_bytes()
}

/// Reads a MID or RID: 1 to 16 ASCII letters, digits, `-`, `_` or other token characters (RFC 8852, RFC 9143).
pub fn identifier(content: &[u8]) -> Option<&str> {
    let token = (1..=16).contains(&content.len()) && content.iter().all(u8::is_ascii_graphic);
    token.then(|| std::str::from_utf8(content).ok()).flatten()
}

/// The highest id of the one-byte form, and the highest that Sotto negotiates.
pub const HIGHEST_ID: u8 = 14;

/// RFC 8285, section 4.2.
pub(super) const ONE_BYTE_PROFILE: u16 = 0xbede;

/// RFC 8285, section 4.3; the low four bits belong to the application and are ignored.
pub(super) const TWO_BYTE_PROFILE: u16 = 0x1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(profile: u16, block: &[u8]) -> Vec<(u8, &[u8])> {
        Extensions::new(profile, block).collect()
    }

    #[test]
    fn both_forms_skip_padding_and_keep_order() {
        assert_eq!(elements(0xbede, &[0x10, 7, 0, 0x21, 8, 9, 0, 0]), [(1, &[7][..]), (2, &[8, 9])]);
        assert_eq!(elements(0x1003, &[1, 1, 7, 0, 200, 0, 2, 2, 8, 9]), [(1, &[7][..]), (200, &[]), (2, &[8, 9])]);
    }

    #[test]
    fn id_15_ends_a_one_byte_block_and_what_follows_is_not_read() {
        assert_eq!(elements(0xbede, &[0x10, 7, 0xf0, 1, 0x20, 8]), [(1, &[7][..])]);
        assert_eq!(elements(0xbede, &[0x10, 7, 0x02, 1, 2, 3, 0x20, 8]), [(1, &[7][..])]);
        assert_eq!(Extensions::new(0xbede, &[0xf3, 1]).check(), Ok(()));
    }

    #[test]
    fn an_element_that_reaches_beyond_its_block_is_an_error_and_never_read() {
        for (profile, block) in [(0xbede, &[0x13, 1, 2][..]), (0x1000, &[1, 4, 1, 2]), (0x1000, &[0, 9])] {
            assert_eq!(Extensions::new(profile, block).check(), Err(Overrun));
            assert_eq!(elements(profile, block), []);
        }
    }

    #[test]
    fn another_profile_is_no_extension() {
        assert_eq!(elements(0xabac, &[0x10, 7, 0, 0]), []);
    }

    #[test]
    fn an_identifier_is_printable_and_short() {
        assert_eq!(identifier(b"video-1"), Some("video-1"));
        for bad in [&b""[..], b"a b", b"\xff", b"12345678901234567"] {
            assert_eq!(identifier(bad), None);
        }
    }
}

//! Byte strings: the one rule by which fields are joined before they are signed or hashed, and base64url (RFC 4648).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Joins fields, each behind its length in two bytes, big-endian.
///
/// # Panics
/// When a field is longer than 65,535 bytes.
pub fn join(fields: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(fields.iter().map(|field| field.len() + 2).sum());
    for field in fields {
        let length = u16::try_from(field.len()).expect("fields come out of messages of at most 16 KiB");
        joined.extend_from_slice(&length.to_be_bytes());
        joined.extend_from_slice(field);
    }
    joined
}

/// What a signature or MAC of this protocol covers: the label, a zero byte, the call id and the fields.
///
/// # Panics
/// When a field is longer than 65,535 bytes.
pub fn covered(kind: &str, call: &[u8; 16], fields: &[&[u8]]) -> Vec<u8> {
    let label = [b"sotto/1 ", kind.as_bytes()].concat();
    let mut all: Vec<&[u8]> = vec![&label, &[0], call];
    all.extend_from_slice(fields);
    join(&all)
}

/// Base64url without padding.
pub fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Any number of bytes; `None` for anything but their one right spelling.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Exactly `N` bytes.
pub fn array_from_base64url<const N: usize>(text: &str) -> Option<[u8; N]> {
    from_base64url(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_joined_each_behind_its_length() {
        assert_eq!(join(&[b"ab", &[0], &[7, 8, 9]]), [0, 2, 97, 98, 0, 1, 0, 0, 3, 7, 8, 9]);
        let whole = covered("bye", &[5; 16], &[&[1]]);
        assert_eq!(whole[..13], *b"\0\x0bsotto/1 bye");
        assert_eq!(whole[13..18], [0, 1, 0, 0, 16]);
    }

    #[test]
    fn bytes_have_one_spelling() {
        for wrong in ["A", "AB", "AA==", "A A", "A+/A", "AAB"] {
            assert_eq!(from_base64url(wrong), None, "{wrong}");
        }
        assert_eq!(from_base64url("AQID"), Some(vec![1, 2, 3]));
        assert_eq!(array_from_base64url::<4>("AQID"), None);
    }
}

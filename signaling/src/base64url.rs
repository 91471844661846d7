//! Binary fields of fixed length, on the wire as base64url without padding (RFC 4648, section 5).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` bytes. Its `Debug` prints none of them, for they are ids, keys and signatures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Base64Url<const N: usize>(pub [u8; N]);

impl<const N: usize> Base64Url<N> {
    /// Bytes from the operating system's generator.
    pub fn random() -> Self {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; N];
        // Decoding checks the length against the buffer, so that a long text costs nothing.
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == N).then_some(Self(bytes))
    }
}

impl<const N: usize> Serialize for Base64Url<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Base64Url<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<const N: usize>;
        impl<const N: usize> Visitor<'_> for Text<N> {
            type Value = Base64Url<N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{N} bytes in base64url")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                // Not `invalid_value`, which would quote the text.
                Base64Url::parse(text).ok_or_else(|| E::custom("not base64url of the right length"))
            }
        }
        deserializer.deserialize_str(Text::<N>)
    }
}

impl<const N: usize> fmt::Debug for Base64Url<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Base64Url(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Base64Url;

    #[test]
    fn only_unpadded_text_of_the_exact_length_is_taken() {
        let read = |text: &str| serde_json::from_str::<Base64Url<2>>(&format!("\"{text}\"")).ok();
        assert_eq!(read("_-8"), Some(Base64Url([0xff, 0xef])));
        for wrong in ["", "_-", "_-8=", "_-9", "_-8A", "/+8", "_-8_-8_-8_-8", " _-8"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_written_is_read_back() {
        let bytes = Base64Url::<32>::random();
        let text = serde_json::to_string(&bytes).unwrap();
        assert_eq!(text.len(), 43 + 2);
        assert_eq!(serde_json::from_str::<Base64Url<32>>(&text).unwrap(), bytes);
    }
}

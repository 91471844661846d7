//! The outer form of every message between participants: a small JSON object (RFC 8259), `v` first.

use serde::Serialize;
use serde_json::{Map, Value};

use super::bytes::{array_from_base64url, from_base64url};

/// A message as it came: its type and its fields, of which nothing is known yet.
pub struct Envelope(Map<String, Value>);

impl Envelope {
    /// `None` for anything malformed or too large.
    pub fn read(data: &str) -> Option<Self> {
        // The page counts UTF-16 units, of which a text never has more than bytes.
        if data.len() > MAX_MESSAGE && data.encode_utf16().count() > MAX_MESSAGE {
            return None;
        }
        let fields = read_object(data.as_bytes())?;
        let whole = fields.get("v")?.as_u64() == Some(VERSION) && fields.get("type")?.is_string();
        whole.then_some(Self(fields))
    }

    /// What sort of message it is.
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A field that is a count.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// A field that is an object.
    pub fn object(&self, name: &str) -> Option<Value> {
        self.0.get(name).filter(|value| value.is_object()).cloned()
    }

    /// A field that is some bytes in base64url.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        from_base64url(self.text(name)?)
    }

    /// A field that is `N` bytes in base64url.
    pub fn array<const N: usize>(&self, name: &str) -> Option<[u8; N]> {
        array_from_base64url(self.text(name)?)
    }
}

/// Writes a message; `fields` is a struct.
pub fn write(kind: &str, fields: impl Serialize) -> String {
    #[derive(Serialize)]
    struct Written<'a, F> {
        v: u64,
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(flatten)]
        fields: F,
    }
    serde_json::to_string(&Written { v: VERSION, kind, fields }).expect("a struct of texts and numbers is JSON")
}

/// A JSON object, and nothing else.
pub fn read_object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json).ok()? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// The version of the protocol among participants.
const VERSION: u64 = 1;

/// UTF-16 units of a message; the largest, the description of a direct connection, has about 8,192.
const MAX_MESSAGE: usize = 16_384;

//! Every form in which a canary is looked for: as it is, in hex, in base64 at each alignment (RFC 4648), as lists of
//! numbers, and for addresses in network order and in the texts that people and programs write (RFC 4291, RFC 5952).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

use super::canary::Canary;

/// A byte string that betrays a canary.
#[derive(Clone)]
pub struct Pattern {
    /// What it is, for the report.
    pub form: &'static str,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether letters match in either case.
    pub any_case: bool,
    /// What may not stand beside it, so that 10.0.0.1 is not found in 10.0.0.12.
    pub border: Border,
}

/// What makes a match part of something longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Border {
    /// Nothing does.
    None,
    /// A decimal digit on either side.
    Digit,
    /// A hex digit or a colon on either side.
    HexOrColon,
}

impl Border {
    /// Whether this byte beside a match makes it part of something else.
    pub fn forbids(self, neighbour: u8) -> bool {
        match self {
            Border::None => false,
            Border::Digit => neighbour.is_ascii_digit(),
            Border::HexOrColon => neighbour.is_ascii_hexdigit() || neighbour == b':',
        }
    }
}

/// Every pattern of a canary. Percent-encoding and backslash escapes are undone in what is searched instead, for they
/// can be mixed at will.
pub fn patterns(canary: &Canary) -> Vec<Pattern> {
    let mut all = Patterns(Vec::new());
    match canary {
        Canary::Text(text) => {
            all.add("as it is", text.clone(), true, Border::None);
            all.encoded(text);
            let text = String::from_utf8_lossy(text).into_owned();
            all.add("in UTF-16", text.encode_utf16().flat_map(u16::to_le_bytes).collect(), true, Border::None);
            all.add("in UTF-16", text.encode_utf16().flat_map(u16::to_be_bytes).collect(), true, Border::None);
        }
        Canary::Bytes(bytes) => {
            all.add("as it is", bytes.clone(), false, Border::None);
            all.encoded(bytes);
        }
        Canary::V4(ip) => all.v4(*ip),
        Canary::V6(ip) => all.v6(*ip),
    }
    all.0
}

struct Patterns(Vec<Pattern>);

impl Patterns {
    fn add(&mut self, form: &'static str, bytes: Vec<u8>, any_case: bool, border: Border) {
        // Two spellings of an address are often one.
        if !self.0.iter().any(|known| known.bytes == bytes && known.any_case == any_case) {
            self.0.push(Pattern { form, bytes, any_case, border });
        }
    }

    /// Hex, base64 and lists of numbers.
    fn encoded(&mut self, bytes: &[u8]) {
        for separator in ["", ":", " ", "-", ", 0x", ",0x", "\\x"] {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            self.add("in hex", digits.join(separator).into_bytes(), true, Border::None);
        }
        for separator in [", ", ",", " "] {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            self.add("as a list of numbers", numbers.join(separator).into_bytes(), false, Border::Digit);
        }
        for text in base64(bytes, &STANDARD).into_iter().chain(base64(bytes, &URL_SAFE)) {
            self.add("in base64", text, false, Border::None);
        }
    }

    fn v4(&mut self, ip: Ipv4Addr) {
        let [a, b, c, d] = ip.octets();
        self.add("in network order", vec![a, b, c, d], false, Border::None);
        self.add("in reverse order", vec![d, c, b, a], false, Border::None);
        let cookie = STUN_COOKIE.to_be_bytes();
        let xored = ip.octets().iter().zip(cookie).map(|(byte, mask)| byte ^ mask).collect();
        self.add("XORed as STUN does", xored, false, Border::None);
        self.encoded(&ip.octets());
        let number = u32::from(ip).to_string();
        self.add("as one number", number.into_bytes(), false, Border::Digit);
        for text in [ip.to_string(), format!("{a}-{b}-{c}-{d}"), format!("{a}_{b}_{c}_{d}")] {
            self.add("as an address", text.clone().into_bytes(), false, Border::Digit);
            self.encoded(text.as_bytes());
        }
        self.add("as a name in the DNS", format!("{d}.{c}.{b}.{a}.in-addr").into_bytes(), true, Border::Digit);
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        for text in [format!("ffff:{high:x}:{low:x}"), format!("ffff:{high:04x}:{low:04x}")] {
            self.add("mapped into IPv6", text.into_bytes(), true, Border::None);
        }
        self.add("mapped into IPv6", format!("64:ff9b::{high:x}:{low:x}").into_bytes(), true, Border::HexOrColon);
    }

    fn v6(&mut self, ip: Ipv6Addr) {
        self.add("in network order", ip.octets().to_vec(), false, Border::None);
        self.add("in reverse order", ip.octets().iter().rev().copied().collect(), false, Border::None);
        self.encoded(&ip.octets());
        let parts = ip.segments();
        let join = |text: fn(&u16) -> String| parts.iter().map(text).collect::<Vec<_>>().join(":");
        for text in [ip.to_string(), join(|part| format!("{part:04x}")), join(|part| format!("{part:x}"))] {
            self.add("as an address", text.clone().into_bytes(), true, Border::HexOrColon);
            self.encoded(text.as_bytes());
        }
        let numbers: Vec<String> = parts.iter().map(u16::to_string).collect();
        self.add("as a list of numbers", numbers.join(", ").into_bytes(), false, Border::Digit);
        let digits: Vec<String> = format!("{:032x}", u128::from(ip)).chars().rev().map(String::from).collect();
        self.add("as a name in the DNS", digits.join(".").into_bytes(), true, Border::None);
    }
}

/// What the bytes become in base64 when none, one or two bytes stand before them in the same triple. Characters that
/// hold foreign bits are left out, but for short canaries: there each of their values is a pattern, as what is left
/// would be found by chance.
fn base64(bytes: &[u8], alphabet: &Alphabet) -> BTreeSet<Vec<u8>> {
    let engine = GeneralPurpose::new(alphabet, NO_PAD);
    let fills: &[u8] = if bytes.len() <= SHORT { &ALL } else { &[0] };
    let mut found = BTreeSet::new();
    for before in 0..3 {
        for (&left, &right) in fills.iter().flat_map(|left| fills.iter().map(move |right| (left, right))) {
            let text = engine.encode([&vec![left; before], bytes, &[right]].concat());
            let (begin, end) = (before * 8, (before + bytes.len()) * 8);
            let whole = if fills.len() > 1 { begin / 6..end.div_ceil(6) } else { begin.div_ceil(6)..end / 6 };
            found.insert(text.as_bytes()[whole].to_vec());
        }
    }
    found
}

/// STUN's magic cookie (RFC 8489, section 5), by which it hides addresses from careless gateways.
const STUN_COOKIE: u32 = 0x2112_a442;

/// Up to here the characters that a canary fills alone are too few: four, for an address at the worst alignment.
const SHORT: usize = 8;

/// Values of a neighbouring byte that give each value of its first four and of its last four bits.
const ALL: [u8; 16] = {
    let mut all = [0; 16];
    let mut value = 0;
    while value < 16 {
        all[value] = (value as u8) << 4 | value as u8;
        value += 1;
    }
    all
};

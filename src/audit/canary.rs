//! A canary: something that was planted on purpose and must be found nowhere. Never printed: a finding names the line
//! of the file that it came from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// One canary, as bytes or as an address.
pub enum Canary {
    /// A text, which may also stand somewhere in other letters' case.
    Text(Vec<u8>),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// An address.
    V4(Ipv4Addr),
    /// An address.
    V6(Ipv6Addr),
}

/// A line that is no canary. Quotes nothing of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanaryError {
    /// Without a known beginning.
    #[error(
        "line {0} begins with none of text:, hex:, base64: and ip:, as in text:Anastasia, hex:0a4d0001, ip:fd00:77::1"
    )]
    Kind(usize),
    /// What follows cannot be read as that.
    #[error("line {0} is not {1}")]
    Form(usize, &'static str),
    /// Would be found by chance.
    #[error("line {0} has fewer than {LEAST} bytes, so chance alone would find it; plant a longer one")]
    Short(usize),
    /// Nothing to search for.
    #[error("it names no canary; write one on each line, as in text:Anastasia")]
    Empty,
}

impl Canary {
    /// Reads a file of canaries with the lines that they stand on. Empty lines and those that begin with # are passed.
    pub fn parse_all(text: &str) -> Result<Vec<(usize, Canary)>, CanaryError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end_matches('\r')));
        let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let all =
            lines.map(|(number, line)| Ok((number, Self::parse(number, line)?))).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() { Err(CanaryError::Empty) } else { Ok(all) }
    }

    fn parse(number: usize, line: &str) -> Result<Self, CanaryError> {
        let (kind, rest) = line.split_once(':').ok_or(CanaryError::Kind(number))?;
        let canary = match kind {
            "text" => Self::Text(rest.as_bytes().to_vec()),
            "hex" => Self::Bytes(unhex(rest).ok_or(CanaryError::Form(number, "an even number of hex digits"))?),
            "base64" => {
                let text = rest.trim_end_matches('=');
                let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
                Self::Bytes(bytes.map_err(|_| CanaryError::Form(number, "base64"))?)
            }
            "ip" => match rest.trim().parse() {
                Ok(IpAddr::V4(ip)) => Self::V4(ip),
                Ok(IpAddr::V6(ip)) => ip.to_ipv4_mapped().map_or(Self::V6(ip), Self::V4),
                Err(_) => return Err(CanaryError::Form(number, "an IPv4 or IPv6 address")),
            },
            _ => return Err(CanaryError::Kind(number)),
        };
        match &canary {
            Self::Text(bytes) | Self::Bytes(bytes) if bytes.len() < LEAST => Err(CanaryError::Short(number)),
            _ => Ok(canary),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Three bytes stand somewhere in every few megabytes by chance, four in none.
pub const LEAST: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_every_mistake_names_its_line() {
        let all = Canary::parse_all("# planted\n\ntext:Ana Sturm\nhex:0A4d0001\nbase64:AQIDBA\nip:::ffff:10.0.0.1\n");
        let lines: Vec<usize> = all.unwrap().iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6]);
        for (text, error) in [
            ("Anastasia", CanaryError::Kind(1)),
            ("\nname:Anastasia", CanaryError::Kind(2)),
            ("text:Ana", CanaryError::Short(1)),
            ("hex:0a4d00", CanaryError::Short(1)),
            ("hex:0a4d0", CanaryError::Form(1, "an even number of hex digits")),
            ("hex:0a4dzz00", CanaryError::Form(1, "an even number of hex digits")),
            ("ip:10.0.0", CanaryError::Form(1, "an IPv4 or IPv6 address")),
            ("base64:%", CanaryError::Form(1, "base64")),
            ("# nothing\n", CanaryError::Empty),
        ] {
            assert_eq!(Canary::parse_all(text).err(), Some(error), "{text}");
        }
    }
}

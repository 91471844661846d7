//! What a file looks as if it held: addresses, links, session descriptions, tokens. A guess by the letters, which a
//! program that means to hide something defeats with ease; it is for what was left by mistake.

use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What any file looks as if it held.
pub fn of(stream: &mut impl Read) -> io::Result<Vec<&'static str>> {
    judge(stream, ANY)
}

/// The same of the call log's file, where ids and numbers stand beside each other and look like much.
pub fn of_rows(file: &mut (impl Read + Seek)) -> io::Result<Vec<&'static str>> {
    file.seek(SeekFrom::Start(0))?;
    judge(file, AMONG_ROWS)
}

type Judge = fn(&[u8]) -> bool;

fn judge(stream: &mut impl Read, judges: &[(&'static str, Judge)]) -> io::Result<Vec<&'static str>> {
    let mut found = vec![false; judges.len()];
    let (mut chunk, mut word) = (vec![0; CHUNK], Vec::new());
    loop {
        let length = stream.read(&mut chunk)?;
        // A stream's end ends its last word.
        let bytes = if length == 0 { &b"\0"[..] } else { &chunk[..length] };
        for &byte in bytes {
            if byte.is_ascii_graphic() && word.len() < LONGEST {
                word.push(byte);
                continue;
            }
            for (found, (_, is)) in found.iter_mut().zip(judges) {
                *found |= is(&word);
            }
            word.clear();
        }
        if length == 0 {
            break;
        }
    }
    Ok(judges.iter().zip(found).filter(|(_, found)| *found).map(|((what, _), _)| *what).collect())
}

fn is_link(word: &[u8]) -> bool {
    contains(word, b"://")
}

fn is_description(word: &[u8]) -> bool {
    let marks: [&[u8]; 6] = [b"a=ice-", b"ice-ufrag", b"ice-pwd", b"a=candidate:", b"a=fingerprint:", b"m=audio"];
    marks.iter().any(|mark| contains(word, mark))
}

fn is_browser(word: &[u8]) -> bool {
    [&b"Mozilla/"[..], b"Chrome/", b"Firefox/", b"AppleWebKit"].iter().any(|mark| contains(word, mark))
}

fn is_v4(word: &[u8]) -> bool {
    let parts = word.split(|byte| !byte.is_ascii_digit() && *byte != b'.');
    let parse = |part: &[u8]| std::str::from_utf8(part).ok()?.trim_matches('.').parse::<Ipv4Addr>().ok();
    parts.into_iter().any(|part| parse(part).is_some())
}

/// Three colons at least: two stand in every time of day.
fn is_v6(word: &[u8]) -> bool {
    let parts = word.split(|byte| !byte.is_ascii_hexdigit() && *byte != b':');
    let parse = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<Ipv6Addr>().ok();
    let colons = |part: &&[u8]| part.iter().filter(|byte| **byte == b':').count() > 2;
    parts.filter(colons).any(|part| parse(part).is_some())
}

/// 16 bytes or more in base64url or hex.
fn is_token(word: &[u8]) -> bool {
    let part = |part: &[u8]| part.len() >= 22 && part.iter().any(u8::is_ascii_digit);
    word.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-' && *byte != b'_').any(part)
}

fn contains(word: &[u8], what: &[u8]) -> bool {
    word.windows(what.len()).any(|window| window == what)
}

const ANY: &[(&str, Judge)] = &[
    ("what looks like a link", is_link),
    ("what looks like a session description", is_description),
    ("what looks like a browser's name", is_browser),
    ("what looks like an IPv4 address", is_v4),
    ("what looks like an IPv6 address", is_v6),
    ("what looks like a token or an id", is_token),
];

/// Among rows an id is a token by its looks, and numbers beside it may make an address of the other kind.
const AMONG_ROWS: &[(&str, Judge)] = &[
    ("what looks like a link", is_link),
    ("what looks like a session description", is_description),
    ("what looks like a browser's name", is_browser),
    ("what looks like an IPv4 address", is_v4),
];

/// Read at once.
const CHUNK: usize = 64 * 1024;
/// No word of these kinds is longer; what is cut is judged in parts.
const LONGEST: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_by_mistake_is_named_and_a_note_is_not() {
        for (text, expected) in [
            ("see https://calls.example.org/c", "what looks like a link"),
            ("v=0\r\na=ice-ufrag:Xy1z\r\n", "what looks like a session description"),
            ("agent=Mozilla/5.0 (X11)", "what looks like a browser's name"),
            ("client=10.77.0.1:50000", "what looks like an IPv4 address"),
            ("from [fd00:77::1]:50000", "what looks like an IPv6 address"),
            ("id Zm9yZ290dGVuIHJlY2VpcHQ", "what looks like a token or an id"),
        ] {
            let found = of(&mut text.as_bytes()).unwrap();
            assert!(found.contains(&expected), "{text}: {found:?}");
        }
        let note = "Backups at 12:30:05 are off since version 1.2.3. Ask the operator.";
        assert_eq!(of(&mut note.as_bytes()).unwrap(), Vec::<&str>::new());
    }
}

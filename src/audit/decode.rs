//! Undoes escapes on the way into a search: percent-encoding (RFC 3986) and the backslash escapes of JSON and Rust.
//! Any byte may be escaped or not, so what is searched is decoded instead of each canary encoded in every way.

/// Undoes one kind of escape, over pieces of a stream.
pub struct Decoder {
    rule: Rule,
    /// An escape that is not complete yet.
    held: Vec<u8>,
    changed: bool,
}

/// A kind of escape.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// `%41`, and `+` for a space.
    Percent,
    /// `\n`, `\"`, `\x41`, `\u0041`, `\u{41}`.
    Backslash,
}

enum Step {
    /// Not enough to tell.
    More,
    /// Not an escape: the first byte stands for itself.
    Plain,
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Decoder {
    /// At the beginning of a stream.
    pub fn new(rule: Rule) -> Self {
        Self { rule, held: Vec::new(), changed: false }
    }

    /// Whether anything was different so far: what was not has been searched as it is.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Decodes a piece, behind what is already in `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if self.held.is_empty() && !self.begins(byte) {
                out.push(byte);
                continue;
            }
            self.held.push(byte);
            self.settle(out, false);
        }
    }

    /// The stream is over: what was begun stands for itself.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.settle(out, true);
    }

    fn begins(&self, byte: u8) -> bool {
        match self.rule {
            Rule::Percent => byte == b'%' || byte == b'+',
            Rule::Backslash => byte == b'\\',
        }
    }

    fn settle(&mut self, out: &mut Vec<u8>, over: bool) {
        while !self.held.is_empty() {
            let step = if self.begins(self.held[0]) { self.step() } else { Step::Plain };
            match step {
                Step::More if !over => return,
                Step::More | Step::Plain => out.push(self.held.remove(0)),
                Step::Bytes(bytes) => {
                    self.changed = true;
                    out.extend(bytes);
                    self.held.clear();
                }
            }
        }
    }

    fn step(&self) -> Step {
        match self.rule {
            Rule::Percent => percent(&self.held),
            Rule::Backslash => backslash(&self.held),
        }
    }
}

fn percent(held: &[u8]) -> Step {
    match held {
        [b'+'] => Step::Bytes(vec![b' ']),
        [b'%'] => Step::More,
        [b'%', digit] if digit.is_ascii_hexdigit() => Step::More,
        [b'%', high, low] if low.is_ascii_hexdigit() => Step::Bytes(vec![value(&[*high, *low]) as u8]),
        _ => Step::Plain,
    }
}

fn backslash(held: &[u8]) -> Step {
    match held {
        [_] => Step::More,
        [_, b'n'] => Step::Bytes(vec![b'\n']),
        [_, b'r'] => Step::Bytes(vec![b'\r']),
        [_, b't'] => Step::Bytes(vec![b'\t']),
        [_, b'0'] => Step::Bytes(vec![0]),
        [_, sign @ (b'"' | b'\'' | b'/' | b'\\')] => Step::Bytes(vec![*sign]),
        [_, b'x', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => match digits.len() {
            2 => Step::Bytes(vec![value(digits) as u8]),
            _ => Step::More,
        },
        [_, b'u', b'{', digits @ .., b'}'] if (1..=6).contains(&digits.len()) => utf8(value(digits)),
        [_, b'u', b'{', digits @ ..] if digits.len() <= 6 && digits.iter().all(u8::is_ascii_hexdigit) => Step::More,
        [_, b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => match digits.len() {
            4 if (0xd800..0xdc00).contains(&value(digits)) => Step::More,
            4 => utf8(value(digits)),
            _ => Step::More,
        },
        // The second half of a character beyond the first plane.
        [_, b'u', a, b, c, d, rest @ ..] if b"\\u".starts_with(&rest[..rest.len().min(2)]) => match rest {
            [_, _, low @ ..] if low.len() == 4 => pair(value(&[*a, *b, *c, *d]), value(low)),
            _ => Step::More,
        },
        _ => Step::Plain,
    }
}

fn pair(high: u32, low: u32) -> Step {
    if !(0xd800..0xdc00).contains(&high) || !(0xdc00..0xe000).contains(&low) {
        return Step::Plain;
    }
    utf8(0x1_0000 + ((high - 0xd800) << 10 | (low - 0xdc00)))
}

fn utf8(point: u32) -> Step {
    char::from_u32(point).map_or(Step::Plain, |char| Step::Bytes(char.to_string().into_bytes()))
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |all, &digit| all << 4 | (digit as char).to_digit(16).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(rule: Rule, text: &str) -> String {
        let whole = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut decoder, mut out) = (Decoder::new(rule), Vec::new());
            pieces.for_each(|piece| decoder.feed(piece, &mut out));
            decoder.end(&mut out);
            assert_eq!(decoder.changed(), out != text.as_bytes());
            String::from_utf8_lossy(&out).into_owned()
        };
        let at_once = whole(&mut std::iter::once(text.as_bytes()));
        assert_eq!(at_once, whole(&mut text.as_bytes().chunks(1)), "pieces give the same");
        at_once
    }

    #[test]
    fn percent_signs_are_undone_wherever_they_stand() {
        assert_eq!(decoded(Rule::Percent, "A%6ea%20St%C3%bcrm+1"), "Ana Stürm 1");
        assert_eq!(decoded(Rule::Percent, "100% %zz %4"), "100% %zz %4");
        assert_eq!(decoded(Rule::Percent, "%%41"), "%A");
    }

    #[test]
    fn backslashes_of_json_and_rust_are_undone() {
        assert_eq!(decoded(Rule::Backslash, r#"Ana \"St\u00fcrm\" \x41\u{e9}\n"#), "Ana \"Stürm\" Aé\n");
        assert_eq!(decoded(Rule::Backslash, r"\ud83d\ude00!"), "😀!");
        assert_eq!(decoded(Rule::Backslash, r"\q \xg \u{} \ud83d \u00"), r"\q \xg \u{} \ud83d \u00");
    }
}

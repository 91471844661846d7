//! Figures as people read them: a few digits, a unit, and nothing that pretends to more precision than there is.

/// Milliseconds: `0.42 ms`, `43.1 ms`, `1,234 ms`, `12.3 s`, `80 min 16 s`.
pub fn milliseconds(value: f64) -> String {
    match value.abs() {
        ..10_000.0 => format!("{} ms", number(value)),
        ..120_000.0 => format!("{} s", number(value / 1000.0)),
        _ => seconds(value / 1000.0),
    }
}

/// Percent: `0 %` only where it is nothing at all.
pub fn percent(value: f64) -> String {
    if value == 0.0 {
        "0 %".into()
    } else if value.abs() < 0.001 {
        "<0.001 %".into()
    } else if value.abs() < 0.1 {
        format!("{} %", trimmed(value, 3))
    } else {
        format!("{} %", trimmed(value, if value.abs() < 10.0 { 2 } else { 1 }))
    }
}

/// Bits per second: `320 kbit/s`, `12.4 Mbit/s`.
pub fn bitrate(value: f64) -> String {
    scaled(value, 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s"])
}

/// Bytes: `512 KiB`, `12.4 MiB`.
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Microseconds.
pub fn microseconds(value: f64) -> String {
    format!("{} µs", number(value))
}

/// Seconds of a run: `12.4 s`, `3 min 20 s`, `2 h 5 min`.
pub fn seconds(value: f64) -> String {
    let whole = value.round().max(0.0) as u64;
    match whole {
        0..120 => format!("{} s", trimmed(value, 1)),
        120..7200 => joined(&format!("{} min", whole / 60), whole % 60, "s"),
        _ => joined(&format!("{} h", whole / 3600), whole % 3600 / 60, "min"),
    }
}

/// A count with its thousands apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// About three digits: `0.042`, `0.42`, `4.2`, `42.1`, `421`, `4,210`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".into();
    }
    match size {
        0.0 => "0".into(),
        ..0.1 => trimmed(value, 3),
        ..10.0 => trimmed(value, 2),
        ..100.0 => trimmed(value, 1),
        _ => format!("{}{}", if value < 0.0 { "-" } else { "" }, count(size.round() as u64)),
    }
}

/// `1 call`, `2 calls`.
pub fn plural(value: usize, one: &str) -> String {
    format!("{} {one}{}", count(value as u64), if value == 1 { "" } else { "s" })
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut place) = (value, 0);
    while value.abs() >= step * 0.9995 && place + 1 < units.len() {
        value /= step;
        place += 1;
    }
    format!("{} {}", if place == 0 { count(value.abs().round() as u64) } else { number(value) }, units[place])
}

fn joined(large: &str, rest: u64, unit: &str) -> String {
    if rest == 0 { large.to_owned() } else { format!("{large} {rest} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_and_their_unit() {
        let written = [0.0, 0.0423, 0.423, 4.23, 42.31, 1234.4, 12_340.0, 500_000.0].map(milliseconds);
        assert_eq!(written, ["0 ms", "0.042 ms", "0.42 ms", "4.23 ms", "42.3 ms", "1,234 ms", "12.3 s", "8 min 20 s"]);
        assert_eq!([320.0, 32_000.0, 1_240_000.0].map(bitrate), ["320 bit/s", "32 kbit/s", "1.24 Mbit/s"]);
        assert_eq!([0.0, 1536.0, 13_002_342.0].map(bytes), ["0 B", "1.5 KiB", "12.4 MiB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([12.36, 200.0, 7500.0].map(seconds), ["12.4 s", "3 min 20 s", "2 h 5 min"]);
    }

    #[test]
    fn a_loss_that_is_not_nothing_never_reads_as_nothing() {
        assert_eq!(percent(0.0), "0 %");
        for lost in [0.000_04, 0.004, 0.04, 0.4, 4.0] {
            assert_ne!(percent(lost), "0 %", "{lost}");
        }
        assert_eq!([0.05, 0.5, 5.02, 12.34].map(percent), ["0.05 %", "0.5 %", "5.02 %", "12.3 %"]);
    }

    #[test]
    fn what_could_not_be_measured_is_a_dash() {
        assert_eq!(number(f64::NAN), "–");
    }
}

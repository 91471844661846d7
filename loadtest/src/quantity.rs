//! Numbers with their units as people write them, in flags, plans and thresholds: `20s`, `1.7m`, `0.5%`, `360p@500k`.

use std::time::Duration;

use crate::plan::Layer;

/// A text that is no such number. Each message says how one is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says it
pub enum QuantityError {
    #[error("`{0}` is no duration; write 500ms, 20s, 5m, 2h, or together as in 1h30m")]
    Duration(String),
    #[error("`{0}` has no unit; write {0}s for seconds, {0}m for minutes, {0}ms for milliseconds")]
    DurationUnit(String),
    #[error("`{0}` is no bitrate; write 500k for 500,000 bits per second, or 1.7m")]
    Bitrate(String),
    #[error("`{0}` is no share; write a percentage from 0% to 100%, such as 0.5%")]
    Share(String),
    #[error("`{0}` is no sample; write 1/10 for one frame in ten, or 1/1 for all")]
    Sample(String),
    #[error("`{0}` is no encoding; write lines@bitrate, such as 360p@500k")]
    Layer(String),
}

/// Reads `500ms`, `20s`, `5m`, `2h` or several of them behind each other.
pub fn duration(text: &str) -> Result<Duration, QuantityError> {
    let refuse = || QuantityError::Duration(text.to_owned());
    let (mut rest, mut total) = (text.trim(), Duration::ZERO);
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or_else(refuse)?;
        let seconds = match unit {
            "ms" => number / 1e3,
            "s" => number,
            "m" | "min" => number * 60.0,
            "h" => number * 3600.0,
            "" if rest.len() == text.trim().len() => return Err(QuantityError::DurationUnit(text.trim().to_owned())),
            _ => return Err(refuse()),
        };
        let more = Duration::try_from_secs_f64(seconds).map_err(|_| refuse())?;
        total = total.checked_add(more).filter(|&total| total <= LONGEST).ok_or_else(refuse)?;
        rest = after;
    }
    Ok(total)
}

/// Reads `500k` or `1.7m`, bits per second; a bare number is bits per second too.
pub fn bitrate(text: &str) -> Result<u32, QuantityError> {
    let refuse = || QuantityError::Bitrate(text.to_owned());
    let (number, unit, rest) = number_and_unit(text.trim()).ok_or_else(refuse)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "bps" => 1.0,
        "k" | "kbps" | "kbit" => 1e3,
        "m" | "mbps" | "mbit" => 1e6,
        _ => return Err(refuse()),
    };
    let bits = (number * factor).round();
    if !rest.is_empty() || bits > f64::from(u32::MAX) {
        return Err(refuse());
    }
    Ok(bits as u32)
}

/// Reads `0.5%` as 0.005.
pub fn share(text: &str) -> Result<f64, QuantityError> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    number.map(|percent| percent / 100.0).ok_or_else(|| QuantityError::Share(text.to_owned()))
}

/// Reads `1/10` as 10: one in ten.
pub fn one_in(text: &str) -> Result<u32, QuantityError> {
    let many = text.trim().strip_prefix("1/").and_then(|many| many.parse::<u32>().ok()).filter(|&many| many > 0);
    many.ok_or_else(|| QuantityError::Sample(text.to_owned()))
}

/// Reads `360p@500k`.
pub fn layer(text: &str) -> Result<Layer, QuantityError> {
    let refuse = || QuantityError::Layer(text.to_owned());
    let (height, rate) = text.trim().split_once('@').ok_or_else(refuse)?;
    let height = height.strip_suffix('p').unwrap_or(height).parse().map_err(|_| refuse())?;
    Ok(Layer { height, bitrate: bitrate(rate).map_err(|_| refuse())? })
}

/// Splits `1.5m30s` into 1.5, `m` and `30s`.
fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..digits].parse::<f64>().ok().filter(|number| number.is_finite())?;
    let unit = text[digits..].find(|c: char| c.is_ascii_digit()).map_or(text.len(), |length| digits + length);
    Some((number, text[digits..unit].trim(), &text[unit..]))
}

/// A month: what is longer was surely meant otherwise, and sums of it cannot overflow a clock.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_in_every_unit_and_together() {
        for (text, milliseconds) in
            [("20s", 20_000), ("500ms", 500), ("1.5s", 1_500), ("5m", 300_000), ("2h", 7_200_000), ("1h30m", 5_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_told_how_to_get_one() {
        let said = duration("20").unwrap_err().to_string();
        assert!(said.contains("20s for seconds"), "{said}");
        for text in ["", "s", "1m30", "-1s", "1d", "1..5s", "99999h", "1s 2"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bitrates_are_read_in_kilo_and_mega() {
        assert_eq!(bitrate("500k"), Ok(500_000));
        assert_eq!(bitrate("1.7m"), Ok(1_700_000));
        assert_eq!(bitrate("1.7M"), Ok(1_700_000));
        assert_eq!(bitrate("32000"), Ok(32_000));
        for text in ["", "k", "5g", "-5k", "9999m", "5k5"] {
            assert!(bitrate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_percentages() {
        assert_eq!(share("0.5%"), Ok(0.005));
        assert_eq!(share("100%"), Ok(1.0));
        for text in ["0.5", "101%", "-1%", "%", "nan%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn samples_and_encodings_are_read() {
        assert_eq!(one_in("1/10"), Ok(10));
        assert!(one_in("1/0").is_err() && one_in("10").is_err() && one_in("2/10").is_err());
        assert_eq!(layer("360p@500k"), Ok(Layer { height: 360, bitrate: 500_000 }));
        assert!(layer("360p").is_err() && layer("p@5k").is_err() && layer("360p@").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_fail_otherwise_than_by_its_error(text in "\\PC{0,20}") {
            let _ = (duration(&text), bitrate(&text), share(&text), one_in(&text), layer(&text));
        }

        #[test]
        fn every_whole_second_is_read_back(seconds in 0_u64..2_000_000) {
            prop_assert_eq!(duration(&format!("{seconds}s")), Ok(Duration::from_secs(seconds)));
        }
    }
}

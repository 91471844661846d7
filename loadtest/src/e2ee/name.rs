//! Names as the others see them: nothing in them may rewrite what they stand in.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::GeneralCategory;

/// A name without control and format characters (so without direction overrides), in NFC, at most 96 bytes.
pub fn tidy_name(name: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(name);
    let printable = composed.replace(is_unprintable, " ");
    let spaced = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = spaced.char_indices().map(|(at, character)| at + character.len_utf8());
    let end = end.take_while(|&end| end <= MAX_NAME).last().unwrap_or(0);
    spaced[..end].trim_end().to_owned()
}

fn is_unprintable(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    let category = CodePointMapData::<GeneralCategory>::new().get(character);
    matches!(category, Control | Format | LineSeparator | ParagraphSeparator)
}

/// Bytes of a name: long enough for any, short enough that a hello stays small.
pub const MAX_NAME: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_rewrite_what_it_stands_in() {
        assert_eq!(tidy_name("  Ana\u{202e}\u{0}\n\u{2028} Lee\u{200b} "), "Ana Lee");
        assert_eq!(tidy_name("Zoe\u{308}"), "Zo\u{eb}");
        assert_eq!(tidy_name(&"\u{e9}".repeat(60)), "\u{e9}".repeat(48));
        assert_eq!(tidy_name(&format!("{}  b", "a".repeat(95))), "a".repeat(95));
        assert_eq!(tidy_name("\u{200b}"), "");
    }
}

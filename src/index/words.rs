//! Which words does a text have? Which pages of a segment have a word in the body of a log record?
//!
//! A word is a run of letters and digits, in lower case, by Unicode. `search('timeout')` finds bodies with that word, and
//! the index finds the pages that have it, as for any other lookup. As the words of a body are not the values of a
//! column, they have a column of their own in the index, [`WORDS_OF_BODY`], which no segment has.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;

use super::hash::ValueHash;
use super::place::Place;
use crate::segment::encoding::PAGE_ROWS;

/// Name of the words of `body` in an index. No column is called so: names of columns begin with `attributes.` only
/// where the rest is the name of a core column or begins with a level.
pub const WORDS_OF_BODY: &str = "attributes.words of body";

/// Most bytes of the words' postings per row with a body. Bodies that are mostly ids, each once, are left to scans.
pub(super) const BYTES_PER_BODY_MAX: usize = 8;

/// The words of a text, in lower case.
pub fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(lower)
}

fn lower(word: &str) -> Cow<'_, str> {
    let is_lower = |c: char| if c.is_ascii() { !c.is_ascii_uppercase() } else { false };
    if word.chars().all(is_lower) { Cow::Borrowed(word) } else { Cow::Owned(word.to_lowercase()) }
}

/// Hash and page of each word of a column of texts, each once, in no order of pages and hashes; `None` for other types.
pub(super) fn places(values: &ArrayRef) -> Option<Vec<Place>> {
    if *values.data_type() != DataType::Utf8View {
        return None;
    }
    let texts: &StringViewArray = values.as_string_view();
    let mut all = Vec::new();
    let mut of_page: Vec<Place> = Vec::new();
    for start in (0..texts.len()).step_by(PAGE_ROWS) {
        for row in (start..texts.len().min(start + PAGE_ROWS)).filter(|row| texts.is_valid(*row)) {
            of_page.extend(words(texts.value(row)).map(|word| Place::new(ValueHash::of_text(&word), row)));
        }
        of_page.sort_unstable();
        of_page.dedup();
        all.append(&mut of_page);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let of = |text| words(text).collect::<Vec<_>>();
        assert_eq!(of("Payment-Gateway timed_out: 30s"), ["payment", "gateway", "timed", "out", "30s"]);
        assert_eq!(of("ΠΕΛΆΤΗΣ größe ÉTÉ"), ["πελάτης", "größe", "été"]);
        assert_eq!(of("{\"user.id\":\"u-42\"}"), ["user", "id", "u", "42"]);
        assert!(of(" -- ").is_empty());
    }

    #[test]
    fn no_column_is_called_like_the_words() {
        use crate::event::AttributeKey;
        let key = AttributeKey::from_physical_name(WORDS_OF_BODY);
        assert_ne!(key.map(|key| key.physical_name()).as_deref(), Some(WORDS_OF_BODY));
    }
}

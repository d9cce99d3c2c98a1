//! Error messages for unknown names.

use std::fmt::Write as _;

use sqlparser::tokenizer::Location;

use crate::error::{Error, Position};

/// Position of a name; `None` for names that are not in the text of the statement.
pub(super) fn position(location: Location) -> Option<Position> {
    if location.line == u64::MAX {
        return None;
    }
    Position::new(usize::try_from(location.line).ok()?, usize::try_from(location.column).ok()?)
}

/// `" at line 3, column 7"`; empty for names that are not in the text of the statement.
pub(super) fn at(location: Location) -> String {
    position(location).map_or_else(String::new, |position| format!(" at {position}"))
}

/// `unknown column "htp.route" at line 3, column 7: did you mean http.route?`
pub(super) fn unknown(what: &str, name: &str, location: Location, nearest: &[String]) -> Error {
    let mut message = format!("unknown {what} \"{name}\"{}", at(location));
    if let Some((last, others)) = nearest.split_last() {
        let list = if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) };
        let _ = write!(message, ": did you mean {list}?");
    }
    Error::invalid(message).at(position(location))
}

/// Up to `n` names of `known` that `typed` may stand for: first names that end in it (people leave prefixes
/// out), then names with few differences.
pub(super) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>, n: usize) -> Vec<String> {
    let typed = typed.to_lowercase();
    let mut scored: Vec<_> =
        known.into_iter().filter_map(|name| Some((distance(&typed, &name.to_lowercase())?, name))).collect();
    scored.sort_unstable();
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.into_iter().take(n).map(|(_, name)| name.to_owned()).collect()
}

fn distance(typed: &str, known: &str) -> Option<usize> {
    if known.strip_suffix(typed).is_some_and(|rest| rest.ends_with(['.', '_'])) {
        return Some(1);
    }
    if typed.len() >= 3 && known.starts_with(typed) {
        return Some(3);
    }
    let limit = (typed.len() / 3).max(1);
    if typed.len().abs_diff(known.len()) > limit {
        return None;
    }
    let edits = strsim::osa_distance(typed, known);
    (edits <= limit).then_some(edits * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_and_typing_errors_are_near() {
        let known = ["http.route", "duration_ns", "name", "approx_percentile_cont"];
        assert_eq!(nearest("route", known, 3), ["http.route"]);
        assert_eq!(nearest("durationns", known, 3), ["duration_ns"]);
        assert_eq!(nearest("duration", known, 3), ["duration_ns"]);
        assert!(nearest("zebra", known, 3).is_empty());
    }
}

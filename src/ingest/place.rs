//! At which line and column of a text is the fault?

/// Splits a reason with the JSON reader's ending (`… at line 3 column 7`) into the description and the line and
/// column, both counted from 1. Column 0 is the end of a line.
pub fn located(reason: &str) -> (&str, Option<(u64, u64)>) {
    let place = || {
        let (rest, column) = reason.rsplit_once(" column ")?;
        let (what, line) = rest.rsplit_once(" at line ")?;
        Some((what, line.parse().ok().filter(|line| *line > 0)?, column.parse().ok()?))
    };
    match place() {
        Some((what, line, column)) => (what, Some((line, column))),
        None => (reason, None),
    }
}

/// Number of line ends in `bytes`.
pub fn line_ends(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').count() as u64 - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_from_what_is_wrong() {
        let error = serde_json::from_str::<serde_json::Value>("{\"a\":1,\n \"b\" 2}").unwrap_err();
        assert_eq!(located(&error.to_string()), ("expected `:`", Some((2, 6))));
        for reason in ["", "no place", "at line 1 column 2", "x at line 0 column 1", "x at line a column 1"] {
            assert_eq!(located(reason), (reason, None), "{reason}");
        }
    }
}

//! How is a request refused over PostgreSQL's protocol? By a code of SQLSTATE, and the place in the statement.
//!
//! | kind | code |
//! |---|---|
//! | invalid-input | 42601 syntax, 42703 column, 42P01 table, 42883 function, 25006 a statement that writes, 22012, 22003, 22P02 a value; else 42000 |
//! | not-found | 02000 |
//! | conflict | 40001 |
//! | too-large, limit-exceeded | 53400 |
//! | busy | 53300 |
//! | unavailable, poisoned | 57P03 |
//! | unauthenticated | 28000 |
//! | forbidden | 42501 |
//! | cancelled | 57014 |
//! | corrupt, internal | XX001, XX000 |
//!
//! Clients decide by the code whether to ask again: after 40001, 53300 and 57P03.

use super::Refusal;
use crate::error::ErrorKind;

/// First words of messages about wrong statements, and their codes.
const WORDS: [(&str, &str); 10] = [
    ("syntax error", "42601"),
    ("unknown column", "42703"),
    ("unknown table", "42P01"),
    ("unknown function", "42883"),
    ("Broadloom's SQL is read-only", "25006"),
    ("division by zero", "22012"),
    ("Divide by zero", "22012"),
    ("does not fit in", "22003"),
    ("Cannot cast", "22P02"),
    ("cannot be cast", "22P02"),
];

/// Code of the refusal.
pub(in crate::server) fn code(refusal: &Refusal) -> &'static str {
    match refusal.kind() {
        ErrorKind::InvalidInput => {
            let message = refusal.message();
            let is_about = |(words, _): &&(&str, &str)| message.contains(words);
            WORDS.iter().find(is_about).map_or("42000", |(_, code)| code)
        }
        ErrorKind::NotFound => "02000",
        ErrorKind::Conflict => "40001",
        ErrorKind::TooLarge | ErrorKind::LimitExceeded => "53400",
        ErrorKind::Busy => "53300",
        ErrorKind::Unavailable | ErrorKind::Poisoned => "57P03",
        ErrorKind::Unauthenticated => "28000",
        ErrorKind::Forbidden => "42501",
        ErrorKind::Cancelled => "57014",
        ErrorKind::Corrupt => "XX001",
        ErrorKind::Internal => "XX000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn wrong_statements_are_told_apart() {
        let of = |message: &str| code(&Refusal::from(Error::invalid(message)));
        assert_eq!(of("syntax error: Expected: x at line 1, column 2"), "42601");
        assert_eq!(of("unknown column \"x\" at line 1, column 8"), "42703");
        assert_eq!(of("unknown table \"spanz\": did you mean spans?"), "42P01");
        assert_eq!(of("Broadloom's SQL is read-only: INSERT is not allowed"), "25006");
        assert_eq!(of("something else"), "42000");
    }

    #[test]
    fn what_may_be_sent_again_has_a_code_that_says_so() {
        for kind in ErrorKind::ALL {
            let refusal = Refusal::from(Error::new(kind, "no"));
            let is_repeated = ["53300", "57P03"].contains(&code(&refusal));
            assert_eq!(is_repeated, kind.is_retryable(), "{kind:?}");
        }
    }
}

//! Which statement is it? Those of sessions and transactions are answered by the session; SELECT and its relatives are
//! questions.

use super::copy::{self, CopyOut};
use super::failure::Failure;
use super::words::Words;
use crate::query::language::lex::{Piece, lex};

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// A question, as text, and the word that its answer ends with.
    Question(String, &'static str),
    /// COPY … TO STDOUT.
    Copy(CopyOut),
    /// SET; `None` is the default.
    Set(String, Option<String>),
    /// RESET ALL.
    ResetAll,
    /// SHOW of a setting.
    Show(String),
    /// BEGIN.
    Begin(&'static str),
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT and its relatives: there is nothing to undo.
    Savepoint(&'static str),
    /// ROLLBACK TO SAVEPOINT, after which a failed transaction goes on.
    RollbackTo,
    /// DISCARD ALL.
    Discard,
    /// DEALLOCATE of a statement, or of all.
    Deallocate(Option<String>),
    /// DECLARE of a cursor: its name and question.
    Declare(String, String),
    /// FETCH: at most so many rows of a cursor.
    Fetch(String, Option<usize>),
    /// CLOSE of a cursor, or of all.
    Close(Option<String>),
    /// Nothing to do, answered by these words.
    Nothing(&'static str),
}

/// A statement within a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Its first byte.
    pub(super) from: usize,
    /// The statement.
    pub(super) text: &'a str,
}

/// Most statements in one text.
const PARTS_MAX: usize = 1_000;

/// The statements of `text`, without empty ones.
pub(super) fn split(text: &str) -> Result<Vec<Part<'_>>, Failure> {
    let mut parts = Vec::new();
    let (mut from, mut is_blank) = (0, true);
    let mut end = |from: usize, to: usize, is_blank: bool| {
        if !is_blank {
            let text = &text[from..to];
            let skipped = text.len() - text.trim_start().len();
            parts.push(Part { from: from + skipped, text: text.trim() });
        }
    };
    for lexeme in lex(text) {
        match lexeme.piece {
            Piece::Space | Piece::Comment => {}
            Piece::End => {
                end(from, lexeme.from, is_blank);
                (from, is_blank) = (lexeme.to, true);
            }
            _ => is_blank = false,
        }
    }
    end(from, text.len(), is_blank);
    if parts.len() > PARTS_MAX {
        let message = format!("{} statements in one text; at most {PARTS_MAX} are allowed", parts.len());
        return Err(Failure::refused("54001", message));
    }
    Ok(parts)
}

impl Command {
    /// Reads a statement.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let mut words = Words::new(text);
        let Some((Piece::Word | Piece::Sign, verb, _)) = words.next() else {
            return Ok(question(text, "SELECT"));
        };
        let verb = verb.to_ascii_lowercase();
        Ok(match verb.as_str() {
            "set" => return set(words),
            "reset" if words.take("all") => Self::ResetAll,
            "reset" => Self::Set(setting_name(&mut words)?, None),
            "show" => show(text, words),
            "begin" => Self::Begin("BEGIN"),
            "start" if words.take("transaction") => Self::Begin("START TRANSACTION"),
            "commit" | "end" => Self::Commit,
            "abort" => Self::Rollback,
            "rollback" => {
                let _ = words.take_any(&["work", "transaction"]);
                if words.take("to") { Self::RollbackTo } else { Self::Rollback }
            }
            "savepoint" => Self::Savepoint("SAVEPOINT"),
            "release" => Self::Savepoint("RELEASE"),
            "discard" if words.take("all") => Self::Discard,
            "discard" => Self::Nothing("DISCARD"),
            "deallocate" => {
                words.take("prepare");
                Self::Deallocate(if words.take("all") {
                    None
                } else {
                    Some(needed(&mut words, "a statement")?)
                })
            }
            "close" => {
                Self::Close(if words.take("all") { None } else { Some(needed(&mut words, "a cursor")?) })
            }
            "declare" => return declare(words),
            "fetch" | "move" => return fetch(&verb, words),
            "unlisten" => Self::Nothing("UNLISTEN"),
            "copy" => Self::Copy(copy::parse(text)?),
            "explain" => question(text, "EXPLAIN"),
            "prepare" | "execute" | "listen" | "notify" | "lock" | "call" | "do" => {
                let message =
                    format!("{} is not supported: this server only answers questions", verb.to_uppercase());
                return Err(Failure::refused("0A000", message));
            }
            _ => question(text, "SELECT"),
        })
    }

    /// True if it is allowed in a transaction that has failed.
    pub(super) fn ends_a_failed_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::RollbackTo)
    }
}

fn question(text: &str, tag: &'static str) -> Command {
    Command::Question(text.to_owned(), tag)
}

fn needed(words: &mut Words<'_>, what: &str) -> Result<String, Failure> {
    words
        .name()
        .ok_or_else(|| Failure::refused("42601", format!("syntax error: the name of {what} is missing")))
}

fn setting_name(words: &mut Words<'_>) -> Result<String, Failure> {
    if words.take("time") {
        words.take("zone");
        return Ok("timezone".to_owned());
    }
    needed(words, "a setting")
}

fn set(mut words: Words<'_>) -> Result<Command, Failure> {
    let scope = words.take_any(&["session", "local"]);
    if scope == Some("session") && words.take("characteristics") || words.take("transaction") {
        return Ok(Command::Nothing("SET"));
    }
    if scope == Some("session") && words.take("authorization") || words.take("role") {
        return Err(Failure::refused("0A000", "there are no roles"));
    }
    if words.take("names") {
        return Ok(Command::Set("client_encoding".to_owned(), Some(words.value())));
    }
    let name = setting_name(&mut words)?;
    let _ = words.take_any(&["to", "="]);
    if words.is_empty() {
        return Err(Failure::refused("42601", format!("syntax error: the value of {name} is missing")));
    }
    if words.take("default") {
        Ok(Command::Set(name, None))
    } else {
        Ok(Command::Set(name, Some(words.value())))
    }
}

/// SHOW TABLES and the like are questions.
fn show(text: &str, mut words: Words<'_>) -> Command {
    if words.clone().take_any(&["tables", "columns", "functions", "create", "databases", "schemas"]).is_some()
    {
        return question(text, "SHOW");
    }
    if words.take("time") {
        return Command::Show("timezone".to_owned());
    }
    if words.take("transaction") {
        return Command::Show("transaction_isolation".to_owned());
    }
    words.name().map_or_else(|| question(text, "SHOW"), Command::Show)
}

fn declare(mut words: Words<'_>) -> Result<Command, Failure> {
    let name = needed(&mut words, "a cursor")?;
    let mut is_scrollable = false;
    loop {
        match words.take_any(&[
            "binary",
            "asensitive",
            "insensitive",
            "no",
            "scroll",
            "cursor",
            "with",
            "without",
            "hold",
            "for",
        ]) {
            Some("for") => break,
            Some("binary") => return Err(Failure::refused("0A000", "binary cursors are not supported")),
            Some("no") => drop(words.take("scroll")),
            Some("scroll") => is_scrollable = true,
            Some(_) => {}
            None => {
                return Err(Failure::refused(
                    "42601",
                    "syntax error: expected DECLARE name CURSOR FOR SELECT …",
                ));
            }
        }
    }
    if is_scrollable {
        return Err(Failure::refused("0A000", "cursors only go forward"));
    }
    Ok(Command::Declare(name, words.rest().to_owned()))
}

fn fetch(verb: &str, mut words: Words<'_>) -> Result<Command, Failure> {
    let unsupported =
        || Failure::refused("0A000", "cursors only go forward: FETCH [FORWARD] [number | ALL] FROM name");
    if verb == "move" {
        return Err(unsupported());
    }
    let is_forward = words.take("forward");
    let mut ahead = words.clone();
    let rows = match ahead.next() {
        Some((Piece::Number, number, _)) => {
            let rows = number.parse().map_err(|_| unsupported())?;
            words = ahead;
            Some(rows)
        }
        _ if words.take("all") => None,
        _ if words.take("next") || is_forward => Some(1),
        _ if words
            .clone()
            .take_any(&["prior", "first", "last", "absolute", "relative", "backward", "-"])
            .is_some() =>
        {
            return Err(unsupported());
        }
        _ => Some(1),
    };
    let _ = words.take_any(&["from", "in"]);
    Ok(Command::Fetch(needed(&mut words, "a cursor")?, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Command {
        Command::parse(text).unwrap_or_else(|failure| panic!("{text}: {failure}"))
    }

    fn set(name: &str, value: &str) -> Command {
        Command::Set(name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn statements_of_sessions_are_understood() {
        let name = |name: &str| name.to_owned();
        for (text, command) in [
            ("SET extra_float_digits = 3", set("extra_float_digits", "3")),
            ("set session DateStyle TO 'ISO', mdy", set("datestyle", "ISO, mdy")),
            ("SET LOCAL statement_timeout='5min'", set("statement_timeout", "5min")),
            ("SET TIME ZONE 'UTC'", set("timezone", "UTC")),
            ("set names 'utf8'", set("client_encoding", "utf8")),
            ("set search_path to default", Command::Set(name("search_path"), None)),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Command::Nothing("SET")),
            ("/* c */ BEGIN ISOLATION LEVEL SERIALIZABLE", Command::Begin("BEGIN")),
            ("START TRANSACTION READ ONLY", Command::Begin("START TRANSACTION")),
            ("ROLLBACK TO SAVEPOINT a", Command::RollbackTo),
            ("rollback", Command::Rollback),
            ("END", Command::Commit),
            ("SHOW TRANSACTION ISOLATION LEVEL", Command::Show(name("transaction_isolation"))),
            ("show \"DateStyle\"", Command::Show(name("DateStyle"))),
            ("SHOW TABLES", question("SHOW TABLES", "SHOW")),
            ("DEALLOCATE PREPARE \"S_1\"", Command::Deallocate(Some(name("S_1")))),
            ("DEALLOCATE ALL", Command::Deallocate(None)),
            (
                "DECLARE c NO SCROLL CURSOR WITH HOLD FOR select 1",
                Command::Declare(name("c"), name("select 1")),
            ),
            ("FETCH FORWARD 10 FROM \"c\"", Command::Fetch(name("c"), Some(10))),
            ("FETCH ALL IN c", Command::Fetch(name("c"), None)),
            ("FETCH c", Command::Fetch(name("c"), Some(1))),
            ("(SELECT 1)", question("(SELECT 1)", "SELECT")),
            ("explain select 1", question("explain select 1", "EXPLAIN")),
        ] {
            assert_eq!(parse(text), command, "{text}");
        }
        for wrong in ["SET x", "FETCH PRIOR FROM c", "PREPARE a AS SELECT 1", "DECLARE c SCROLL CURSOR FOR x"]
        {
            assert!(Command::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_text_has_statements_and_places() {
        let text = " select ';' ;; -- nothing\n ; select $$;$$ ";
        let parts = split(text).unwrap();
        assert_eq!(
            parts,
            [
                Part { from: 1, text: "select ';'" },
                Part { from: text.find("select $").unwrap(), text: "select $$;$$" }
            ]
        );
        assert!(split(" ; -- x").unwrap().is_empty());
        assert!(split(&"select 1;".repeat(PARTS_MAX + 1)).is_err());
    }
}

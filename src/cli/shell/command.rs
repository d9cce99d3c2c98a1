//! Commands of the shell: lines that begin with a backslash.

use std::fmt::Write as _;

use super::super::units::text_format;
use crate::error::{Error, Result};
use crate::query::output::Format;

/// Name, argument and purpose of each command, for `\?`.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("\\d", "[TABLE]", "tables and views, or the columns of one"),
    ("\\da", "[PREFIX]", "attributes, and the types of their values"),
    ("\\df", "[PREFIX]", "functions"),
    ("\\x", "[on|off]", "each row as a list of its columns"),
    ("\\timing", "[on|off]", "time of each statement"),
    ("\\format", "[NAME]", "format of the rows: table, json, ndjson, csv"),
    ("\\limit", "[ROWS]", "rows that are shown"),
    ("\\e", "", "edit the last statement with $EDITOR"),
    ("\\i", "FILE", "run the statements of a file"),
    ("\\?", "", "this list"),
    ("\\q", "", "leave"),
];

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Tables,
    Columns(String),
    Attributes(String),
    Functions(String),
    Expanded(Option<bool>),
    Timing(Option<bool>),
    Format(Option<Format>),
    Limit(Option<usize>),
    Edit,
    Run(String),
    Help,
    Leave,
}

impl Command {
    /// Reads a line that begins with a backslash.
    pub(super) fn parse(line: &str) -> Result<Self> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        let command = match name {
            "\\d" | "\\dt" | "\\dv" if argument.is_empty() => Self::Tables,
            "\\d" => Self::Columns(argument.to_owned()),
            "\\da" => Self::Attributes(argument.to_owned()),
            "\\df" => Self::Functions(argument.to_owned()),
            "\\x" => Self::Expanded(switch(name, argument)?),
            "\\timing" => Self::Timing(switch(name, argument)?),
            "\\format" if argument.is_empty() => Self::Format(None),
            "\\format" => Self::Format(Some(text_format(argument)?)),
            "\\limit" if argument.is_empty() => Self::Limit(None),
            "\\limit" => Self::Limit(Some(rows(argument)?)),
            "\\e" => Self::Edit,
            "\\i" if argument.is_empty() => return Err(Error::invalid("\\i needs a file: \\i report.sql")),
            "\\i" => Self::Run(argument.to_owned()),
            "\\?" | "\\h" | "\\help" => Self::Help,
            "\\q" | "\\quit" | "\\exit" => Self::Leave,
            _ => return Err(Error::invalid(format!("there is no command {name}: \\? lists the commands"))),
        };
        Ok(command)
    }

    /// The names of the commands.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        COMMANDS.iter().map(|(name, ..)| *name)
    }

    /// The list of commands.
    pub(super) fn help() -> String {
        let mut text = String::new();
        for (name, argument, purpose) in COMMANDS {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{:<20} {purpose}", format!("{name} {argument}"));
        }
        text + "\nStatements end with a semicolon. Tab completes, Ctrl-R searches the history, Ctrl-C ends a statement.\n"
    }
}

fn switch(name: &str, argument: &str) -> Result<Option<bool>> {
    match argument {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(Error::invalid(format!("{name} takes on or off, not {other}"))),
    }
}

fn rows(argument: &str) -> Result<usize> {
    let rows = argument.replace('_', "").parse().ok().filter(|rows| *rows > 0);
    rows.ok_or_else(|| Error::invalid(format!("\\limit takes a number of rows above 0, not {argument}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_their_arguments() {
        let parse = |line| Command::parse(line).unwrap();
        assert_eq!(parse("\\d"), Command::Tables);
        assert_eq!(parse("\\d  spans ;"), Command::Columns("spans".to_owned()));
        assert_eq!(parse("\\x"), Command::Expanded(None));
        assert_eq!(parse("\\timing off"), Command::Timing(Some(false)));
        assert_eq!(parse("\\format csv"), Command::Format(Some(Format::Csv)));
        assert_eq!(parse("\\limit 1_000"), Command::Limit(Some(1000)));
        assert_eq!(parse("\\i a b.sql"), Command::Run("a b.sql".to_owned()));
        for (line, words) in [
            ("\\nothing", "no command \\nothing"),
            ("\\x maybe", "on or off, not maybe"),
            ("\\limit 0", "above 0"),
            ("\\format parquet", "binary"),
            ("\\i", "needs a file"),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert!(error.message().contains(words), "{line}: {error}");
        }
        for name in Command::names() {
            assert!(Command::help().contains(name));
            assert!(
                Command::parse(&format!("{name} x")).is_ok()
                    || ["\\x", "\\timing", "\\format", "\\limit"].contains(&name)
            );
        }
    }
}

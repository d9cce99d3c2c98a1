//! The configuration file: values of command-line options, in TOML.
//!
//! A key is the long name of an option; options of a subcommand stand in a table with its name:
//!
//! ```toml
//! data = "/var/lib/broadloom"
//! log-format = "json"
//! lookup-keys = ["user.id"]
//!
//! [serve]
//! http = "0.0.0.0:8080"
//!
//! [[retention]]                      one --retention option each
//! where = "status = 'error'"
//! keep = "90d"
//! ```
//!
//! The values replace the defaults of the options before the command line is parsed. So the command line overrides
//! the environment, the environment the file, and the file the built-in defaults. The code that checks options also
//! checks the file, and a new option can be set in the file without a change here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};

/// Path of the configuration file: from `--config FILE`, else from `environment` (the variable's value).
pub(super) fn path(arguments: &[OsString], environment: Option<OsString>) -> Option<PathBuf> {
    let mut rest = arguments.iter().skip(1).take_while(|a| *a != "--");
    while let Some(argument) = rest.next() {
        if argument == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|a| a.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    environment.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Returns `command` with the values of the file at `path` as the defaults of its options.
pub(super) fn apply(command: Command, path: &Path) -> Result<Command> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::from(e).context(format!("cannot read the configuration file {}", path.display()))
    })?;
    apply_text(command, &text).map_err(|e| e.context(path.display()))
}

fn apply_text(mut command: Command, text: &str) -> Result<Command> {
    let file = DeTable::parse(text).map_err(|e| Error::invalid(e.to_string().trim_end()))?;
    for (key, value) in file.get_ref() {
        let line = line_of(text, key.span().start);
        let key = key.get_ref().as_ref();
        let DeValue::Table(table) = value.get_ref() else {
            command = set(command, key, value.get_ref(), line, "")?;
            continue;
        };
        let Some(mut subcommand) = command.find_subcommand(key).cloned() else {
            let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            return Err(unknown(line, "table", key, "", &names));
        };
        for (key_in, value) in table {
            let line = line_of(text, key_in.span().start);
            subcommand = set(subcommand, key_in.get_ref().as_ref(), value.get_ref(), line, key)?;
        }
        command = command.mut_subcommand(key, |_| subcommand);
    }
    Ok(command)
}

/// Returns `command` with `value` as the default of its option `--key`.
fn set(command: Command, key: &str, value: &DeValue<'_>, line: usize, table: &str) -> Result<Command> {
    let flag = |arg: &&Arg| arg.get_long().is_some_and(|long| long == key);
    let Some(id) =
        command.get_arguments().find(flag).map(|arg| arg.get_id().clone()).filter(|id| id != "config")
    else {
        let names: Vec<&str> =
            command.get_arguments().filter_map(Arg::get_long).filter(|name| *name != "config").collect();
        return Err(unknown(line, "key", key, table, &names));
    };
    let values = match value {
        DeValue::Array(items) => items.iter().map(|item| element(item.get_ref())).collect(),
        one => scalar(one).map(|text| vec![text]),
    };
    let values = values.ok_or_else(|| {
        Error::invalid(format!(
            "line {line}: {key} is {}; write a string, a number, true or false",
            value.type_str()
        ))
    })?;
    Ok(command.mut_arg(id, |arg| arg.default_values(values)))
}

/// Text of a list's entry. A table is a retention rule, with `keep` and `where`.
fn element(value: &DeValue<'_>) -> Option<String> {
    let DeValue::Table(table) = value else { return scalar(value) };
    let text = |name: &str| table.get(name).and_then(|value| value.get_ref().as_str());
    let known = table.keys().all(|key| ["keep", "where"].contains(&key.get_ref().as_ref()));
    let keep = text("keep").filter(|_| known)?;
    let condition = text("where");
    Some(condition.map_or(keep.to_owned(), |condition| format!("{keep} where {condition}")))
}

/// Text of a value as it is written on the command line; `None` for lists and tables.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn unknown(line: usize, what: &str, name: &str, table: &str, known: &[&str]) -> Error {
    let place = if table.is_empty() { String::new() } else { format!(" in [{table}]") };
    let nearest =
        known.iter().max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let hint = nearest.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    Error::invalid(format!(
        "line {line}: there is no {what} {name:?}{place}{hint} Known: {}",
        known.join(", ")
    ))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::super::{Cli, Globals};
    use super::*;
    use crate::config::Location;

    fn parse(file: &str, arguments: &[&str]) -> Globals {
        let command = apply_text(Cli::command(), file).unwrap();
        let arguments = [&["broadloom"], arguments].concat();
        Cli::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap().globals
    }

    fn refused(file: &str) -> String {
        apply_text(Cli::command(), file).unwrap_err().to_string()
    }

    #[test]
    fn the_file_stands_below_flags_and_above_what_is_built_in() {
        let file = "data = \"/from/file\"\nlog-format = \"json\"";
        let globals = parse(file, &["query", "select 1"]);
        assert_eq!(globals.data, Location::from("/from/file"));
        let globals = parse(file, &["query", "select 1", "--data", "/from/flag"]);
        assert_eq!(globals.data, Location::from("/from/flag"));
        assert_eq!(parse("", &["query", "select 1"]).data, Location::from("./broadloom-data"));
    }

    #[test]
    fn a_list_is_a_list_in_the_file_and_on_the_command_line() {
        let keys = |file: &str, arguments: &[&str]| {
            parse(file, &[&["query", "select 1"], arguments].concat()).lookup_keys
        };
        let file = "lookup-keys = [\"user.id\", \"order.id\"]";
        assert_eq!(keys(file, &[]), ["user.id", "order.id"]);
        assert_eq!(keys(file, &["--lookup-keys", "a,b"]), ["a", "b"]);
        assert!(keys("", &[]).is_empty());
    }

    #[test]
    fn retention_is_a_list_of_tables_or_of_texts() {
        let keep = |days: u64, condition: Option<&str>| crate::config::RetentionRule {
            condition: condition.map(str::to_owned),
            keep: std::time::Duration::from_hours(24 * days),
        };
        let file =
            "[[retention]]\nwhere = \"status = 'error'\"\nkeep = \"90d\"\n\n[[retention]]\nkeep = \"14d\"";
        let rules = [keep(90, Some("status = 'error'")), keep(14, None)];
        assert_eq!(parse(file, &["query", "select 1"]).retention, rules);
        let file = "retention = [\"90d where status = 'error'\", \"14d\"]";
        assert_eq!(parse(file, &["query", "select 1"]).retention, rules);
        let flags = ["query", "select 1", "--retention", "1d where a", "--retention", "2d"];
        assert_eq!(parse(file, &flags).retention, [keep(1, Some("a")), keep(2, None)]);
        assert!(refused("[[retention]]\nkeeps = \"14d\"").contains("retention is array"));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_and_its_line() {
        let error = refused("# comment\ndatta = \"/x\"");
        assert!(error.contains("line 2") && error.contains("did you mean \"data\""), "{error}");
        let error = refused("[serve]\nhtpt = \"x\"");
        assert!(
            error.contains("line 2") && error.contains("[serve]") && error.contains("\"http\""),
            "{error}"
        );
        let error = refused("[server]\n");
        assert!(error.contains("did you mean \"serve\""), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_shape_is_refused() {
        let error = refused("data = [[1]]");
        assert!(error.contains("data is array"), "{error}");
        assert!(apply_text(Cli::command(), "data = ").is_err());
    }

    #[test]
    fn the_file_is_named_by_the_flag_or_the_environment() {
        let of = |arguments: &[&str], environment: Option<&str>| {
            let arguments: Vec<OsString> = arguments.iter().map(Into::into).collect();
            path(&arguments, environment.map(Into::into)).map(|p| p.display().to_string())
        };
        assert_eq!(of(&["b", "serve", "--config", "a"], Some("e")).as_deref(), Some("a"));
        assert_eq!(of(&["b", "--config=a", "serve"], None).as_deref(), Some("a"));
        assert_eq!(of(&["b", "serve"], Some("e")).as_deref(), Some("e"));
        assert_eq!(of(&["b", "import", "--", "--config", "a"], Some("")), None);
    }
}

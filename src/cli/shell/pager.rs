//! Long results are shown by a pager: `$PAGER`, else `less`, if the text has more lines than the terminal.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::Result;

/// Options of `less` if the user sets none: leave at once if all fits, keep colours, cut long lines, leave the screen.
const LESS: &str = "FRSX";

/// Shows `text` on stdout, through a pager if it `may_page`.
pub(super) fn show(text: &str, may_page: bool) -> Result<()> {
    let is_long = may_page
        && crossterm::terminal::size().is_ok_and(|(_, rows)| text.lines().count() >= usize::from(rows));
    if is_long && page(text) {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Returns false if there is no pager.
fn page(text: &str) -> bool {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less".to_owned());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", LESS);
    }
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // A pager that was left early does not read the rest.
        let _ = stdin.write_all(text.as_bytes());
    }
    let _ = child.wait();
    true
}

//! A finding: what was looked at, what was found, and what to do.

use nu_ansi_term::Color;
use serde::Serialize;

use super::super::draw::Screen;
use super::super::draw::text::{left, line};

/// Outcome of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warn,
    Fail,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Name of what was looked at.
    pub(super) check: &'static str,
    pub(super) state: State,
    /// Facts, for people.
    pub(super) found: String,
    /// Steps that help; none if all is well.
    pub(super) advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), advice: None }
    }

    /// It works, and may not for long, or not as expected.
    pub(super) fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    /// It does not work.
    pub(super) fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Fail, found: found.into(), advice: Some(advice.into()) }
    }

    /// One line, and another with the advice.
    pub(super) fn draw(&self, screen: &Screen) -> String {
        let (word, colour) = match self.state {
            State::Ok => ("ok  ", Color::Green),
            State::Warn => ("warn", Color::Yellow),
            State::Fail => ("fail", Color::Red),
        };
        let word = screen.paint(colour.bold(), word);
        let advice = self.advice.as_deref().map(|advice| format!("{}→ {}\n", " ".repeat(17), line(advice)));
        format!("{word} {} {}\n{}", left(self.check, 11), line(&self.found), advice.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_advice_below() {
        let screen = Screen { width: 80, height: 24, has_colours: false, zone: "UTC".parse().unwrap() };
        assert_eq!(Finding::ok("disk", "9 GiB").draw(&screen), "ok   disk        9 GiB\n");
        assert_eq!(
            Finding::fail("disk", "full", "free some").draw(&screen),
            "fail disk        full\n                 → free some\n"
        );
    }
}

//! How are rows drawn in a terminal?
//!
//! [`Screen`] knows the width, the colours and the time zone. [`text`] cuts texts to a width, [`bar`] draws shares and
//! spans of time, [`units`] writes durations, numbers and times, [`row`] reads values of rows.

pub(super) mod bar;
pub(super) mod row;
pub(super) mod text;
pub(super) mod units;

use std::io::IsTerminal;

use nu_ansi_term::{Color, Style};

use units::Zone;

/// Width where no terminal tells one.
const WIDTH: usize = 100;
/// Height where no terminal tells one.
const HEIGHT: usize = 40;
/// Narrower terminals show lines that wrap.
const WIDTH_MIN: usize = 40;

/// The terminal that is drawn on.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    /// Columns.
    pub(super) width: usize,
    /// Lines.
    pub(super) height: usize,
    /// True if text may have colours.
    pub(super) has_colours: bool,
    /// Zone of times.
    pub(super) zone: Zone,
}

impl Screen {
    /// The terminal on stdout; without one, lines of `$COLUMNS` columns, else 100, without colours.
    pub(super) fn of_stdout(zone: Zone) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_terminal = std::io::stdout().is_terminal();
        let (width, height) = match crossterm::terminal::size() {
            Ok((width, height)) if is_terminal && width > 0 => (usize::from(width), usize::from(height)),
            _ => (set("COLUMNS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(WIDTH), HEIGHT),
        };
        let has_colours =
            is_terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb");
        Self { width: width.max(WIDTH_MIN), height, has_colours, zone }
    }

    /// The same terminal with the size that it has now.
    pub(super) fn resized(&self) -> Self {
        Self::of_stdout(self.zone.clone())
    }

    /// `text` in `style`, if there are colours.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        if self.has_colours && style != Style::new() {
            style.paint(text).to_string()
        } else {
            text.to_owned()
        }
    }

    /// `text` in bold.
    pub(super) fn bold(&self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// `text` in a weak colour.
    pub(super) fn weak(&self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// `text` in red.
    pub(super) fn red(&self, text: &str) -> String {
        self.paint(Color::Red.normal(), text)
    }
}

/// Style of a level of severity, by its number.
pub(super) fn style_of_severity(number: i64) -> Style {
    match number {
        17.. => Color::Red.bold(),
        13..17 => Color::Yellow.normal(),
        9..13 => Color::Green.normal(),
        _ => Style::new().dimmed(),
    }
}

/// Colour of a name: the same for the same name.
pub(super) fn style_of_name(name: &str) -> Style {
    // Not red and yellow, which mean errors and warnings.
    const COLOURS: [Color; 5] = [Color::Cyan, Color::Blue, Color::Purple, Color::Green, Color::LightBlue];
    COLOURS[crc32c::crc32c(name.as_bytes()) as usize % COLOURS.len()].normal()
}

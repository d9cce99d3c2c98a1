//! Keeps the terminal while the table is live: the other screen, keys one by one, and all of it given back at the end.

use std::io::Write;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::ask::Desk;
use super::super::draw::Screen;
use super::super::draw::text::cut;
use super::table::Table;
use super::{Sort, TopArgs, ask};
use crate::error::{Error, Result};

/// Longest wait for a key until the end of the session is seen.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// Keys that may wait to be handled.
const KEYS_MAX: usize = 16;
/// Lines that are not groups.
const OTHER_LINES: usize = 4;

/// An input that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Sort(Sort),
    Resize,
    Leave,
}

/// Shows the table again and again until the user leaves.
pub(super) async fn run(desk: &Desk, args: &TopArgs) -> Result<()> {
    // The first answer comes before the screen changes, so that an error is shown where the command was typed.
    let mut shown = ask(desk, args, args.sort).await?;
    let _terminal = Terminal::take()?;
    let mut inputs = inputs();
    let (mut sort, mut shown_by) = (args.sort, args.sort);
    let mut failure = None;
    loop {
        draw(&desk.screen.resized(), &shown, failure.as_ref())?;
        // A key that came during the answer does not wait for the next one.
        let pause = if sort == shown_by { args.interval.max(KEY_WAIT) } else { Duration::ZERO };
        let next = tokio::time::sleep(pause);
        tokio::select! {
            input = inputs.recv() => match input {
                None | Some(Input::Leave) => return Ok(()),
                Some(Input::Resize) => continue,
                Some(Input::Sort(by)) => sort = by,
            },
            () = next => {}
        }
        shown_by = sort;
        let answer = tokio::select! {
            answer = ask(desk, args, shown_by) => answer,
            () = left(&mut inputs, &mut sort) => return Ok(()),
        };
        match answer {
            Ok(table) => (shown, failure) = (table, None),
            Err(error) if error.kind().is_retryable() => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
}

/// Returns when the user leaves; keeps the order that is wanted meanwhile.
async fn left(inputs: &mut Receiver<Input>, sort: &mut Sort) {
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Sort(by) => *sort = by,
            Input::Resize => {}
            Input::Leave => return,
        }
    }
}

fn draw(screen: &Screen, table: &Table, failure: Option<&Error>) -> Result<()> {
    let mut text = table.draw(screen, screen.height.saturating_sub(OTHER_LINES));
    let foot = match failure {
        Some(error) => screen.red(&cut(&error.chain(), screen.width)),
        None => screen.weak("e errors  r rate  p p99  q leave"),
    };
    text += &foot;
    let mut out = std::io::stdout().lock();
    for (i, line) in text.lines().enumerate() {
        let row = u16::try_from(i).unwrap_or(u16::MAX);
        queue!(out, MoveTo(0, row))?;
        out.write_all(line.as_bytes())?;
        queue!(out, Clear(ClearType::UntilNewLine))?;
    }
    queue!(out, Clear(ClearType::FromCursorDown))?;
    Ok(out.flush()?)
}

/// Inputs of the user, read by a thread that ends when nobody takes them.
fn inputs() -> Receiver<Input> {
    let (sender, receiver) = channel(KEYS_MAX);
    std::thread::spawn(move || read(&sender));
    receiver
}

fn read(sender: &Sender<Input>) {
    while !sender.is_closed() {
        let input = match event::poll(KEY_WAIT) {
            Ok(false) => continue,
            Ok(true) => event::read().ok().and_then(|event| meaning(&event)),
            // The terminal is gone.
            Err(_) => Some(Input::Leave),
        };
        if let Some(input) = input
            && sender.blocking_send(input).is_err()
        {
            return;
        }
    }
}

fn meaning(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(..) => Some(Input::Resize),
        Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => match code {
            KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Some(Input::Leave),
            KeyCode::Char('q') | KeyCode::Esc => Some(Input::Leave),
            KeyCode::Char('e') => Some(Input::Sort(Sort::Errors)),
            KeyCode::Char('r') => Some(Input::Sort(Sort::Rate)),
            KeyCode::Char('p') => Some(Input::Sort(Sort::P99)),
            _ => None,
        },
        _ => None,
    }
}

/// The terminal in raw mode, on its other screen, until this is dropped.
struct Terminal;

impl Terminal {
    fn take() -> Result<Self> {
        enable_raw_mode()?;
        let terminal = Self;
        execute!(std::io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(terminal)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone need not be restored.
        let _ = execute!(std::io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_and_leave() {
        let key = |c, modifiers| meaning(&Event::Key(KeyEvent::new(KeyCode::Char(c), modifiers)));
        assert_eq!(key('p', KeyModifiers::NONE), Some(Input::Sort(Sort::P99)));
        assert_eq!(key('c', KeyModifiers::CONTROL), Some(Input::Leave));
        assert_eq!(key('c', KeyModifiers::NONE), None);
        assert_eq!(key('q', KeyModifiers::NONE), Some(Input::Leave));
    }
}

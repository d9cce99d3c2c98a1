//! Which faults does a simulation inject, and when?
//!
//! All parts of a simulation share one [`Chaos`]. It has the only source of randomness, so a seed repeats a run
//! exactly; and it has the trace of all operations, which a failing run prints.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Randomness, faults and trace of one simulation. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Chaos {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: ChaCha8Rng,
    /// By kind of fault: one in this many operations fails. Other kinds do not happen.
    one_in: BTreeMap<&'static str, u32>,
    active: bool,
    injected: BTreeMap<&'static str, u64>,
    trace: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    what: &'static str,
    path: PathBuf,
    more: String,
}

impl Chaos {
    /// Starts with the randomness of `seed`, and without faults.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            random: ChaCha8Rng::seed_from_u64(seed),
            one_in: BTreeMap::new(),
            active: true,
            injected: BTreeMap::new(),
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Makes one in `one_in` operations fail with this fault, from now on.
    pub(crate) fn set(&self, fault: &'static str, one_in: u32) {
        self.state.lock().one_in.insert(fault, one_in);
    }

    /// Enables or disables all faults.
    pub(crate) fn activate(&self, active: bool) {
        self.state.lock().active = active;
    }

    /// Returns true if the current operation must fail with this fault.
    pub(crate) fn strikes(&self, fault: &'static str) -> bool {
        let mut state = self.state.lock();
        let Some(one_in) = state.one_in.get(fault).copied().filter(|_| state.active) else { return false };
        let strikes = state.random.random_ratio(1, one_in);
        if strikes {
            *state.injected.entry(fault).or_default() += 1;
            state.trace.push(Line { what: "FAULT", path: PathBuf::new(), more: fault.to_owned() });
        }
        strikes
    }

    /// Counts a deliberate event, such as a crash.
    pub(crate) fn count(&self, what: &'static str) {
        *self.state.lock().injected.entry(what).or_default() += 1;
    }

    /// Returns a random number below `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        self.state.lock().random.random_range(0..end.max(1))
    }

    /// Returns true in one of `n` cases, at random.
    pub(crate) fn one_in(&self, n: u32) -> bool {
        self.state.lock().random.random_ratio(1, n)
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&self, what: &'static str, path: &Path, more: impl Into<String>) {
        self.state.lock().trace.push(Line { what, path: path.to_owned(), more: more.into() });
    }

    /// Number of injected faults, by kind.
    pub(crate) fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().injected.clone()
    }

    /// Returns the trace as text, one line per operation. Ids are random and differ from run to run, so they are
    /// numbered in order of first appearance.
    pub(crate) fn trace(&self) -> String {
        let (mut text, mut names) = (String::new(), HashMap::new());
        for Line { what, path, more } in &self.state.lock().trace {
            let line = format!("{what} {} {more}", path.display());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", numbered(&line, &mut names));
        }
        text
    }
}

/// Replaces the ids in `line` by numbers.
fn numbered(line: &str, names: &mut HashMap<String, usize>) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit() || c == '#') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let digits = rest[1..].find(|c: char| !c.is_ascii_hexdigit()).map_or(rest.len(), |end| end + 1);
        let word = &rest[..digits];
        if word.len() == 32 || (word.starts_with('#') && word.len() > 1) {
            let next = names.len();
            let number = names.entry(word.to_owned()).or_insert(next);
            let _ = write!(out, "<{number}>");
        } else {
            out.push_str(word);
        }
        rest = &rest[digits..];
    }
    out + rest
}

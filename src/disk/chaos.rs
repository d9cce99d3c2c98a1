//! What goes wrong, and when? Decided by seed; and a record of everything that happened.
//!
//! Everything simulated shares one [`Chaos`]: it has the only source of randomness, so that a seed repeats a
//! run exactly, and the trace, which a failing run prints.

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
    /// One in so many operations fails, by kind of fault; kinds that are not here do not happen.
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
    /// All randomness of `seed`, and no faults yet.
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

    /// From now on one in `one_in` operations that can go wrong in this way does.
    pub(crate) fn set(&self, fault: &'static str, one_in: u32) {
        self.state.lock().one_in.insert(fault, one_in);
    }

    /// Lets faults happen, or keeps them from happening.
    pub(crate) fn activate(&self, active: bool) {
        self.state.lock().active = active;
    }

    /// Whether an operation that can go wrong in this way does so now.
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

    /// Counts something that was done on purpose, such as a crash.
    pub(crate) fn count(&self, what: &'static str) {
        *self.state.lock().injected.entry(what).or_default() += 1;
    }

    /// A number below `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        self.state.lock().random.random_range(0..end.max(1))
    }

    /// True in one of `n` cases.
    pub(crate) fn one_in(&self, n: u32) -> bool {
        self.state.lock().random.random_ratio(1, n)
    }

    /// Notes what happens.
    pub(crate) fn note(&self, what: &'static str, path: &Path, more: impl Into<String>) {
        self.state.lock().trace.push(Line { what, path: path.to_owned(), more: more.into() });
    }

    /// Faults that were injected, by kind.
    pub(crate) fn injected(&self) -> BTreeMap<&'static str, u64> {
        self.state.lock().injected.clone()
    }

    /// All that happened, a line each. Ids are random and differ from run to run: they are numbered in the
    /// order in which they first appear.
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

/// `line` with ids replaced by numbers.
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

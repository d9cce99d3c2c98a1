//! Which tree does a question mean?
//!
//! Whatever language a question is written in, it becomes one syntax tree of SQL, which the resolver then gives
//! meaning to. [`parse`] makes trees of SQL text, [`build`] has the parts of trees that code makes. A tree
//! prints as SQL, and that text means the same.
//!
//! Everything that walks, prints or drops a tree recurses over it. So no tree is deeper than what the longest
//! statement can nest: [`parse`] counts the tokens of a text before it makes a tree, and a [`Tree`] that did not
//! come from text is measured when it is made. Recursion over such trees fits [`with_stack`].
//!
//! Nothing here knows which names exist, and nothing here knows DataFusion's plans.

mod ask;
pub(crate) mod build;
mod dismantle;
mod parse;
mod tree;

pub use ask::Ask;
pub(crate) use parse::{parse, parse_condition};
pub use tree::Tree;

/// Stack for the deepest tree that is let through; memory that is not touched is not used.
const STACK_BYTES: usize = 64 << 20;

/// A stack with less left than this is not enough.
const STACK_MIN_BYTES: usize = 32 << 20;

/// Runs `work`, which recurses over a tree, with enough stack.
pub(crate) fn with_stack<R>(work: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(STACK_MIN_BYTES, STACK_BYTES, work)
}

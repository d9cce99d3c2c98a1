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

pub(crate) use crate::maintenance::with_stack;
pub use ask::Ask;
pub(crate) use parse::{parse, parse_condition};
pub use tree::Tree;

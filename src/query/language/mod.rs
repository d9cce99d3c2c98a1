//! How does a question become a syntax tree?
//!
//! A question in any language becomes one syntax tree of SQL, which the resolver works on. [`parse`] parses SQL
//! text, [`build`] has the builders for trees made by code. A tree prints as SQL of the same meaning.
//!
//! Code that walks, prints or drops a tree recurses over it, so the depth of every tree is limited: [`parse`]
//! counts the tokens of a text before it builds a tree, and a [`Tree`] built by code is measured when it is
//! created. Recursion over a tree within the limit fits the stack of [`with_stack`].
//!
//! Nothing here knows which names exist, or DataFusion's plans.

mod ask;
pub(crate) mod build;
mod dismantle;
pub(crate) mod lex;
mod parse;
mod tree;

pub(crate) use crate::maintenance::with_stack;
pub use ask::Ask;
#[cfg(feature = "postgres")]
pub(crate) use parse::parse_postgres;
pub(crate) use parse::{parse, parse_condition, parse_with_settings, setting, switch};
pub use tree::Tree;

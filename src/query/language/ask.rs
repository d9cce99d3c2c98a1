//! The statement of a question: SQL text or a syntax tree.

use std::fmt;

use super::Tree;

/// The statement of a question: text or tree. Prints as SQL.
#[derive(Debug, Clone)]
pub enum Ask {
    /// One statement as text.
    Sql(String),
    /// A query as a syntax tree.
    Query(Tree),
    /// A statement whose aggregates estimate what sampling left out, unless its text says otherwise:
    /// `SET weighted = on`.
    Weighted(Box<Ask>),
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(sql) => f.write_str(sql),
            Self::Query(tree) => write!(f, "{tree}"),
            Self::Weighted(ask) => write!(f, "SET weighted = on; {ask}"),
        }
    }
}

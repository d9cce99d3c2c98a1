//! Which columns does each relation of a statement show, and which can be demanded from it?
//!
//! Each relation is a node. An **open** node shows more than its columns: a demand for an attribute passes
//! through its sources down to the base table, and the node shows the attribute as an additional, hidden
//! column. These are open: the base table; a `SELECT` with a wildcard over an open relation, unless an
//! additional column would change its rows (`DISTINCT`, grouping); and `UNION ALL` of open branches.

use std::collections::BTreeSet;

use super::table_name::attribute_column;
use crate::event::schema;

/// True if the table of events has a column `name` independently of its attributes. `typed_attributes` is one:
/// all attributes of an event as JSON, each with its type.
pub(super) fn is_core(name: &str) -> bool {
    schema::core_index(name).is_some() || name == schema::TYPED_ATTRIBUTES
}

/// Index of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub(super) usize);

/// A column that an open relation shows only on demand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Hidden {
    /// A core column, or `typed_attributes`, that `*` does not show.
    Core(String),
    /// An attribute, by its SQL name.
    Attribute(String),
}

impl Hidden {
    /// Name of the column in the plan.
    pub(super) fn column(&self) -> String {
        match self {
            Self::Core(name) => name.clone(),
            Self::Attribute(key) => attribute_column(key),
        }
    }
}

/// An open relation that a wildcard of a `SELECT` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StarSource {
    pub(super) alias: String,
    pub(super) node: NodeId,
}

#[derive(Debug)]
pub(super) enum Node {
    /// The table `events`.
    Base,
    /// A `SELECT`; open if it has sources. `blocked` are core columns that its wildcard leaves out.
    Select { columns: Vec<String>, sources: Vec<StarSource>, blocked: Vec<String> },
    /// `UNION ALL` of open branches.
    Union { columns: Vec<String>, branches: [NodeId; 2] },
    /// A fixed list of columns.
    Closed { columns: Vec<String> },
    /// Columns that only the planner knows.
    Opaque,
}

/// Error of a demand through a wildcard that reads several open relations, whose aliases it holds.
#[derive(Debug)]
pub(super) struct SeveralSources(pub(super) Vec<String>);

/// All nodes of a statement, with the columns demanded from each.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<(Node, BTreeSet<Hidden>)>,
}

impl Nodes {
    pub(super) fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push((node, BTreeSet::new()));
        NodeId(self.nodes.len() - 1)
    }

    pub(super) fn get(&self, id: NodeId) -> &Node {
        &self.nodes[id.0].0
    }

    pub(super) fn demanded(&self, id: NodeId) -> &BTreeSet<Hidden> {
        &self.nodes[id.0].1
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_open(&self, id: NodeId) -> bool {
        match self.get(id) {
            Node::Base | Node::Union { .. } => true,
            Node::Select { sources, .. } => !sources.is_empty(),
            Node::Closed { .. } | Node::Opaque => false,
        }
    }

    pub(super) fn is_opaque(&self, id: NodeId) -> bool {
        matches!(self.get(id), Node::Opaque)
    }

    /// True if the relation declares a column of exactly this name.
    pub(super) fn declares(&self, id: NodeId, name: &str) -> bool {
        match self.get(id) {
            Node::Base => name == schema::ATTRIBUTES || is_core(name),
            Node::Select { columns, .. } | Node::Union { columns, .. } | Node::Closed { columns } => {
                columns.iter().any(|c| c == name)
            }
            Node::Opaque => false,
        }
    }

    /// Columns that `*` shows; `None` if only the planner knows them.
    pub(super) fn star(&self, id: NodeId) -> Option<Vec<String>> {
        match self.get(id) {
            Node::Base => {
                let shown =
                    schema::core_columns().iter().filter(|c| c.in_star).map(|c| c.field.name().clone());
                Some(shown.chain([schema::ATTRIBUTES.to_owned()]).collect())
            }
            Node::Select { columns, .. } | Node::Union { columns, .. } | Node::Closed { columns } => {
                Some(columns.clone())
            }
            Node::Opaque => None,
        }
    }

    /// True if the relation can show the core column `name` without declaring it.
    pub(super) fn offers_core(&self, id: NodeId, name: &str) -> bool {
        is_core(name) && self.offers(id, name)
    }

    fn offers(&self, id: NodeId, name: &str) -> bool {
        match self.get(id) {
            Node::Base => true,
            Node::Select { sources, blocked, .. } => {
                !blocked.iter().any(|b| b == name) && sources.iter().any(|s| self.offers(s.node, name))
            }
            Node::Union { branches, .. } => branches.iter().all(|b| self.offers(*b, name)),
            Node::Closed { .. } | Node::Opaque => false,
        }
    }

    /// Makes an open relation show a hidden column.
    pub(super) fn demand(&mut self, id: NodeId, hidden: &Hidden) -> Result<(), SeveralSources> {
        let next: Vec<NodeId> = match self.get(id) {
            Node::Base | Node::Closed { .. } | Node::Opaque => Vec::new(),
            Node::Union { branches, .. } => branches.to_vec(),
            Node::Select { sources, .. } => match sources.as_slice() {
                [source] => vec![source.node],
                several => return Err(SeveralSources(several.iter().map(|s| s.alias.clone()).collect())),
            },
        };
        for node in next {
            // A core column that the source declares needs no demand there.
            if !matches!(hidden, Hidden::Core(name) if self.declares(node, name)) {
                self.demand(node, hidden)?;
            }
        }
        self.nodes[id.0].1.insert(hidden.clone());
        Ok(())
    }
}

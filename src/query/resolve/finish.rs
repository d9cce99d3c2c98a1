//! The second pass: when all demands are known, each occurrence of the base table gets the name that carries
//! its attributes, and each open SELECT its hidden columns.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, SelectItem, VisitMut, VisitorMut};

use super::node::{Hidden, Node, NodeId, Nodes};
use super::relation::placeholder_node;
use super::scope::column;
use super::table_name::encode_table_name;

/// Replaces the placeholders that the first pass left.
pub(super) fn finish(query: &mut Query, nodes: &Nodes) {
    let _ = query.visit(&mut Finish { nodes });
}

struct Finish<'a> {
    nodes: &'a Nodes,
}

impl Finish<'_> {
    fn node(&self, ident: &Ident) -> Option<NodeId> {
        placeholder_node(ident).filter(|node| node.0 < self.nodes.len())
    }
}

impl VisitorMut for Finish<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let ident = relation.0.first().and_then(|part| part.as_ident());
        if let Some(node) = ident.and_then(|i| self.node(i)) {
            let keys: Vec<String> = attributes(self.nodes, node);
            *relation = vec![Ident::with_quote('"', encode_table_name(&keys))].into();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let Some(SelectItem::UnnamedExpr(Expr::Identifier(ident))) = select.projection.last()
            && let Some(node) = self.node(ident)
        {
            select.projection.pop();
            if let Node::Select { sources, .. } = self.nodes.get(node)
                && let Some(source) = sources.first()
            {
                let hidden = self.nodes.demanded(node).iter();
                let columns = hidden.map(|h| SelectItem::UnnamedExpr(column(&source.alias, h.column())));
                select.projection.extend(columns);
            }
        }
        ControlFlow::Continue(())
    }
}

fn attributes(nodes: &Nodes, node: NodeId) -> Vec<String> {
    nodes
        .demanded(node)
        .iter()
        .filter_map(|hidden| match hidden {
            Hidden::Attribute(key) => Some(key.clone()),
            Hidden::Core(_) => None,
        })
        .collect()
}

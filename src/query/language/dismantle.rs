//! How is a tree dropped that is too deep for a recursive drop?
//!
//! Dropping a tree recurses over it. So it is cut into pieces of at most [`PIECE_DEPTH`] levels first, and
//! these are dropped one by one.

use std::mem::replace;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, SetExpr, TableFactor, Value, VisitMut, VisitorMut};

use super::build;
use super::with_stack;

/// Depth at which a piece is cut off.
const PIECE_DEPTH: usize = 100;

/// Drops `query`, however deep it is.
pub(super) fn dismantle(query: Query) {
    with_stack(|| {
        let mut scissors = Scissors { depth: 0, pieces: vec![Expr::Subquery(Box::new(query))] };
        while let Some(mut piece) = scissors.pieces.pop() {
            scissors.depth = 0;
            let _ = piece.visit(&mut scissors);
        }
    });
}

struct Scissors {
    depth: usize,
    /// Pieces that were cut off.
    pieces: Vec<Expr>,
}

impl Scissors {
    fn cut_query(&mut self, query: Query) {
        self.pieces.push(Expr::Subquery(Box::new(query)));
    }

    fn leave(&mut self) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Scissors {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > PIECE_DEPTH {
            let cut = replace(query, build::no_rows());
            self.cut_query(cut);
        } else if matches!(*query.body, SetExpr::SetOperation { .. }) {
            let mut bodies = vec![*replace(&mut query.body, build::no_rows().body)];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::SetOperation { left, right, .. } => bodies.extend([*left, *right]),
                    other => self.cut_query(build::query(other)),
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > PIECE_DEPTH {
            let cut = replace(factor, build::table(""));
            self.cut_query(build::query_of(build::select_all(cut)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, _: &mut TableFactor) -> ControlFlow<()> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > PIECE_DEPTH {
            let nothing = Expr::Value(Value::Null.with_empty_span());
            self.pieces.push(replace(expr, nothing));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<()> {
        self.leave()
    }
}

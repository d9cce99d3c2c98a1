//! Syntax trees that code has built, limited in depth.
//!
//! Text that would become too deep a tree is refused before it is parsed. A tree built by code is measured here
//! instead, by a visitor that descends no further than the limit.

use std::fmt;
use std::mem::replace;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use datafusion::sql::parser::Statement;
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Query, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor,
};

use super::build;
use super::dismantle::dismantle;
use super::parse::{OPERATORS_MAX, check_operators};
use super::with_stack;
use crate::error::{Error, Result};

/// Largest depth of a tree: about that of the deepest tree from text, which nests operators, comparisons, and
/// other levels.
const DEPTH_MAX: usize = 2 * OPERATORS_MAX + 500;

/// Largest depth of a type, such as lists of lists.
const TYPE_DEPTH_MAX: usize = 50;

/// A query as a syntax tree of limited depth. Prints as SQL; cheap to clone.
#[derive(Clone)]
pub struct Tree {
    query: Arc<Query>,
}

/// A query without rows, which replaces a tree that was taken out.
static EMPTY: LazyLock<Arc<Query>> = LazyLock::new(|| Arc::new(build::no_rows()));

impl Tree {
    /// Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when `query` is nested too deeply, has too many
    /// operators, or has parts that questions do not support.
    pub fn new(query: Query) -> Result<Self> {
        match with_stack(|| measure(&query)) {
            Ok(()) => Ok(Self { query: Arc::new(query) }),
            Err(error) => {
                dismantle(query);
                Err(error)
            }
        }
    }

    /// Returns the tree as a statement. Code that recurses over it needs [`with_stack`].
    pub(crate) fn into_statement(mut self) -> Statement {
        let query = Arc::unwrap_or_clone(replace(&mut self.query, Arc::clone(&EMPTY)));
        Statement::Statement(Box::new(SqlStatement::Query(Box::new(query))))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let query = replace(&mut self.query, Arc::clone(&EMPTY));
        with_stack(|| drop(query));
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_stack(|| write!(f, "{}", self.query))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({self})")
    }
}

fn measure(query: &Query) -> Result<()> {
    let mut size = Size::default();
    match query.visit(&mut size) {
        ControlFlow::Continue(()) => check_operators(size.operators, size.comparisons),
        ControlFlow::Break(error) => Err(*error),
    }
}

#[derive(Default)]
struct Size {
    depth: usize,
    operators: usize,
    comparisons: usize,
}

impl Size {
    fn enter(&mut self) -> ControlFlow<Box<Error>> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return refuse(format!("the statement is nested more than {DEPTH_MAX} levels deep"));
        }
        ControlFlow::Continue(())
    }

    fn leave(&mut self) -> ControlFlow<Box<Error>> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn refuse(message: String) -> ControlFlow<Box<Error>> {
    ControlFlow::Break(Box::new(Error::invalid(message)))
}

impl Visitor for Size {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Box<Error>> {
        if !query.pipe_operators.is_empty() {
            return refuse("pipe operators (|>) are not supported".to_owned());
        }
        // Set operations nest without queries between them, so the visitor does not see their depth.
        let (mut bodies, mut operations) = (vec![query.body.as_ref()], 0);
        while let Some(body) = bodies.pop() {
            if let SetExpr::SetOperation { left, right, .. } = body {
                operations += 1;
                bodies.extend([left.as_ref(), right.as_ref()]);
            }
            if operations > OPERATORS_MAX {
                break;
            }
        }
        self.operators += operations;
        if operations > OPERATORS_MAX {
            return ControlFlow::Break(Box::new(too_many_operators(self.operators)));
        }
        self.enter()
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Box<Error>> {
        self.leave()
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Box<Error>> {
        let (TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. }) = factor
        else {
            return refuse("a relation in FROM is not a table, a function, a subquery or a join".to_owned());
        };
        let columns = alias.iter().flat_map(|alias| &alias.columns);
        if columns.filter_map(|column| column.data_type.as_ref()).any(is_deep) {
            return refuse(deep_type());
        }
        self.enter()
    }

    fn post_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<Box<Error>> {
        self.leave()
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Box<Error>> {
        match role(expr) {
            Role::Operator => self.operators += 1,
            Role::Comparison => self.comparisons += 1,
            Role::Other => {}
        }
        let is_deep = match expr {
            Expr::Cast { data_type, .. } | Expr::Convert { data_type: Some(data_type), .. } => {
                is_deep(data_type)
            }
            Expr::TypedString(typed) => is_deep(&typed.data_type),
            Expr::Struct { fields, .. } => fields.iter().any(|field| is_deep(&field.field_type)),
            _ => false,
        };
        if is_deep {
            return refuse(deep_type());
        }
        self.enter()
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<Box<Error>> {
        self.leave()
    }

    fn pre_visit_statement(&mut self, _: &SqlStatement) -> ControlFlow<Box<Error>> {
        refuse("a statement inside a query must be SELECT, VALUES or TABLE".to_owned())
    }
}

fn too_many_operators(operators: usize) -> Error {
    check_operators(operators, 0).err().unwrap_or_else(|| Error::internal("the operators were not too many"))
}

fn deep_type() -> String {
    format!("a type is nested more than {TYPE_DEPTH_MAX} levels deep")
}

/// True if a type is nested deeper than [`TYPE_DEPTH_MAX`].
fn is_deep(data_type: &DataType) -> bool {
    use sqlparser::ast::ArrayElemTypeDef as Element;
    let mut left = vec![(data_type, 0)];
    while let Some((data_type, depth)) = left.pop() {
        if depth > TYPE_DEPTH_MAX {
            return true;
        }
        let mut below = |inner| left.push((inner, depth + 1));
        match data_type {
            DataType::Array(
                Element::AngleBracket(inner) | Element::SquareBracket(inner, _) | Element::Parenthesis(inner),
            )
            | DataType::Nullable(inner)
            | DataType::LowCardinality(inner) => below(inner),
            DataType::Map(key, value) => {
                below(key);
                below(value);
            }
            DataType::Struct(fields, _) => fields.iter().for_each(|field| below(&field.field_type)),
            DataType::Union(fields) => fields.iter().for_each(|field| below(&field.field_type)),
            _ => {}
        }
    }
    false
}

/// Counting class of an expression; the same as for its tokens in text.
enum Role {
    Operator,
    Comparison,
    Other,
}

fn role(expr: &Expr) -> Role {
    use BinaryOperator as B;
    match expr {
        Expr::BinaryOp { op: B::Eq | B::NotEq | B::Lt | B::Gt | B::LtEq | B::GtEq, .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. }
        | Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::InUnnest { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::SimilarTo { .. }
        | Expr::RLike { .. } => Role::Comparison,
        Expr::UnaryOp { .. }
        | Expr::BinaryOp { .. }
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::IsNormalized { .. }
        | Expr::AtTimeZone { .. }
        | Expr::Collate { .. } => Role::Operator,
        _ => Role::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::language::build::{binary, name, query, query_of, select, select_all, table};
    use sqlparser::ast::{CastKind, SelectItem, SetOperator, SetQuantifier, TableAlias, UnaryOperator};

    const DEEP: usize = 100_000;

    fn selecting(expr: Expr) -> Query {
        query_of(select(vec![SelectItem::UnnamedExpr(expr)], table("events")))
    }

    fn nest<T>(start: T, wrap: impl Fn(T) -> T) -> T {
        (0..DEEP).fold(start, |inner, _| wrap(inner))
    }

    fn derived(query: Query) -> TableFactor {
        let alias = TableAlias { explicit: true, name: "x".into(), columns: Vec::new(), at: None };
        TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None }
    }

    /// Message of the refusal, on the stack of a small thread.
    fn refused(make: impl FnOnce() -> Query + Send + 'static) -> String {
        let run = move || Tree::new(make()).unwrap_err().message().to_owned();
        std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap()
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused_and_dropped_without_recursion() {
        let set = |left: SetExpr| SetExpr::SetOperation {
            left: Box::new(left),
            op: SetOperator::Except,
            set_quantifier: SetQuantifier::None,
            right: Box::new(SetExpr::Select(Box::new(select_all(table("events"))))),
        };
        let one = || SetExpr::Select(Box::new(select_all(table("events"))));
        let of_type = |data_type| {
            selecting(Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(name("x")),
                data_type,
                array: false,
                format: None,
            })
        };
        let makers: Vec<Box<dyn FnOnce() -> Query + Send>> = vec![
            Box::new(|| selecting(nest(name("x"), |x| binary(x, BinaryOperator::Plus, name("y"))))),
            Box::new(|| selecting(nest(name("x"), |x| binary(name("y"), BinaryOperator::Eq, x)))),
            Box::new(|| selecting(nest(name("x"), |x| Expr::Nested(Box::new(x))))),
            Box::new(|| {
                selecting(nest(name("x"), |x| Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(x) }))
            }),
            Box::new(|| selecting(nest(name("x"), |x| Expr::Subquery(Box::new(selecting(x)))))),
            Box::new(|| nest(query_of(select_all(table("events"))), |q| query_of(select_all(derived(q))))),
            Box::new(|| nest(query_of(select_all(table("events"))), |q| query(SetExpr::Query(Box::new(q))))),
            Box::new(move || query(nest(one(), set))),
        ];
        for make in makers {
            let message = refused(make);
            assert!(message.contains("at most 1000") || message.contains("levels deep"), "{message}");
        }
        let list = |inner| DataType::Nullable(Box::new(inner));
        let type_of = |depth: usize| (0..depth).fold(DataType::Real, |inner, _| list(inner));
        assert!(Tree::new(of_type(type_of(TYPE_DEPTH_MAX + 1))).is_err());
        assert!(Tree::new(of_type(type_of(TYPE_DEPTH_MAX))).is_ok());
    }

    #[test]
    fn the_deepest_tree_works_on_a_small_stack() {
        let chain = |n: usize| {
            let sum = (0..n).fold(name("x"), |x, _| Expr::BinaryOp {
                left: Box::new(x),
                op: BinaryOperator::Plus,
                right: Box::new(name("y")),
            });
            selecting(sum)
        };
        let run = move || {
            let tree = Tree::new(chain(OPERATORS_MAX)).unwrap();
            let printed = tree.to_string();
            assert!(format!("{:?}", tree.clone()).contains(&printed));
            assert!(with_stack(|| tree.into_statement().to_string()) == printed);
        };
        std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
        assert!(Tree::new(chain(OPERATORS_MAX + 1)).is_err());
    }
}

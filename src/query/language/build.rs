//! Builders of syntax trees, for code that queries.
//!
//! Names are quoted, so that case and dots are kept. Operands other than names and values are put in
//! parentheses, so that a tree prints as SQL of the same meaning.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    GroupByExpr, Ident, ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Value, Values, WildcardAdditionalOptions,
};

/// The column or attribute `name`.
pub(crate) fn name(name: &str) -> Expr {
    Expr::Identifier(Ident::with_quote('"', name))
}

/// A text.
pub(crate) fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).with_empty_span())
}

/// `left op right`.
pub(crate) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(operand(left)), op, right: Box::new(operand(right)) }
}

/// `expr IN (list)`.
pub(crate) fn one_of(expr: Expr, list: Vec<Expr>) -> Expr {
    Expr::InList { expr: Box::new(operand(expr)), list, negated: false }
}

/// `expr IS TRUE`.
pub(crate) fn is_true(expr: Expr) -> Expr {
    Expr::IsTrue(Box::new(operand(expr)))
}

/// A call of a function by its name.
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: vec![Ident::new(name)].into(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Wraps `expr` in parentheses unless it can stand beside any operator.
pub(crate) fn operand(expr: Expr) -> Expr {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::Nested(_) => expr,
        other => Expr::Nested(Box::new(other)),
    }
}

/// `expr AS alias`.
pub(crate) fn aliased(expr: Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

/// `*`.
pub(crate) fn star() -> SelectItem {
    SelectItem::Wildcard(WildcardAdditionalOptions::default())
}

/// The table or view `name`.
pub(crate) fn table(name: &str) -> TableFactor {
    table_named(vec![Ident::with_quote('"', name)])
}

/// The table or view with a name of several parts.
pub(crate) fn table_named(parts: Vec<Ident>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(parts),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// `SELECT items FROM relation`.
pub(crate) fn select(items: Vec<SelectItem>, relation: TableFactor) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: items,
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// `SELECT * FROM relation`.
pub(crate) fn select_all(relation: TableFactor) -> Select {
    select(vec![star()], relation)
}

/// A query of `body` alone, without ORDER BY, LIMIT or WITH.
pub(crate) fn query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// A query of one SELECT.
pub(crate) fn query_of(select: Select) -> Query {
    query(SetExpr::Select(Box::new(select)))
}

/// A query without rows and columns.
pub(crate) fn no_rows() -> Query {
    query(SetExpr::Values(Values { explicit_row: false, value_keyword: false, rows: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::language::parse;

    #[test]
    fn a_tree_prints_as_sql_of_the_same_meaning() {
        let or = binary(name("a\"b"), BinaryOperator::Or, is_true(text("it's")));
        let and = binary(or, BinaryOperator::And, one_of(name("http.route"), vec![text("/"), text("")]));
        let select = Select {
            selection: Some(is_true(and.clone())),
            ..select(vec![aliased(and, "x y"), star()], table("spans"))
        };
        let sql = query_of(select).to_string();
        let condition = r#"("a""b" OR ('it''s' IS TRUE)) AND ("http.route" IN ('/', ''))"#;
        let wanted = format!(r#"SELECT {condition} AS "x y", * FROM "spans" WHERE ({condition}) IS TRUE"#);
        assert_eq!(sql, wanted);
        assert_eq!(parse(&sql).unwrap().to_string(), sql);
    }
}

//! What of PostgreSQL's dialect does DataFusion not have?
//!
//! | written | becomes |
//! |---|---|
//! | `pg_catalog.pg_class`, `pg_catalog.format_type(…)` | the name alone |
//! | `OPERATOR(pg_catalog.~)`, `COLLATE pg_catalog.default` | the operator, nothing |
//! | `'pg_class'::regclass`, `c.oid::regclass` | the number, the name |
//! | `::name`, `::oid`, `::regtype`, … | text, integer, the name of the type |
//! | `= ANY ('{r,v}')`, `= ANY (ARRAY[…])` | IN |
//! | `= ANY ($1::oid[])` | membership in a list that is a text, `{1,2}` |
//! | `CASE WHEN typtype = 'd' THEN …` | without what is about types that do not exist here |
//! | `LIKE 'pg/_%' ESCAPE '/'` | with a backslash |
//! | `typreceive <> 0` | `typreceive <> '-'` |
//! | `version()`, `current_schema()`, `pg_table_is_visible(…)`, … | their value |
//! | a query that joins a relation without rows | a query without rows |
//! | `(SELECT …)` as a value | NULL if it has no rows, else with `min`, as correlated queries need an aggregate |
//!
//! Columns without a name get the one that PostgreSQL gives them. There, columns may have equal names; here, all but one
//! of them end in [`MARK`]s, which [`shown_name`] removes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, Function, FunctionArguments, GroupByExpr, Ident,
    JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, Visit, VisitMut, Visitor,
    VisitorMut,
};

use super::super::settings::Settings;
use super::syntax::{
    arguments, array_type, bare, boolean, in_text, is_about_other_types, is_null, is_parameter, is_procedure,
    is_zero, items, last_name, literal, null, null_text, number, operator, strip_schema, with_backslash,
};
use super::tables::{Tables, type_oid};
use super::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG};
use crate::query::language::build;

/// Name of the function that stands for `::regclass`.
pub(super) const REGCLASS_TEXT: &str = "regclass_text";

/// End of names that would else be equal.
const MARK: char = '\u{1}';

/// The name of a column as clients see it.
pub(super) fn shown_name(name: &str) -> &str {
    name.trim_end_matches(MARK)
}

/// Functions of sessions that are called without parentheses.
const WORDS: [&str; 6] =
    ["current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"];

/// Functions of sessions, besides those that begin with `pg_`.
pub(super) const FUNCTIONS: [&str; 33] = [
    "col_description",
    "current_catalog",
    "current_database",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "format_type",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_table_privilege",
    "inet_client_addr",
    "inet_server_addr",
    "inet_server_port",
    "obj_description",
    "parse_ident",
    "quote_ident",
    "quote_literal",
    "row_security_active",
    "session_user",
    "set_config",
    "shobj_description",
    "to_regclass",
    "to_regtype",
    "txid_current",
    "txid_current_if_assigned",
    "user",
    "version",
];

/// Aggregates, of which a query without rows has a row.
const AGGREGATES: [&str; 11] = [
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "every",
    "json_agg",
];

/// Types of parameters that are arrays, by the number of the parameter less one.
pub(in super::super) type Arrays = BTreeMap<usize, u32>;

/// Rewrites a statement about the catalogue. Returns which of its parameters are arrays.
pub(super) fn rewrite(statement: &mut Statement, settings: &Settings, tables: &Tables) -> Arrays {
    let mut rewriter = Rewriter { settings, tables, arrays: Arrays::new() };
    match statement {
        Statement::Statement(statement) => {
            let _: ControlFlow<()> = statement.visit(&mut rewriter);
        }
        Statement::Explain(explain) => return rewrite(&mut explain.statement, settings, tables),
        _ => {}
    }
    rewriter.arrays
}

struct Rewriter<'a> {
    settings: &'a Settings,
    tables: &'a Tables,
    arrays: Arrays,
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let order_is_gone = match query.body.as_mut() {
            SetExpr::Select(select) => self.empty(select),
            _ => false,
        };
        if order_is_gone {
            query.order_by = None;
        }
        query.locks.clear();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.empty(select);
        name_columns(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        strip_schema(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args, .. } = factor
            && self.is_empty(name)
        {
            // `pg_get_keywords()` is a relation without rows here.
            *args = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::AnyOp { right, .. } => self.arrays.extend(array_type(right)),
            Expr::Case { conditions, else_result, .. } => {
                conditions.retain(|when| !is_about_other_types(&when.condition));
                if conditions.is_empty() {
                    *expr = else_result.take().map_or_else(null, |otherwise| *otherwise);
                }
            }
            Expr::Subquery(query) if self.has_no_rows(query) => *expr = null(),
            Expr::Subquery(query) => aggregate(query),
            Expr::Exists { subquery, negated } if self.has_no_rows(subquery) => *expr = boolean(*negated),
            Expr::Function(function) if matches!(function.args, FunctionArguments::Subquery(_)) => {
                *expr = null();
            }
            // The schemas of the search path, unfolded.
            Expr::InSubquery { expr: tested, subquery, negated }
                if subquery.to_string().contains("'search_path'") =>
            {
                let tested = Box::new(std::mem::replace(tested.as_mut(), null()));
                *expr = Expr::InList { expr: tested, list: vec![build::text("public")], negated: *negated };
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let taken = std::mem::replace(expr, null());
        *expr = self.rewritten(taken);
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn rewritten(&self, expr: Expr) -> Expr {
        match expr {
            Expr::Collate { expr, .. } => *expr,
            Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(parts), right } => {
                let op = operator(parts.last().map_or("", String::as_str));
                Expr::BinaryOp { left, op, right }
            }
            Expr::CompoundIdentifier(mut parts) if parts.len() > 2 => {
                if parts[0].value.eq_ignore_ascii_case(PG_CATALOG) {
                    parts.remove(0);
                }
                Expr::CompoundIdentifier(parts)
            }
            Expr::Identifier(ident) if is_word(&ident) => {
                self.value(&ident.value.to_ascii_lowercase(), &[]).unwrap_or(Expr::Identifier(ident))
            }
            Expr::Function(function) => self.function(function),
            Expr::Cast { expr, data_type, .. } => self.cast(*expr, data_type),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, is_some } => {
                if let Some(list) = items(&right) {
                    return Expr::InList { expr: left, list, negated: false };
                }
                if is_parameter(&right) {
                    return in_text(*left, *right);
                }
                Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, is_some }
            }
            Expr::Like { negated, any, expr, pattern, escape_char: Some(escape) } => Expr::Like {
                negated,
                any,
                expr,
                pattern: Box::new(with_backslash(*pattern, &escape)),
                escape_char: None,
            },
            Expr::ILike { negated, any, expr, pattern, escape_char: Some(escape) } => Expr::ILike {
                negated,
                any,
                expr,
                pattern: Box::new(with_backslash(*pattern, &escape)),
                escape_char: None,
            },
            Expr::BinaryOp { left, op, right } if is_procedure(&left) && is_zero(&right) => {
                Expr::BinaryOp { left, op, right: Box::new(build::text("-")) }
            }
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => match items(&right) {
                Some(list) => Expr::InList { expr: left, list, negated: true },
                None => Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right },
            },
            other => other,
        }
    }

    fn function(&self, mut function: Function) -> Expr {
        strip_schema(&mut function.name);
        let name = last_name(&function.name);
        let args = arguments(&function);
        self.value(&name, &args).unwrap_or(Expr::Function(function))
    }

    /// The value of a function of sessions.
    fn value(&self, name: &str, args: &[Expr]) -> Option<Expr> {
        Some(match name {
            "version" => build::text(self.version()),
            "current_database" | "current_catalog" | "pg_get_userbyid" => build::text(DATABASE),
            "current_schema" => build::text("public"),
            "current_schemas" => {
                build::call("make_array", vec![build::text(PG_CATALOG), build::text("public")])
            }
            "current_user" | "session_user" | "current_role" | "user" => build::text(self.settings.user()),
            "current_setting" => match literal(args.first()?) {
                Some(name) => self.settings.get(&name).map_or_else(null, build::text),
                None => self.setting(args.first()?.clone()),
            },
            "set_config" => args.get(1).cloned()?,
            "parse_ident" => {
                let name = args.first().and_then(literal)?;
                build::call(
                    "make_array",
                    name.split('.').map(|part| build::text(part.trim_matches('"'))).collect(),
                )
            }
            "array_to_string" if args.first().is_some_and(is_null) => null_text(),
            "array_lower" | "txid_current" | "txid_current_if_assigned" => number(1),
            "array_upper" => match args.first().and_then(items) {
                Some(items) => number(i32::try_from(items.len()).ok()?),
                None => build::call("array_length", vec![args.first()?.clone(), number(1)]),
            },
            "to_regclass" => {
                self.tables.oids().get(&bare(&literal(args.first()?)?)).map_or_else(null, |oid| number(*oid))
            }
            "to_regtype" => type_oid(&bare(&literal(args.first()?)?)).map_or_else(null, number),
            "pg_is_in_recovery" | "pg_is_other_temp_schema" | "row_security_active" => boolean(false),
            "pg_encoding_to_char" | "pg_client_encoding" => build::text("UTF8"),
            "pg_backend_pid"
            | "pg_my_temp_schema"
            | "inet_server_port"
            | "pg_relation_size"
            | "pg_total_relation_size"
            | "pg_table_size"
            | "pg_indexes_size"
            | "pg_database_size" => number(0),
            _ if name.starts_with("has_") && name.ends_with("_privilege") => boolean(true),
            _ if name.starts_with("pg_") && name.ends_with("_is_visible") => boolean(true),
            "pg_has_role" => boolean(true),
            "obj_description" | "col_description" | "shobj_description" | "inet_server_addr"
            | "inet_client_addr" => null_text(),
            _ if name.starts_with("pg_") => null_text(),
            _ => return None,
        })
    }

    /// The value of the setting that `name` names when the statement runs.
    fn setting(&self, name: Expr) -> Expr {
        let when = |(name, value): (String, String)| CaseWhen {
            condition: build::text(name),
            result: build::text(value),
        };
        Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: Some(Box::new(name)),
            conditions: self.settings.all().into_iter().map(when).collect(),
            else_result: None,
        }
    }

    fn version(&self) -> String {
        format!("PostgreSQL {}", self.settings.get("server_version").unwrap_or_default())
    }

    fn cast(&self, expr: Expr, data_type: DataType) -> Expr {
        let cast = |expr, data_type| Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(expr),
            data_type,
            array: false,
            format: None,
        };
        let name = match &data_type {
            DataType::Regclass => "regclass".to_owned(),
            DataType::Custom(name, _) => last_name(name),
            DataType::Array(_) => "array".to_owned(),
            _ => return cast(expr, data_type),
        };
        match (name.as_str(), literal(&expr)) {
            ("regclass", Some(text)) => match text.parse::<i32>() {
                Ok(_) => build::call(REGCLASS_TEXT, vec![expr]),
                Err(_) => self.tables.oids().get(&bare(&text)).map_or_else(null, |oid| number(*oid)),
            },
            ("regclass", None) => build::call(REGCLASS_TEXT, vec![expr]),
            ("regtype", Some(text)) => type_oid(&bare(&text)).map_or_else(null, number),
            ("regtype", None) => build::call("format_type", vec![expr, null()]),
            ("oid" | "xid" | "cid" | "cardinal_number" | "int4", _) => cast(expr, DataType::Integer(None)),
            ("int8", _) => cast(expr, DataType::BigInt(None)),
            ("int2", _) => cast(expr, DataType::SmallInt(None)),
            ("bool", _) => cast(expr, DataType::Boolean),
            ("float8", _) => cast(expr, DataType::Double(sqlparser::ast::ExactNumberInfo::None)),
            ("array" | "int2vector" | "oidvector" | "anyarray", _) => expr,
            _ => cast(expr, DataType::Text),
        }
    }

    /// True if the query joins a relation without rows, and has no rows for that reason.
    fn has_no_rows(&self, query: &Query) -> bool {
        match query.body.as_ref() {
            SetExpr::Select(select) => self.selects_nothing(select),
            _ => false,
        }
    }

    fn selects_nothing(&self, select: &Select) -> bool {
        let is_empty = |factor: &TableFactor| match factor {
            TableFactor::Table { name, args: None, .. } => self.is_empty(name),
            TableFactor::Derived { subquery, .. } => self.has_no_rows(subquery),
            _ => false,
        };
        let is_inner = |operator: &JoinOperator| {
            matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
        };
        let is_missing = select.from.iter().any(|from| {
            let is_right_kept = |operator: &JoinOperator| {
                !is_inner(operator) && !matches!(operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
            };
            let joins = || from.joins.iter();
            is_empty(&from.relation) && !joins().any(|join| is_right_kept(&join.join_operator))
                || joins().any(|join| is_inner(&join.join_operator) && is_empty(&join.relation))
                    && !joins().any(|join| is_right_kept(&join.join_operator))
        });
        let is_grouped = match &select.group_by {
            GroupByExpr::Expressions(list, _) => !list.is_empty(),
            GroupByExpr::All(_) => true,
        };
        is_missing && (is_grouped || !select.projection.iter().any(has_aggregate))
    }

    fn is_empty(&self, name: &ObjectName) -> bool {
        let is_standard = name
            .0
            .iter()
            .filter_map(|part| part.as_ident())
            .any(|part| part.value.eq_ignore_ascii_case(INFORMATION_SCHEMA));
        let schema = if is_standard { INFORMATION_SCHEMA } else { PG_CATALOG };
        self.tables.is_empty(schema, &last_name(name))
    }

    /// Replaces a query that joins a relation without rows by one without rows and with the same columns; true if it
    /// did.
    fn empty(&self, select: &mut Select) -> bool {
        let is_named =
            |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
        if select.from.is_empty() || !select.projection.iter().all(is_named) || !self.selects_nothing(select)
        {
            return false;
        }
        name_columns(select);
        let mut taken = Vec::new();
        for item in &mut select.projection {
            let name = match item {
                SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => name.value.clone(),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                    parts.last().map_or_else(String::new, |part| part.value.clone())
                }
                _ => "?column?".to_owned(),
            };
            *item = build::aliased(null_text(), &unused(&mut taken, name));
        }
        select.from.clear();
        select.selection = Some(boolean(false));
        select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        select.having = None;
        select.distinct = None;
        true
    }
}

fn has_aggregate(item: &SelectItem) -> bool {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
    expr.visit(&mut Aggregates { depth: 0 }).is_break()
}

/// Looks for aggregates outside of subqueries.
struct Aggregates {
    depth: usize,
}

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function)
                if self.depth == 0 && AGGREGATES.contains(&last_name(&function.name).as_str()) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Makes a correlated query that yields one value an aggregate.
fn aggregate(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let [item] = select.projection.as_mut_slice() else { return };
    let is_plain = matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty());
    if select.from.is_empty() || !is_plain || has_aggregate(item) {
        return;
    }
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        let value = std::mem::replace(expr, null());
        *expr = build::call("min", vec![value]);
        query.order_by = None;
        query.limit_clause = None;
    }
}

/// Gives columns the names that PostgreSQL gives them: that of the function, of the cast value, or none.
fn name_columns(select: &mut Select) {
    let is_wildcard =
        |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let has_wildcard = select.projection.iter().any(is_wildcard);
    let mut taken = Vec::new();
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let is_column =
            matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && !is_session_value(expr);
        if is_column && !has_wildcard {
            continue;
        }
        let mut name = unused(&mut taken, column_name(expr));
        if is_column {
            // `c.oid, c.*` has two columns of this name.
            name.push(MARK);
        }
        let value = std::mem::replace(expr, null());
        *item = build::aliased(value, &name);
    }
}

fn is_session_value(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if is_word(name))
}

/// True for a word such as `current_user`.
pub(super) fn is_word(ident: &Ident) -> bool {
    ident.quote_style.is_none() && WORDS.contains(&ident.value.to_ascii_lowercase().as_str())
}

fn column_name(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map_or_else(String::new, |part| part.value.clone()),
        Expr::Function(function) => last_name(&function.name),
        Expr::Cast { expr, .. } | Expr::Nested(expr) | Expr::Collate { expr, .. } => column_name(expr),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => column_name(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => alias.value.clone(),
                _ => "?column?".to_owned(),
            },
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}

/// `name`, with marks if it is taken: two columns of one name cannot be planned.
fn unused(taken: &mut Vec<String>, name: String) -> String {
    let count = taken.iter().filter(|other| **other == name).count();
    taken.push(name.clone());
    name + &MARK.to_string().repeat(count)
}

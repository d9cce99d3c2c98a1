//! Names that lead into lists and maps, and functions of lists and maps.
//!
//! An attribute whose value is a list or a map is JSON text to the planner. `order.a.b` may mean the entry `b` of
//! the attribute `order.a`, or the entry `b` of `a` of the attribute `order`, if these hold maps. The attribute
//! `order.a.b` itself comes first. This is decided per event, because the existing attributes must not change
//! the meaning of a name.
//!
//! Arguments of list functions are wrapped in `json_list` or a function like it, which leaves anything but text
//! as it is: only the planner knows which arguments are text.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, Subscript, Value,
};

use super::Resolver;
use super::names::Meaning;
use super::node::Hidden;
use super::scope::{Name, column, resolved};
use crate::error::Result;
use crate::event::{AttributeKey, AttributeType, schema};
use crate::query::functions::{FIRST_TEXT, JSON_AT, JsonReading, ListExtreme};
use crate::query::language::build::call;

/// A way to read a name: an attribute that holds maps, and the path in these.
#[derive(Debug)]
struct Nested {
    key: String,
    path: Vec<String>,
}

/// All ways to read a name as an attribute; at least one.
#[derive(Debug)]
pub(super) struct Readings {
    /// Key that the whole name means.
    pub(super) flat: Option<String>,
    /// Entries that the name leads to, best first.
    nested: Vec<Nested>,
}

impl Resolver<'_> {
    /// Finds the ways to read `idents`, which `name` spells, as an attribute; `None` if there is none.
    pub(super) fn readings(&self, idents: &[Ident], name: &Name) -> Option<Readings> {
        let readings = Readings { flat: self.known_key(name), nested: self.nested_of(idents) };
        (readings.flat.is_some() || !readings.nested.is_empty()).then_some(readings)
    }

    /// Finds the attributes with lists or maps that a name may lead into, longest key first.
    fn nested_of(&self, idents: &[Ident]) -> Vec<Nested> {
        let spells_level = |name: &str| AttributeKey::candidates(name).len() == 1;
        let whole = spells_level(&Name::new(idents).exact);
        let split = |length: usize| {
            let (key, path) = idents.split_at(length);
            let name = Name::new(key);
            if spells_level(&name.exact) != whole || schema::is_reserved(&name.folded) {
                return None; // `resource.x` is not an entry of an attribute `resource`, nor `body.x` of `body`.
            }
            let known = self.known_key(&name)?;
            let attribute = self.context.keys.lookup(&known)?;
            let path = path.iter().map(|ident| ident.value.clone()).collect();
            attribute.types.contains(AttributeType::Json).then_some(Nested { key: attribute.name, path })
        };
        (1..idents.len()).rev().filter_map(split).collect()
    }

    /// The attribute that the whole name means, or the entries that it leads to where that is null, of a relation.
    pub(super) fn attribute_or_nested(
        &mut self,
        depth: usize,
        index: usize,
        readings: &Readings,
        name: &Name,
    ) -> Result<Meaning> {
        let (flat, nested) = (readings.flat.as_deref(), readings.nested.as_slice());
        if let (Some(key), []) = (flat, nested) {
            return self.attribute_of(depth, index, key, name);
        }
        let relation = &self.scopes[depth].relations[index];
        let (node, alias) = (relation.node, relation.alias.clone());
        let mut values = Vec::with_capacity(nested.len() + 1);
        let keys = flat.into_iter().map(|key| (key, &[][..]));
        for (key, path) in keys.chain(nested.iter().map(|n| (n.key.as_str(), n.path.as_slice()))) {
            let hidden = Hidden::Attribute(key.to_owned());
            self.demand(node, &hidden, name)?;
            let value = column(&alias, hidden.column());
            values.push(if path.is_empty() { value } else { at(value, path) });
        }
        let output = flat.map_or_else(|| name.exact.clone(), str::to_owned);
        let expr = if values.len() == 1 { values.remove(0) } else { call(FIRST_TEXT, values) };
        Ok(Meaning::named(expr, output))
    }
}

fn at(json: Expr, path: &[String]) -> Expr {
    let steps = path.iter().map(|key| Expr::Value(Value::SingleQuotedString(key.clone()).into()));
    call(JSON_AT, std::iter::once(json).chain(steps).collect())
}

/// `column.field.field`. The planner decides whether that is a struct or JSON text.
pub(super) fn fields_of(alias: &str, name: &str, fields: &[Ident]) -> Expr {
    let access = |field: &Ident| {
        let key = Expr::Value(Value::SingleQuotedString(field.value.clone()).into());
        AccessExpr::Subscript(Subscript::Index { index: key })
    };
    let root = Expr::CompoundIdentifier(vec![resolved(alias), resolved(name)]);
    Expr::CompoundFieldAccess { root: Box::new(root), access_chain: fields.iter().map(access).collect() }
}

/// Range of a function's arguments that are lists or maps, and how JSON text is read there.
fn arguments_of(function: &str) -> Option<(JsonReading, std::ops::Range<usize>)> {
    let all = 0..usize::MAX;
    let name = function.strip_prefix("list_").or_else(|| function.strip_prefix("array_"));
    Some(match (function, name) {
        ("unnest" | "unnest_outer" | "empty" | "flatten", _) => (JsonReading::Items, 0..1),
        ("arrays_overlap" | "arrays_zip", _) => (JsonReading::Items, all),
        ("cardinality", _) => (JsonReading::Entries, 0..1),
        ("map_keys" | "map_values" | "map_entries" | "map_extract" | "element_at", _) => {
            (JsonReading::Map, 0..1)
        }
        ("cosine_distance" | "inner_product", _) | (_, Some("distance" | "add" | "subtract")) => {
            (JsonReading::Numbers, all)
        }
        (_, Some("sum" | "avg" | "product" | "normalize" | "scale")) => (JsonReading::Numbers, 0..1),
        (_, Some("agg" | "repeat")) => return None,
        (_, Some("prepend" | "push_front")) => (JsonReading::Items, 1..2),
        (_, Some("concat" | "cat" | "except" | "intersect" | "union" | "has_all" | "has_any" | "zip")) => {
            (JsonReading::Items, all)
        }
        (_, Some(_)) => (JsonReading::Items, 0..1),
        _ => return None,
    })
}

/// Functions that search a list for an item and do not return items.
const LOOK_FOR_ITEM: [&str; 8] = [
    "array_has",
    "list_has",
    "array_contains",
    "list_contains",
    "array_position",
    "list_position",
    "array_positions",
    "list_positions",
];

/// True if an expression is a number literal.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::UnaryOp { expr, .. } | Expr::Nested(expr) => is_number(expr),
        _ => false,
    }
}

/// Wraps the arguments that a function takes as lists or maps, see [`read_as`].
pub(super) fn read_arguments(function: &mut Function) {
    let [ObjectNamePart::Identifier(ident)] = function.name.0.as_mut_slice() else { return };
    let name = ident.value.to_lowercase();
    let Some((mut reading, places)) = arguments_of(&name) else { return };
    let FunctionArguments::List(list) = &mut function.args else { return };
    let looks_for_number = matches!(
        list.args.get(1),
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(item))) if is_number(item)
    );
    if LOOK_FOR_ITEM.contains(&name.as_str()) && looks_for_number {
        // Of `[9, 2.5]` the item 9 must be found, though items are text otherwise.
        reading = JsonReading::Numbers;
    }
    for (place, arg) in list.args.iter_mut().enumerate() {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg
            && places.contains(&place)
        {
            read_as(reading, expr);
        }
    }
    let extreme = match name.as_str() {
        "array_max" | "list_max" => ListExtreme::Max,
        "array_min" | "list_min" => ListExtreme::Min,
        _ => return,
    };
    *ident = Ident::new(extreme.function());
}

/// Wraps the list operands of `x = ANY(list)`, `list @> list` and similar operators.
pub(super) fn read_operands(expr: &mut Expr) {
    match expr {
        Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
            read_as(if is_number(left) { JsonReading::Numbers } else { JsonReading::Items }, right);
        }
        Expr::BinaryOp { left, op: BinaryOperator::AtArrow | BinaryOperator::ArrowAt, right } => {
            read_as(JsonReading::Items, left);
            read_as(JsonReading::Items, right);
        }
        _ => {}
    }
}

/// Turns `x` into `json_list(x)`, unless it is certainly a list, or may be a struct.
pub(super) fn read_as(reading: JsonReading, expr: &mut Expr) {
    let is_list = match expr {
        Expr::Array(_) | Expr::Subquery(_) => true,
        Expr::Nested(inner) => return read_as(reading, inner),
        Expr::Function(f) => {
            let name = f.name.to_string().to_lowercase();
            let is_read = JsonReading::ALL.iter().any(|reading| reading.function() == name);
            is_read || matches!(name.as_str(), "make_array" | "unnest" | "unnest_outer")
        }
        _ => false,
    };
    if !is_list {
        let taken = std::mem::replace(expr, Expr::Tuple(Vec::new()));
        *expr = call(reading.function(), vec![taken]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{KeyDictionary, Level};
    use crate::query::language::Ask;
    use crate::query::resolve::{ResolveContext, resolve};
    use crate::query::views::Views;

    /// SQL of a resolved select item, where events have these attributes.
    fn item(keys: &[(Level, &str, AttributeType)], sql: &str) -> String {
        let dictionary = KeyDictionary::new();
        for (level, key, ty) in keys {
            dictionary.insert(&AttributeKey::new(*level, *key), *ty);
        }
        let (views, tables) = (Views::builtin().unwrap(), BTreeMap::new());
        let context = ResolveContext {
            keys: &dictionary,
            views: &views,
            tables: &tables,
            schema: "public",
            functions: &[],
            table_functions: &[],
        };
        match resolve(Ask::Sql(format!("SELECT {sql} AS x FROM events e")), &context) {
            Ok(resolved) => {
                let text = resolved.statement.to_string();
                let text =
                    text.strip_prefix("SELECT ").and_then(|t| t.split_once(" AS x FROM")).map(|(t, _)| t);
                text.unwrap_or_default().replace("\"e\".\"attributes['", "<").replace("']\"", ">")
            }
            Err(error) => error.message().to_owned(),
        }
    }

    const KEYS: [(Level, &str, AttributeType); 6] = [
        (Level::Record, "order", AttributeType::Json),
        (Level::Record, "order.a", AttributeType::Json),
        (Level::Record, "order.flat", AttributeType::Int),
        (Level::Record, "plain", AttributeType::Text),
        (Level::Body, "items", AttributeType::Json),
        (Level::Record, "body", AttributeType::Json),
    ];

    #[test]
    fn names_lead_into_maps() {
        assert_eq!(item(&KEYS, "order.Id"), "json_at(<order>, 'Id')");
        assert_eq!(item(&KEYS, "e.order.x.y"), "json_at(<order>, 'x', 'y')");
        assert_eq!(item(&KEYS, "attributes.order.x"), "json_at(<order>, 'x')");
        assert_eq!(
            item(&KEYS, "order.a.b"),
            "first_text(json_at(<order.a>, 'b'), json_at(<order>, 'a', 'b'))"
        );
        assert_eq!(item(&KEYS, "order.flat"), "first_text(<order.flat>, json_at(<order>, 'flat'))");
        assert_eq!(item(&KEYS, "body.items.sku"), "json_at(<body.items>, 'sku')");
    }

    #[test]
    fn other_names_mean_what_they_meant() {
        assert_eq!(item(&KEYS, "plain"), "<plain>");
        for unknown in ["plain.x", "body.other", "\"order.x\"", "name.x"] {
            let message = item(&KEYS, unknown);
            assert!(message.starts_with("unknown column"), "{message}");
        }
    }

    #[test]
    fn functions_of_lists_read_lists() {
        assert_eq!(item(&KEYS, "array_has(order, plain)"), "array_has(json_list(<order>), <plain>)");
        assert_eq!(item(&KEYS, "array_prepend(plain, order)"), "array_prepend(<plain>, json_list(<order>))");
        assert_eq!(item(&KEYS, "array_max(order)"), "json_max(json_list(<order>))");
        assert_eq!(item(&KEYS, "list_sum(order)"), "list_sum(json_numbers(<order>))");
        assert_eq!(item(&KEYS, "cardinality(order)"), "cardinality(json_entries(<order>))");
        assert_eq!(item(&KEYS, "map_keys(order)"), "map_keys(json_map(<order>))");
        assert_eq!(item(&KEYS, "array_has([1], 1)"), "array_has([1], 1)");
        assert_eq!(item(&KEYS, "array_agg(plain)"), "array_agg(<plain>)");
        assert_eq!(item(&KEYS, "'x' = ANY(order)"), "'x' = ANY(json_list(<order>))");
        assert_eq!(item(&KEYS, "array_has(order, -1)"), "array_has(json_numbers(<order>), -1)");
    }
}

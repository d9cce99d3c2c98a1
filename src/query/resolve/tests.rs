//! Statements are resolved, planned and run over a few rows in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Float64Array, Int64Array, MapBuilder, RecordBatch, StringBuilder,
    StringViewArray, TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::{Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;
use crate::event::{AttributeKey, AttributeType, Level, schema};
use crate::query::language::parse;

/// Stack of a thread of the server.
const STACK: usize = 2 << 20;

/// An attribute value.
#[derive(Debug, Clone, PartialEq)]
enum V {
    Text(String),
    Int(i64),
}

#[derive(Debug, Clone)]
struct Row {
    signal: &'static str,
    trace: Option<u8>,
    span: Option<u8>,
    parent: Option<u8>,
    at: i64,
    duration: Option<i64>,
    name: &'static str,
    status: Option<&'static str>,
    attributes: BTreeMap<String, V>,
}

/// Three traces: 1 is a web request with a child and a log, 2 lost its root, 3 is a cycle.
fn rows() -> Vec<Row> {
    let t = |s: &str| V::Text(s.to_owned());
    let row = |signal, ids: [u8; 3], at, duration, name, status, attributes: &[(&str, V)]| {
        let [trace, span, parent] = ids.map(|id| (id > 0).then_some(id));
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Row { signal, trace, span, parent, at, duration, name, status, attributes }
    };
    let web = ("service.name", t("web"));
    let pay = ("service.name", t("pay"));
    vec![
        row(
            "span",
            [1, 1, 0],
            100,
            Some(50),
            "GET /",
            Some("ok"),
            &[
                web.clone(),
                ("http.route", t("/")),
                ("http.status_code", V::Int(200)),
                ("user.id", t("u1")),
                ("name", t("attribute name")),
                ("minute", t("attribute minute")),
            ],
        ),
        row(
            "span",
            [1, 2, 1],
            110,
            Some(30),
            "charge",
            Some("error"),
            &[
                pay.clone(),
                ("http.route", t("/charge")),
                ("http.status_code", V::Int(500)),
                ("user.id", t("u1")),
                ("K8s.Pod", t("pod-7")),
            ],
        ),
        row(
            "log",
            [1, 2, 0],
            115,
            None,
            "failed",
            None,
            &[pay.clone(), ("user.id", t("u1")), ("a b\"c'd", t("odd"))],
        ),
        row(
            "span",
            [2, 3, 9],
            200,
            Some(10),
            "GET /",
            Some("ok"),
            &[web.clone(), ("http.route", t("/")), ("http.status_code", V::Int(404)), ("user.id", t("u2"))],
        ),
        row("log", [0, 0, 0], 300, None, "alone", None, &[web.clone(), ("user.id", t("u2"))]),
        row("span", [3, 4, 5], 400, Some(5), "a", None, std::slice::from_ref(&web)),
        row("span", [3, 5, 4], 401, Some(5), "b", None, &[web]),
    ]
}

fn ids(rows: &[Row], width: i32, id: impl Fn(&Row) -> Option<u8>) -> ArrayRef {
    let mut builder = FixedSizeBinaryBuilder::new(width);
    for row in rows {
        match id(row) {
            Some(id) => builder.append_value(vec![id; width as usize]).unwrap(),
            None => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

fn core(rows: &[Row], name: &str, field: &Field) -> ArrayRef {
    let text = |f: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(f).collect::<StringViewArray>())
    };
    match name {
        "timestamp" => Arc::new(
            TimestampNanosecondArray::from_iter_values(rows.iter().map(|r| r.at)).with_timezone("UTC"),
        ),
        "signal" => text(|r| Some(r.signal)),
        "name" => text(|r| Some(r.name)),
        "status" => text(|r| r.status),
        "trace_id" => ids(rows, 16, |r| r.trace),
        "span_id" => ids(rows, 8, |r| r.span),
        "parent_span_id" => ids(rows, 8, |r| r.parent),
        "duration_ns" => Arc::new(rows.iter().map(|r| r.duration).collect::<Int64Array>()),
        "flags" => Arc::new(arrow::array::UInt32Array::from_iter_values(rows.iter().map(|r| r.at as u32))),
        "sample_weight" => Arc::new(Float64Array::from_iter_values(rows.iter().map(|_| 2.0))),
        _ => new_null_array(field.data_type(), rows.len()),
    }
}

fn attributes_map(rows: &[Row]) -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in &row.attributes {
            map.keys().append_value(key);
            match value {
                V::Text(text) => map.values().append_value(text),
                V::Int(int) => map.values().append_value(int.to_string()),
            }
        }
        map.append(true).unwrap();
    }
    Arc::new(map.finish())
}

fn attribute(rows: &[Row], key: &str) -> ArrayRef {
    let values = || rows.iter().map(|r| r.attributes.get(key));
    if values().flatten().any(|v| matches!(v, V::Int(_))) {
        let ints = values().map(|v| match v {
            Some(V::Int(int)) => Some(*int),
            _ => None,
        });
        Arc::new(ints.collect::<Int64Array>())
    } else {
        let texts = values().map(|v| match v {
            Some(V::Text(text)) => Some(text.as_str()),
            _ => None,
        });
        Arc::new(texts.collect::<StringViewArray>())
    }
}

fn table(rows: &[Row], keys: &[String]) -> MemTable {
    let mut fields: Vec<Field> = schema::core_columns().iter().map(|c| c.field.clone()).collect();
    let mut columns: Vec<_> = fields.iter().map(|f| core(rows, f.name(), f)).collect();
    columns.push(attributes_map(rows));
    fields.push(Field::new(schema::ATTRIBUTES, columns.last().unwrap().data_type().clone(), true));
    for key in keys {
        columns.push(attribute(rows, key));
        fields.push(Field::new(attribute_column(key), columns.last().unwrap().data_type().clone(), true));
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    MemTable::try_new(schema, vec![vec![batch]]).unwrap()
}

#[derive(Debug)]
struct TestSchema(Vec<Row>);

#[async_trait::async_trait]
impl SchemaProvider for TestSchema {
    fn table_names(&self) -> Vec<String> {
        vec![EVENTS.to_owned()]
    }

    async fn table(&self, name: &str) -> datafusion::error::Result<Option<Arc<dyn TableProvider>>> {
        if name == "closed" {
            let values: ArrayRef = Arc::new(StringViewArray::from_iter_values(["u1", "u3"]));
            let batch = RecordBatch::try_from_iter([("id", values)]).unwrap();
            return Ok(Some(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)));
        }
        Ok(decode_table_name(name).map(|keys| Arc::new(table(&self.0, &keys)) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        decode_table_name(name).is_some()
    }
}

/// A session over rows, with the keys that they have and some more.
struct Fixture {
    context: SessionContext,
    keys: KeyDictionary,
    views: Views,
    tables: BTreeMap<String, Vec<String>>,
    runtime: tokio::runtime::Runtime,
}

impl Fixture {
    fn new(more_keys: &[&str]) -> Self {
        let rows = rows();
        let keys = KeyDictionary::new();
        for (key, value) in rows.iter().flat_map(|r| &r.attributes) {
            let ty = if matches!(value, V::Int(_)) { AttributeType::Int } else { AttributeType::Text };
            keys.insert(&AttributeKey::new(Level::Record, key.as_str()), ty);
        }
        for key in more_keys {
            keys.insert(&AttributeKey::new(Level::Record, *key), AttributeType::Text);
        }
        let config = SessionConfig::new().with_information_schema(true).with_target_partitions(1);
        let context = SessionContext::new_with_config(config);
        let of_traces = crate::query::trees::aggregate_functions();
        for function in crate::query::functions::aggregate_functions().into_iter().chain(of_traces) {
            context.register_udaf(function.as_ref().clone());
        }
        for function in crate::query::functions::scalar_functions() {
            context.register_udf(function.as_ref().clone());
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema("public", Arc::new(TestSchema(rows))).unwrap();
        context.register_catalog("datafusion", Arc::new(catalog));
        let mut views = Views::builtin().unwrap();
        let add = [
            ("slow", "SELECT * FROM spans WHERE duration_ns >= 10"),
            ("routes", "SELECT http.route AS route, duration_ns FROM spans"),
            ("both", "SELECT * FROM spans UNION ALL SELECT * FROM logs"),
        ];
        for (name, sql) in add {
            views.add_view(name, sql).unwrap();
        }
        let tables = BTreeMap::from([("closed".to_owned(), vec!["id".to_owned()])]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { context, keys, views, tables, runtime }
    }

    fn context_of(&self) -> ResolveContext<'_> {
        ResolveContext {
            keys: &self.keys,
            views: &self.views,
            tables: &self.tables,
            schema: "public",
            functions: &[],
            table_functions: &[],
        }
    }

    fn resolve(&self, sql: &str) -> Result<Resolved> {
        resolve(Ask::Sql(sql.to_owned()), &self.context_of())
    }

    /// Column names, then rows, as text; or the error.
    fn run(&self, sql: &str) -> String {
        let resolved = match self.resolve(sql) {
            Ok(resolved) => resolved,
            Err(error) => {
                let place = error.position().map(|at| format!(" at {at}"));
                assert_eq!(place.is_some(), error.message().contains(" at line "), "{error}");
                assert!(place.is_none_or(|place| error.message().contains(&place)), "{error}");
                return format!("error: {error}");
            }
        };
        let text = resolved.statement.to_string();
        match self.runtime.block_on(self.execute(resolved.statement)) {
            Ok(answer) => answer,
            Err(error) => format!("planner: {}\n{text}", error.strip_backtrace()),
        }
    }

    async fn execute(&self, statement: Statement) -> datafusion::error::Result<String> {
        let plan = self.context.state().statement_to_plan(statement).await?;
        let frame = self.context.execute_logical_plan(plan).await?;
        let names: Vec<_> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
        let mut answer = names.join(" | ");
        for batch in frame.collect().await? {
            let options = FormatOptions::new().with_null("∅");
            let columns: Vec<_> =
                batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
            for row in 0..batch.num_rows() {
                let cells: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
                answer.push('\n');
                answer.push_str(&cells.join(" | "));
            }
        }
        Ok(answer)
    }
}

/// Every statement of the script gives what the script says.
#[test]
fn statements_mean_what_the_script_says() {
    let fixture = Fixture::new(&[]);
    let mut failures = Vec::new();
    let mut actual = String::new();
    for case in include_str!("statements.golden").split("\n>>> ").skip(1) {
        let (sql, expected) = case.split_once("\n---\n").unwrap_or((case, ""));
        let answer = fixture.run(sql);
        actual.extend(["\n>>> ", sql, "\n---\n", &answer, "\n"]);
        if answer.trim_end() != expected.trim_end() {
            failures.push(format!("{sql}\n--- expected\n{expected}\n--- found\n{answer}"));
        }
    }
    let shown = failures.join("\n\n");
    assert!(failures.is_empty(), "{} statements differ:\n{shown}\n\n{actual}", failures.len());
}

#[test]
fn an_unknown_key_in_brackets_is_a_warning() {
    let fixture = Fixture::new(&[]);
    let warnings = fixture.resolve("SELECT attributes['http.rout'], s.attributes['http.rout'] FROM spans s");
    assert_eq!(
        warnings.unwrap().warnings,
        ["no event has the attribute 'http.rout': it reads as null; near: http.route"]
    );
    assert!(fixture.resolve("SELECT attributes['http.route'] FROM spans").unwrap().warnings.is_empty());
    // A view may look for keys that no event has.
    assert!(fixture.resolve("SELECT * FROM exceptions").unwrap().warnings.is_empty());
}

#[test]
fn an_unknown_function_names_the_nearest() {
    let fixture = Fixture::new(&[]);
    let functions = ["avg", "count", "approx_percentile_cont"].map(str::to_owned);
    let table_functions = ["generate_series".to_owned()];
    let context =
        ResolveContext { functions: &functions, table_functions: &table_functions, ..fixture.context_of() };
    let message = |sql: &str| resolve(Ask::Sql(sql.to_owned()), &context).unwrap_err().to_string();
    assert_eq!(
        message("SELECT 1,\n  cuont(*) FROM spans"),
        "unknown function \"cuont\" at line 2, column 3: did you mean count?"
    );
    assert_eq!(
        message("SELECT * FROM trce('00')"),
        "unknown table function \"trce\" at line 1, column 15: did you mean trace?"
    );
    let works = "SELECT count(*), unnest([1]) FROM generate_series(1, 2)".to_owned();
    assert!(resolve(Ask::Sql(works), &context).is_ok());
}

/// The deepest statement that is let through fits the stack of a small thread.
#[test]
fn long_chains_of_operators_neither_overflow_nor_pass() {
    let chain = |n: usize| format!("SELECT {} FROM spans", vec!["duration_ns"; n].join(" + "));
    let resolve = |sql: String| {
        let run = move || Fixture::new(&[]).resolve(&sql).map(|_| ());
        std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
    };
    resolve(chain(999)).unwrap();
    let error = resolve(chain(100_000)).unwrap_err();
    assert!(error.message().contains("at most 1000"), "{error}");
    let chains = |n: usize| {
        let equals = format!("SELECT {} FROM spans", vec!["flags"; n].join(" = "));
        let explains = format!("{} SELECT 1", "EXPLAIN ".repeat(n));
        let excepts = vec!["SELECT 1"; n].join(" EXCEPT ");
        [equals, explains, excepts]
    };
    for sql in chains(40_000) {
        let error = resolve(sql.clone()).unwrap_err();
        assert!(error.message().contains("at most 1000"), "{}: {error}", &sql[..40]);
    }
    for sql in chains(999) {
        // Whether it means anything is another question.
        let _ = resolve(sql);
    }
}

mod properties {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Names that statements below declare, and others that may be mistaken for something.
    const TRAPS: [&str; 16] = [
        "n",
        "x",
        "s",
        "r",
        "minute",
        "name",
        "flags",
        "timestamp",
        "attributes",
        "attributes.k",
        "spans",
        "s.x",
        "value",
        "count",
        "trace_id",
        "",
    ];

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}",
            1 => "[A-C]{1}(\\.[a-cA-C]{1}){0,1}",
            1 => proptest::sample::select(&TRAPS[..]).prop_map(str::to_owned),
        ]
    }

    /// The ways to spell a key, and names that are declared.
    fn expression(keys: Vec<String>) -> impl Strategy<Value = String> {
        let spelled = (proptest::sample::select(keys), 0..5).prop_map(|(key, way)| match way {
            0 if !key.is_empty() => key,
            1 if !key.is_empty() => format!("s.{key}"),
            2 => format!("\"{key}\""),
            3 => format!("attributes['{key}']"),
            _ => format!("s.attributes['{key}']"),
        });
        let declared = ["name", "s.duration_ns", "flags", "minute", "n", "s.x", "nope", "\"timestamp\""];
        prop_oneof![spelled, proptest::sample::select(declared.to_vec()).prop_map(str::to_owned)]
    }

    fn statement(keys: Vec<String>) -> impl Strategy<Value = String> {
        let from = [
            "spans s",
            "events s",
            "both s",
            "slow s",
            "(SELECT * FROM spans) s",
            "spans s, closed",
            "(SELECT *, name AS n FROM spans) s",
            "(SELECT DISTINCT * FROM spans) s",
            "traces s",
            "spans s JOIN logs l USING (trace_id)",
            "spans s, LATERAL (SELECT * FROM logs WHERE name = s.name) n",
        ];
        let some = |keys| proptest::collection::vec(expression(keys), 1..3);
        (proptest::sample::select(from.to_vec()), some(keys.clone()), some(keys.clone()), some(keys), 0..4).prop_map(
            |(from, items, filters, order, shape)| {
                let (item, filter, order) = (items.join(", "), filters.join(" = "), order.join(", "));
                match shape {
                    0 => format!("SELECT {item} FROM {from} WHERE {filter} IS NULL ORDER BY {order}"),
                    1 => format!("SELECT {item} AS minute, count(*) AS n FROM {from} GROUP BY {order}"),
                    2 => format!("SELECT *, {item} FROM {from} WHERE EXISTS (SELECT {order} FROM logs WHERE {filter} IS NULL)"),
                    _ => format!("WITH w AS (SELECT * FROM {from}) SELECT {item} FROM w s WHERE {filter} IS NULL"),
                }
            },
        )
    }

    static VIEWS: LazyLock<Views> = LazyLock::new(|| {
        let mut views = Views::builtin().unwrap();
        views.add_view("slow", "SELECT * FROM spans WHERE duration_ns >= 10").unwrap();
        views.add_view("both", "SELECT * FROM spans UNION ALL SELECT * FROM logs").unwrap();
        views
    });

    fn rewritten(keys: &BTreeSet<String>, sql: &str) -> Option<String> {
        let dictionary = KeyDictionary::new();
        for key in keys {
            dictionary.insert(&AttributeKey::new(Level::Record, key.as_str()), AttributeType::Text);
        }
        let tables = BTreeMap::from([("closed".to_owned(), vec!["id".to_owned()])]);
        let context = ResolveContext {
            keys: &dictionary,
            views: &VIEWS,
            tables: &tables,
            schema: "public",
            functions: &[],
            table_functions: &[],
        };
        resolve(Ask::Sql(sql.to_owned()), &context).ok().map(|resolved| resolved.statement.to_string())
    }

    /// Words of SQL, names, and what stands between them, in any order.
    fn soup() -> impl Strategy<Value = String> {
        let words = [
            "SELECT",
            "FROM",
            "WHERE",
            "spans",
            "logs",
            "traces",
            "events",
            "s",
            "*",
            "(",
            ")",
            ",",
            ".",
            "name",
            "http.route",
            "user.id",
            "attributes",
            "['k']",
            "[name]",
            "JOIN",
            "USING",
            "ON",
            "=",
            "1",
            "'x'",
            "AS",
            "ORDER BY",
            "GROUP BY",
            "HAVING",
            "UNION ALL",
            "WITH",
            "RECURSIVE",
            "x",
            "LATERAL",
            "EXISTS",
            "IN",
            "NOT",
            "count(*)",
            "OVER",
            "EXCEPT",
            "EXCLUDE",
            "REPLACE",
            "VALUES",
            "UNNEST",
            "trace",
            "EXPLAIN",
            "DESCRIBE",
            "$1",
            "::",
            "TABLE",
            "LIMIT",
            "ALL",
            "DISTINCT",
            "CASE",
            "WHEN",
            "THEN",
            "END",
            ";",
            "\"",
            "user",
            "NATURAL",
        ];
        proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..14)
            .prop_map(|words| format!("SELECT {}", words.join(" ")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Text is resolved or refused; the parser can read a resolved statement again.
        #[test]
        fn no_text_panics(sql in soup()) {
            let keys = ["http.route", "user.id", "k"].map(str::to_owned).into();
            if let Some(text) = rewritten(&keys, &sql) {
                prop_assert!(parse(&text).is_ok(), "{} became {}", sql, text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// A statement that works means the same whatever else producers send. Keys that differ from one of
        /// the statement's in case only are not unrelated.
        #[test]
        fn unrelated_keys_change_no_result(
            (keys, sql) in proptest::collection::btree_set(key(), 1..6).prop_flat_map(|keys| {
                let statement = statement(keys.iter().cloned().collect());
                (Just(keys), statement)
            }),
            more in proptest::collection::btree_set(key(), 0..12),
        ) {
            if let Some(before) = rewritten(&keys, &sql) {
                let known: BTreeSet<_> = keys.iter().map(|k| k.to_lowercase()).collect();
                let unrelated = more.into_iter().filter(|k| !known.contains(&k.to_lowercase()));
                let all: BTreeSet<_> = keys.iter().cloned().chain(unrelated).collect();
                prop_assert_eq!(Some(before), rewritten(&all, &sql), "{}", sql);
            }
        }
    }
}

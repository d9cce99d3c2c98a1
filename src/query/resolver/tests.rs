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

/// An attribute value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum V {
    Text(String),
    Int(i64),
}

#[derive(Debug, Clone)]
pub(super) struct Row {
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
pub(super) fn rows() -> Vec<Row> {
    let t = |s: &str| V::Text(s.to_owned());
    let row = |signal, ids: [u8; 3], at, duration, name, status, attributes: &[(&str, V)]| {
        let [trace, span, parent] = ids.map(|id| (id > 0).then_some(id));
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        Row { signal, trace, span, parent, at, duration, name, status, attributes }
    };
    let web = ("service.name", t("web"));
    let pay = ("service.name", t("pay"));
    vec![
        row("span", [1, 1, 0], 100, Some(50), "GET /", Some("ok"), &[
            web.clone(),
            ("http.route", t("/")),
            ("http.status_code", V::Int(200)),
            ("user.id", t("u1")),
            ("name", t("attribute name")),
            ("minute", t("attribute minute")),
        ]),
        row("span", [1, 2, 1], 110, Some(30), "charge", Some("error"), &[
            pay.clone(),
            ("http.route", t("/charge")),
            ("http.status_code", V::Int(500)),
            ("user.id", t("u1")),
            ("K8s.Pod", t("pod-7")),
        ]),
        row("log", [1, 2, 0], 115, None, "failed", None, &[pay.clone(), ("user.id", t("u1")), ("a b\"c'd", t("odd"))]),
        row("span", [2, 3, 9], 200, Some(10), "GET /", Some("ok"), &[
            web.clone(),
            ("http.route", t("/")),
            ("http.status_code", V::Int(404)),
            ("user.id", t("u2")),
        ]),
        row("log", [0, 0, 0], 300, None, "alone", None, &[web.clone(), ("user.id", t("u2"))]),
        row("span", [3, 4, 5], 400, Some(5), "a", None, &[web.clone()]),
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
    let text = |f: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(StringViewArray::from_iter(rows.iter().map(f))) };
    match name {
        "timestamp" => {
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|r| r.at)).with_timezone("UTC"))
        }
        "signal" => text(|r| Some(r.signal)),
        "name" => text(|r| Some(r.name)),
        "status" => text(|r| r.status),
        "trace_id" => ids(rows, 16, |r| r.trace),
        "span_id" => ids(rows, 8, |r| r.span),
        "parent_span_id" => ids(rows, 8, |r| r.parent),
        "duration_ns" => Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.duration))),
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
pub(super) struct Fixture {
    context: SessionContext,
    keys: KeyDictionary,
    views: Views,
    tables: BTreeMap<String, Vec<String>>,
    runtime: tokio::runtime::Runtime,
}

impl Fixture {
    pub(super) fn new(more_keys: &[&str]) -> Self {
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
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema("public", Arc::new(TestSchema(rows))).unwrap();
        context.register_catalog("datafusion", Arc::new(catalog));
        let mut views = Views::builtin().unwrap();
        let add = [
            ("slow", "SELECT * FROM spans WHERE duration_ns >= 10"),
            ("routes", "SELECT http.route AS route, duration_ns FROM spans"),
            ("both", "SELECT * FROM spans UNION ALL SELECT * FROM logs"),
        ];
        add.iter().for_each(|(name, sql)| views.add_view(name, sql).unwrap());
        let tables = BTreeMap::from([("closed".to_owned(), vec!["id".to_owned()])]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { context, keys, views, tables, runtime }
    }

    pub(super) fn resolve(&self, sql: &str) -> Result<Resolved> {
        let context = ResolveContext {
            keys: &self.keys,
            views: &self.views,
            tables: &self.tables,
            schema: "public",
            functions: &[],
            table_functions: &[],
        };
        resolve(sql, &context)
    }

    /// Column names, then rows, as text; or the error.
    pub(super) fn run(&self, sql: &str) -> String {
        let resolved = match self.resolve(sql) {
            Ok(resolved) => resolved,
            Err(error) => return format!("error: {error}"),
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

#[test]
fn look() {
    let f = Fixture::new(&[]);
    for sql in std::fs::read_to_string("/tmp/resolver_probe.sql").unwrap().split(";\n") {
        println!("### {sql}\n{}\n", f.run(sql));
    }
}

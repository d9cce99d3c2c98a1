//! Which core columns does an event have?
//!
//! Core columns have fixed names and types; a column that does not apply to a signal is null. SQL can name all of
//! them; `select *` shows those with `in_star`, followed by the `attributes` map. The others exist so that OTLP
//! output equals OTLP input.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// Name of the text column for the attributes of a row that have no column: a typed JSON object from physical names
/// to values.
pub const OVERFLOW: &str = "overflow";

/// Name of the SQL column with all attributes of an event: a map from names to display text.
pub const ATTRIBUTES: &str = "attributes";

/// Name of the column with all attributes of an event without loss: a typed JSON object from physical names to
/// values. Internal; SQL cannot name it.
pub const TYPED_ATTRIBUTES: &str = "typed_attributes";

/// One core column.
#[derive(Debug, Clone)]
pub struct CoreColumn {
    /// Name and type, as in memory.
    pub field: Field,
    /// True if `select *` shows it.
    pub in_star: bool,
}

/// Type of timestamps: nanoseconds since the epoch, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// Type of the items of `links`.
pub fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("trace_state", DataType::Utf8View, true),
        Field::new("attributes", DataType::Utf8View, true),
        Field::new("dropped_attributes_count", DataType::UInt32, true),
        Field::new("flags", DataType::UInt32, true),
    ])
}

/// Type of the items of `exemplars`.
pub fn exemplar_fields() -> Fields {
    Fields::from(vec![
        Field::new("timestamp", timestamp_type(), true),
        Field::new("value", DataType::Float64, true),
        Field::new("value_int", DataType::Int64, true),
        Field::new("trace_id", DataType::FixedSizeBinary(16), true),
        Field::new("span_id", DataType::FixedSizeBinary(8), true),
        Field::new("attributes", DataType::Utf8View, true),
    ])
}

/// Type of the items of `summary.quantiles`.
pub fn quantile_fields() -> Fields {
    Fields::from(vec![
        Field::new("quantile", DataType::Float64, true),
        Field::new("value", DataType::Float64, true),
    ])
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// Names of the core columns, for use in code.
#[expect(missing_docs, reason = "each is the column of its name; see the table of columns")]
pub mod column {
    pub const TIMESTAMP: &str = "timestamp";
    pub const SIGNAL: &str = "signal";
    pub const TRACE_ID: &str = "trace_id";
    pub const SPAN_ID: &str = "span_id";
    pub const PARENT_SPAN_ID: &str = "parent_span_id";
    pub const NAME: &str = "name";
    pub const KIND: &str = "kind";
    pub const STATUS: &str = "status";
    pub const STATUS_MESSAGE: &str = "status_message";
    pub const DURATION_NS: &str = "duration_ns";
    pub const SEVERITY_NUMBER: &str = "severity_number";
    pub const SEVERITY: &str = "severity";
    pub const SEVERITY_TEXT: &str = "severity_text";
    pub const SEVERITY_ORIGIN: &str = "severity_origin";
    pub const BODY: &str = "body";
    pub const VALUE: &str = "value";
    pub const SAMPLE_WEIGHT: &str = "sample_weight";
    pub const OBSERVED_TIMESTAMP: &str = "observed_timestamp";
    pub const START_TIMESTAMP: &str = "start_timestamp";
    pub const TIMESTAMP_ORIGIN: &str = "timestamp_origin";
    pub const BODY_TYPE: &str = "body_type";
    pub const TRACE_STATE: &str = "trace_state";
    pub const FLAGS: &str = "flags";
    pub const DROPPED_ATTRIBUTES_COUNT: &str = "dropped_attributes_count";
    pub const DROPPED_EVENTS_COUNT: &str = "dropped_events_count";
    pub const DROPPED_LINKS_COUNT: &str = "dropped_links_count";
    pub const LINKS: &str = "links";
    pub const SCOPE_NAME: &str = "scope.name";
    pub const SCOPE_VERSION: &str = "scope.version";
    pub const SCOPE_SCHEMA_URL: &str = "scope.schema_url";
    pub const SCOPE_DROPPED: &str = "scope.dropped_attributes_count";
    pub const RESOURCE_SCHEMA_URL: &str = "resource.schema_url";
    pub const RESOURCE_DROPPED: &str = "resource.dropped_attributes_count";
    pub const RESOURCE_ENTITIES: &str = "resource.entity_refs";
    pub const VALUE_INT: &str = "value_int";
    pub const METRIC_TYPE: &str = "metric.type";
    pub const METRIC_UNIT: &str = "metric.unit";
    pub const METRIC_DESCRIPTION: &str = "metric.description";
    pub const METRIC_TEMPORALITY: &str = "metric.temporality";
    pub const METRIC_MONOTONIC: &str = "metric.monotonic";
    pub const METRIC_METADATA: &str = "metric.metadata";
    pub const HISTOGRAM_COUNT: &str = "histogram.count";
    pub const HISTOGRAM_SUM: &str = "histogram.sum";
    pub const HISTOGRAM_MIN: &str = "histogram.min";
    pub const HISTOGRAM_MAX: &str = "histogram.max";
    pub const HISTOGRAM_BOUNDS: &str = "histogram.bounds";
    pub const HISTOGRAM_COUNTS: &str = "histogram.bucket_counts";
    pub const EXPONENTIAL_SCALE: &str = "exponential.scale";
    pub const EXPONENTIAL_ZERO_COUNT: &str = "exponential.zero_count";
    pub const EXPONENTIAL_ZERO_THRESHOLD: &str = "exponential.zero_threshold";
    pub const EXPONENTIAL_POSITIVE_OFFSET: &str = "exponential.positive_offset";
    pub const EXPONENTIAL_POSITIVE_COUNTS: &str = "exponential.positive_counts";
    pub const EXPONENTIAL_NEGATIVE_OFFSET: &str = "exponential.negative_offset";
    pub const EXPONENTIAL_NEGATIVE_COUNTS: &str = "exponential.negative_counts";
    pub const SUMMARY_QUANTILES: &str = "summary.quantiles";
    pub const EXEMPLARS: &str = "exemplars";
}

/// Core columns, in the order of every schema.
pub fn core_columns() -> &'static [CoreColumn] {
    &CORE.columns
}

/// Arrow schema of all core columns.
pub fn core_schema() -> SchemaRef {
    Arc::clone(&CORE.schema)
}

/// Position of a core column in [`core_columns`]; `name` is case-sensitive.
pub fn core_index(name: &str) -> Option<usize> {
    CORE.index.get(name).copied()
}

/// True if no attribute may have this physical name.
pub fn is_reserved(name: &str) -> bool {
    core_index(name).is_some() || [OVERFLOW, ATTRIBUTES, TYPED_ATTRIBUTES].contains(&name)
}

/// True for a core column that version 0.1 did not have. Segments of that version may have an attribute with this
/// name.
pub fn is_later(name: &str) -> bool {
    [column::SEVERITY_TEXT, column::SEVERITY_ORIGIN].contains(&name)
}

struct Core {
    columns: Vec<CoreColumn>,
    schema: SchemaRef,
    index: HashMap<String, usize>,
}

/// Computed once, immutable.
static CORE: LazyLock<Core> = LazyLock::new(|| {
    let columns = columns();
    let schema = Schema::new(columns.iter().map(|c| c.field.clone()).collect::<Vec<_>>());
    let index = columns.iter().enumerate().map(|(i, c)| (c.field.name().clone(), i)).collect();
    Core { columns, schema: Arc::new(schema), index }
});

fn columns() -> Vec<CoreColumn> {
    use column as c;
    let required = [c::TIMESTAMP, c::SIGNAL, c::SAMPLE_WEIGHT];
    let column = |in_star| {
        move |(name, ty): (&str, DataType)| CoreColumn {
            field: Field::new(name, ty, !required.contains(&name)),
            in_star,
        }
    };
    shown().into_iter().map(column(true)).chain(hidden().into_iter().map(column(false))).collect()
}

/// Core columns that `*` shows.
fn shown() -> [(&'static str, DataType); 15] {
    use DataType::{FixedSizeBinary, Float64, Int64, Utf8View};
    use column as c;
    [
        (c::TIMESTAMP, timestamp_type()),
        (c::SIGNAL, Utf8View),
        (c::TRACE_ID, FixedSizeBinary(16)),
        (c::SPAN_ID, FixedSizeBinary(8)),
        (c::PARENT_SPAN_ID, FixedSizeBinary(8)),
        (c::NAME, Utf8View),
        (c::KIND, Utf8View),
        (c::STATUS, Utf8View),
        (c::STATUS_MESSAGE, Utf8View),
        (c::DURATION_NS, Int64),
        (c::SEVERITY_NUMBER, Int64),
        (c::SEVERITY, Utf8View),
        (c::BODY, Utf8View),
        (c::VALUE, Float64),
        (c::SAMPLE_WEIGHT, Float64),
    ]
}

/// Core columns that `*` leaves out.
fn hidden() -> [(&'static str, DataType); 41] {
    use DataType::{Boolean, Float64, Int32, Int64, UInt32, UInt64, Utf8View};
    use column as c;
    let struct_list = |fields| list(DataType::Struct(fields));
    [
        (c::OBSERVED_TIMESTAMP, timestamp_type()),
        (c::START_TIMESTAMP, timestamp_type()),
        (c::TIMESTAMP_ORIGIN, Utf8View),
        (c::SEVERITY_TEXT, Utf8View),
        (c::SEVERITY_ORIGIN, Utf8View),
        (c::BODY_TYPE, Utf8View),
        (c::TRACE_STATE, Utf8View),
        (c::FLAGS, UInt32),
        (c::DROPPED_ATTRIBUTES_COUNT, UInt32),
        (c::DROPPED_EVENTS_COUNT, UInt32),
        (c::DROPPED_LINKS_COUNT, UInt32),
        (c::LINKS, struct_list(link_fields())),
        (c::SCOPE_NAME, Utf8View),
        (c::SCOPE_VERSION, Utf8View),
        (c::SCOPE_SCHEMA_URL, Utf8View),
        (c::SCOPE_DROPPED, UInt32),
        (c::RESOURCE_SCHEMA_URL, Utf8View),
        (c::RESOURCE_DROPPED, UInt32),
        (c::RESOURCE_ENTITIES, Utf8View),
        (c::VALUE_INT, Int64),
        (c::METRIC_TYPE, Utf8View),
        (c::METRIC_UNIT, Utf8View),
        (c::METRIC_DESCRIPTION, Utf8View),
        (c::METRIC_TEMPORALITY, Utf8View),
        (c::METRIC_MONOTONIC, Boolean),
        (c::METRIC_METADATA, Utf8View),
        (c::HISTOGRAM_COUNT, UInt64),
        (c::HISTOGRAM_SUM, Float64),
        (c::HISTOGRAM_MIN, Float64),
        (c::HISTOGRAM_MAX, Float64),
        (c::HISTOGRAM_BOUNDS, list(Float64)),
        (c::HISTOGRAM_COUNTS, list(UInt64)),
        (c::EXPONENTIAL_SCALE, Int32),
        (c::EXPONENTIAL_ZERO_COUNT, UInt64),
        (c::EXPONENTIAL_ZERO_THRESHOLD, Float64),
        (c::EXPONENTIAL_POSITIVE_OFFSET, Int32),
        (c::EXPONENTIAL_POSITIVE_COUNTS, list(UInt64)),
        (c::EXPONENTIAL_NEGATIVE_OFFSET, Int32),
        (c::EXPONENTIAL_NEGATIVE_COUNTS, list(UInt64)),
        (c::SUMMARY_QUANTILES, struct_list(quantile_fields())),
        (c::EXEMPLARS, struct_list(exemplar_fields())),
    ]
}

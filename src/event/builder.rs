//! How is an [`EventBatch`] built, row by row?

use std::hash::BuildHasher;
use std::ops::Deref;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Float64Type, Schema, UInt64Type};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::batch::{AttributeColumn, EventBatch};
use super::core_event::{CoreEvent, NumberValue};
use super::severity::Severity;
use super::sparse::{
    AttributeValues, Bools, Counts, Counts32, Doubles, ExemplarLists, Ids, Ints, Ints32, LinkLists, Lists,
    Quantiles, Sparse, Texts, Times,
};
use super::{AttributeKey, Level, Value, schema};
use crate::error::Result;

/// An attribute key of one builder. Cheap to copy; valid only for that builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(u32);

/// Collects events into an [`EventBatch`].
///
/// ```
/// # use broadloom::event::{CoreEvent, EventBatchBuilder, Level, Signal, Value};
/// let mut builder = EventBatchBuilder::new();
/// let route = builder.key(Level::Record, "http.route");
/// builder.push(&CoreEvent { timestamp_ns: 1, signal: Signal::Span, ..CoreEvent::default() });
/// builder.attribute(route, Value::Text("/checkout"));
/// let batch = builder.finish().unwrap();
/// assert_eq!(batch.rows(), 1);
/// ```
#[derive(Default)]
pub struct EventBatchBuilder {
    rows: u32,
    core: CoreBuilder,
    keys: Vec<KeyColumns>,
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Index of the last key looked up.
    last_key: usize,
}

/// Columns of one key: one per type that occurred, indexed by the type's code.
struct KeyColumns {
    key: AttributeKey,
    /// Index of the key that was looked up after this one.
    next_key: usize,
    types: [Option<AttributeValues>; 6],
}

impl EventBatchBuilder {
    /// Creates a builder without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of events pushed.
    pub fn rows(&self) -> usize {
        self.rows as usize
    }

    /// Number of distinct keys looked up so far.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Looks up `key` for [`attribute`](Self::attribute). Expected O(1).
    ///
    /// Events of one kind usually have their keys in the same order. So the key that followed the previous one last
    /// time is tried first: a comparison instead of a hash.
    pub fn key(&mut self, level: Level, key: &str) -> KeyId {
        let is_it = |known: &&KeyColumns| known.key.level == level && &*known.key.key == key;
        let expected = self.keys.get(self.last_key).map_or(0, |last| last.next_key);
        if self.keys.get(expected).as_ref().is_some_and(is_it) {
            self.last_key = expected;
            return KeyId(expected as u32);
        }
        let id = self.find_or_insert(level, key);
        let found = id.0 as usize;
        self.keys[self.last_key].next_key = found;
        self.last_key = found;
        id
    }

    fn find_or_insert(&mut self, level: Level, key: &str) -> KeyId {
        let hash = self.hasher.hash_one((level, key));
        let found = self.by_key.find(hash, |i| {
            let known = &self.keys[*i as usize].key;
            known.level == level && &*known.key == key
        });
        if let Some(i) = found {
            return KeyId(*i);
        }
        let id = self.keys.len() as u32;
        self.keys.push(KeyColumns {
            key: AttributeKey::new(level, key),
            next_key: 0,
            types: Default::default(),
        });
        let (keys, hasher) = (&self.keys, &self.hasher);
        self.by_key.insert_unique(hash, id, |i| {
            let key = &keys[*i as usize].key;
            hasher.hash_one((key.level, &*key.key))
        });
        KeyId(id)
    }

    /// Adds an event; its attributes follow.
    pub fn push(&mut self, event: &CoreEvent<'_>) {
        let level = Severity::of(event.severity_number, event.severity);
        self.core.push(self.rows, &Row { event, level });
        self.rows += 1;
    }

    /// Sets an attribute of the last pushed event. If a key has several values of one type, which OTLP forbids, the
    /// first counts. JSON's `null` leaves the attribute unset and does not affect the type of its key.
    ///
    /// # Panics
    /// If no event was pushed, or if `key` is of another builder: both are defects of the caller.
    pub fn attribute(&mut self, key: KeyId, value: Value<'_>) {
        assert!(self.rows > 0, "an attribute belongs to an event");
        if value.is_null() {
            return;
        }
        let ty = value.attribute_type();
        self.keys[key.0 as usize].types[ty as usize]
            .get_or_insert_with(|| AttributeValues::new(ty))
            .push(self.rows - 1, value);
    }

    /// Returns the batch of all pushed events.
    pub fn finish(self) -> Result<EventBatch> {
        let rows = self.rows as usize;
        let core = self.core.finish(rows)?;
        let mut attributes = Vec::with_capacity(self.keys.len());
        for KeyColumns { key, types, .. } in self.keys {
            for (ty, values) in super::AttributeType::ALL.into_iter().zip(types) {
                if let Some(values) = values {
                    let (rows, values) = values.finish();
                    attributes.push(AttributeColumn::new(key.clone(), ty, rows, values));
                }
            }
        }
        EventBatch::new(core, attributes)
    }
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn positive(count: u32) -> Option<u32> {
    (count > 0).then_some(count)
}

fn items<T>(items: &[T]) -> Option<&[T]> {
    (!items.is_empty()).then_some(items)
}

/// An event and its severity columns.
struct Row<'a> {
    event: &'a CoreEvent<'a>,
    level: Severity<'a>,
}

impl<'a> Deref for Row<'a> {
    type Target = CoreEvent<'a>;
    fn deref(&self) -> &CoreEvent<'a> {
        self.event
    }
}

/// Table of core columns: field of the builder, type that collects its values, column name, and value of an event.
macro_rules! core_builder {
    ($($field:ident: $values:ty, $name:ident, |$event:ident| $value:expr;)*) => {
        #[derive(Default)]
        struct CoreBuilder {
            $($field: Sparse<$values>,)*
        }

        impl CoreBuilder {
            fn push(&mut self, row: u32, event: &Row<'_>) {
                $({
                    let $event = event;
                    if let Some(value) = $value {
                        self.$field.push(row, value);
                    }
                })*
            }

            /// Returns the columns with a value, and the required columns.
            fn finish(self, rows: usize) -> Result<RecordBatch> {
                let mut arrays: Vec<Option<ArrayRef>> = vec![None; schema::core_columns().len()];
                $(if let Some(index) = schema::core_index(schema::column::$name) {
                    let required = !schema::core_columns()[index].field.is_nullable();
                    if required || !self.$field.is_empty() {
                        arrays[index] = Some(self.$field.finish_dense(rows)?);
                    }
                })*
                let (fields, arrays): (Vec<_>, Vec<_>) = schema::core_schema()
                    .fields()
                    .iter()
                    .zip(arrays)
                    .filter_map(|(field, array)| Some((Arc::clone(field), array?)))
                    .unzip();
                Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
            }
        }
    };
}

core_builder! {
    timestamp: Times, TIMESTAMP, |e| Some(e.timestamp_ns);
    signal: Texts, SIGNAL, |e| Some(e.signal.as_str());
    trace_id: Ids<16>, TRACE_ID, |e| e.trace_id.as_ref().map(super::TraceId::as_bytes);
    span_id: Ids<8>, SPAN_ID, |e| e.span_id.as_ref().map(super::SpanId::as_bytes);
    parent_span_id: Ids<8>, PARENT_SPAN_ID, |e| e.parent_span_id.as_ref().map(super::SpanId::as_bytes);
    name: Texts, NAME, |e| e.name;
    kind: Texts, KIND, |e| e.kind;
    status: Texts, STATUS, |e| e.status;
    status_message: Texts, STATUS_MESSAGE, |e| text(e.status_message);
    duration_ns: Ints, DURATION_NS, |e| e.duration_ns;
    severity_number: Ints, SEVERITY_NUMBER, |e| e.level.number;
    severity: Texts, SEVERITY, |e| e.level.name;
    body: Texts, BODY, |e| e.body;
    value: Doubles, VALUE, |e| e.value.map(NumberValue::as_f64);
    sample_weight: Doubles, SAMPLE_WEIGHT, |e| Some(e.sample_weight);
    observed_timestamp: Times, OBSERVED_TIMESTAMP, |e| e.observed_timestamp_ns;
    start_timestamp: Times, START_TIMESTAMP, |e| e.start_timestamp_ns;
    timestamp_origin: Texts, TIMESTAMP_ORIGIN, |e| e.timestamp_origin;
    severity_text: Texts, SEVERITY_TEXT, |e| e.level.text;
    severity_origin: Texts, SEVERITY_ORIGIN, |e| e.level.origin;
    body_type: Texts, BODY_TYPE, |e| e.body_type;
    trace_state: Texts, TRACE_STATE, |e| text(e.trace_state);
    flags: Counts32, FLAGS, |e| positive(e.flags);
    dropped_attributes: Counts32, DROPPED_ATTRIBUTES_COUNT, |e| positive(e.dropped_attributes_count);
    dropped_events: Counts32, DROPPED_EVENTS_COUNT, |e| positive(e.dropped_events_count);
    dropped_links: Counts32, DROPPED_LINKS_COUNT, |e| positive(e.dropped_links_count);
    links: LinkLists, LINKS, |e| items(e.links);
    scope_name: Texts, SCOPE_NAME, |e| text(e.scope_name);
    scope_version: Texts, SCOPE_VERSION, |e| text(e.scope_version);
    scope_schema_url: Texts, SCOPE_SCHEMA_URL, |e| text(e.scope_schema_url);
    scope_dropped: Counts32, SCOPE_DROPPED, |e| positive(e.scope_dropped_attributes_count);
    resource_schema_url: Texts, RESOURCE_SCHEMA_URL, |e| text(e.resource_schema_url);
    resource_dropped: Counts32, RESOURCE_DROPPED, |e| positive(e.resource_dropped_attributes_count);
    resource_entities: Texts, RESOURCE_ENTITIES, |e| text(e.resource_entity_refs);
    value_int: Ints, VALUE_INT, |e| e.value.and_then(NumberValue::as_int);
    metric_type: Texts, METRIC_TYPE, |e| e.metric_type;
    metric_unit: Texts, METRIC_UNIT, |e| text(e.metric_unit);
    metric_description: Texts, METRIC_DESCRIPTION, |e| text(e.metric_description);
    metric_temporality: Texts, METRIC_TEMPORALITY, |e| e.metric_temporality;
    metric_monotonic: Bools, METRIC_MONOTONIC, |e| e.metric_monotonic;
    metric_metadata: Texts, METRIC_METADATA, |e| text(e.metric_metadata);
    count: Counts, HISTOGRAM_COUNT, |e| e.count;
    sum: Doubles, HISTOGRAM_SUM, |e| e.sum;
    min: Doubles, HISTOGRAM_MIN, |e| e.min;
    max: Doubles, HISTOGRAM_MAX, |e| e.max;
    bounds: Lists<Float64Type>, HISTOGRAM_BOUNDS, |e| e.bounds;
    bucket_counts: Lists<UInt64Type>, HISTOGRAM_COUNTS, |e| e.bucket_counts;
    scale: Ints32, EXPONENTIAL_SCALE, |e| e.scale;
    zero_count: Counts, EXPONENTIAL_ZERO_COUNT, |e| e.zero_count;
    zero_threshold: Doubles, EXPONENTIAL_ZERO_THRESHOLD, |e| e.zero_threshold;
    positive_offset: Ints32, EXPONENTIAL_POSITIVE_OFFSET, |e| e.positive_offset;
    positive_counts: Lists<UInt64Type>, EXPONENTIAL_POSITIVE_COUNTS, |e| e.positive_counts;
    negative_offset: Ints32, EXPONENTIAL_NEGATIVE_OFFSET, |e| e.negative_offset;
    negative_counts: Lists<UInt64Type>, EXPONENTIAL_NEGATIVE_COUNTS, |e| e.negative_counts;
    quantiles: Quantiles, SUMMARY_QUANTILES, |e| e.quantiles;
    exemplars: ExemplarLists, EXEMPLARS, |e| items(e.exemplars);
}

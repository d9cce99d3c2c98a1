//! The table `attribute_facts`: a row for each attribute key and level. The view `attributes` shows it to people.
//!
//! Most columns are [`facts`](super::facts), at no cost but the catalog's. Those about values come from a sample of
//! [`SAMPLE_EVENTS`] events, which is only read if one of these columns is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
    TimestampNanosecondArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

use super::facts::{Fact, facts, names};
use super::summary::{top_type, type_names};
use crate::event::schema::timestamp_type;
use crate::query::snapshot::ReadSnapshot;

/// Name of the table.
pub(in crate::query) const ATTRIBUTE_FACTS: &str = "attribute_facts";

/// Events of the sample.
const SAMPLE_EVENTS: usize = 2_000;

/// Position of the first column for which events are counted.
const FIRST_COUNTED: usize = 3;
/// Position of the first column that the sample is asked for.
const FIRST_SAMPLED: usize = 8;

/// Runs a statement over the snapshot of the table.
pub(in crate::query) type Ask =
    Box<dyn Fn(String) -> BoxFuture<'static, crate::error::Result<Vec<RecordBatch>>> + Send + Sync>;

/// The table in one statement.
pub(in crate::query) struct AttributeFacts {
    ask: Ask,
    snapshot: ReadSnapshot,
    schema: SchemaRef,
}

impl fmt::Debug for AttributeFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AttributeFacts")
    }
}

fn fields() -> Vec<Field> {
    let columns = [
        ("key", DataType::Utf8View),
        ("level", DataType::Utf8View),
        ("types", DataType::Utf8View),
        ("events", DataType::Int64),
        ("share", DataType::Float64),
        ("exact", DataType::Boolean),
        ("first_seen", timestamp_type()),
        ("last_seen", timestamp_type()),
        ("sampled", DataType::Int64),
        ("distinct_values", DataType::Int64),
        ("top_values", top_type()),
    ];
    columns.into_iter().map(|(name, ty)| Field::new(name, ty, true)).collect()
}

/// Names of the columns.
pub(in crate::query) fn columns() -> Vec<String> {
    fields().into_iter().map(|field| field.name().clone()).collect()
}

impl AttributeFacts {
    /// The attributes of `snapshot`, over which `ask` runs statements.
    pub(in crate::query) fn new(snapshot: ReadSnapshot, ask: Ask) -> Self {
        Self { ask, snapshot, schema: Arc::new(Schema::new(fields())) }
    }

    /// All rows, with the columns up to `last`; nothing is found out for those after it.
    async fn batch(&self, last: usize) -> Result<RecordBatch> {
        let needs_sample = last >= FIRST_SAMPLED;
        let facts = if last >= FIRST_COUNTED { facts(&self.snapshot).await } else { names(&self.snapshot) };
        let total = self.snapshot.rows();
        let events = facts.iter().map(|fact| i64::try_from(fact.counted()?).ok());
        let times = |of: fn(&crate::event::TimeRange) -> i64| -> ArrayRef {
            let times =
                facts.iter().map(|fact| fact.time.as_ref().map(of)).collect::<TimestampNanosecondArray>();
            Arc::new(times.with_timezone("UTC"))
        };
        let share = |events: u64| events as f64 / total as f64;
        let shares = facts.iter().map(|fact| fact.counted().filter(|_| total > 0).map(share));
        let types = facts.iter().map(|fact| Some(type_names(fact.types)));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(facts.iter().map(|fact| Some(&*fact.key.key)).collect::<StringViewArray>()),
            Arc::new(facts.iter().map(|fact| Some(fact.key.level.name())).collect::<StringViewArray>()),
            Arc::new(types.collect::<StringViewArray>()),
            Arc::new(events.collect::<Int64Array>()),
            Arc::new(shares.collect::<Float64Array>()),
            Arc::new(facts.iter().map(|fact| Some(fact.is_exact)).collect::<BooleanArray>()),
            times(|time| time.min_ns),
            times(|time| time.max_ns),
        ];
        let sampled = if needs_sample { self.sample().await? } else { None };
        columns.extend(of_sample(&facts, sampled.as_ref())?);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Keys, levels, events, different values, values that occurred once, and most frequent values of a sample.
    async fn sample(&self) -> Result<Option<RecordBatch>> {
        let sql = format!(
            "SELECT key, level, events, distinct_values, once, top_values \
             FROM keys_of((SELECT * FROM events LIMIT {SAMPLE_EVENTS}))"
        );
        let batches = (self.ask)(sql).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let Some(schema) = batches.first().map(RecordBatch::schema) else { return Ok(None) };
        Ok(Some(arrow::compute::concat_batches(&schema, &batches)?))
    }
}

/// Columns from the sample, for each of `facts`; null for keys that it does not have.
fn of_sample(facts: &[Fact], sampled: Option<&RecordBatch>) -> Result<Vec<ArrayRef>> {
    let Some(sampled) = sampled else {
        let rows = facts.len();
        let empty = fields().split_off(FIRST_SAMPLED);
        return Ok(empty.iter().map(|field| arrow::array::new_null_array(field.data_type(), rows)).collect());
    };
    let [keys, levels, events, distinct, once, top] = sampled.columns() else {
        return datafusion::common::internal_err!("keys_of has other columns than expected");
    };
    let texts = |column: &ArrayRef| arrow::compute::cast(column, &DataType::Utf8View);
    let (keys, levels) = (texts(keys)?, texts(levels)?);
    let (keys, levels) = (keys.as_string_view(), levels.as_string_view());
    let places: HashMap<(&str, &str), u32> =
        (0..sampled.num_rows()).map(|row| ((keys.value(row), levels.value(row)), row as u32)).collect();
    let place = |fact: &Fact| places.get(&(&*fact.key.key, fact.key.level.name())).copied();
    let [events, distinct, once] = [events, distinct, once].map(AsArray::as_primitive::<Int64Type>);
    let estimates = facts.iter().map(|fact| {
        let row = place(fact)? as usize;
        let sample =
            Sample { events: events.value(row), distinct: distinct.value(row), once: once.value(row) };
        Some(sample.distinct_of(i64::try_from(fact.events).unwrap_or(i64::MAX)))
    });
    let rows: UInt32Array = facts.iter().map(place).collect();
    Ok(vec![
        Arc::new(
            facts
                .iter()
                .map(|fact| place(fact).map(|row| events.value(row as usize)))
                .collect::<Int64Array>(),
        ),
        Arc::new(estimates.collect::<Int64Array>()),
        arrow::compute::take(top, &rows, None)?,
    ])
}

/// Values of a key in a sample.
struct Sample {
    events: i64,
    distinct: i64,
    once: i64,
}

impl Sample {
    /// Number of different values among `events` events. Values that occurred once in the sample stand for
    /// √(events / sampled) values each, others for themselves (the guaranteed-error estimator, Charikar et al. 2000).
    fn distinct_of(&self, events: i64) -> i64 {
        let factor = (events as f64 / self.events.max(1) as f64).max(1.0).sqrt();
        let estimate = self.once as f64 * factor + (self.distinct - self.once) as f64;
        (estimate.round() as i64).clamp(self.distinct, events.max(self.distinct))
    }
}

#[async_trait]
impl TableProvider for AttributeFacts {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let last = projection.map_or(usize::MAX, |columns| columns.iter().copied().max().unwrap_or(0));
        let batch = self.batch(last).await?;
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![vec![batch]])?;
        table.scan(session, projection, filters, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_occur_once_in_a_sample_stand_for_more() {
        let sample = |events, distinct, once| Sample { events, distinct, once };
        assert_eq!(sample(100, 5, 0).distinct_of(10_000), 5);
        assert_eq!(sample(100, 100, 100).distinct_of(100), 100);
        assert_eq!(sample(100, 100, 100).distinct_of(10_000), 1000);
        assert_eq!(sample(100, 3, 1).distinct_of(2), 3, "events that are not counted");
    }
}

//! `summarize_keys(typed_attributes)`: the keys of events, a struct for each key and level, the most frequent first.
//!
//! `sql/keys_of.sql` calls it; it is not meant for people.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringViewArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;

use super::tally::Tally;
use crate::event::{AttributeKey, AttributeType, TypeSet, typed_json};
use crate::query::bytes::{Reader, write};
use crate::query::functions::collected::{Collected, Collecting, exactly};
use crate::query::functions::display_json;

/// Values that are shown of a key.
const TOP: usize = 10;
/// Most memory for values of all keys, in bytes; keys are counted beyond it.
const VALUES_BYTES_MAX: usize = 64 << 20;

/// The function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SummarizeKeys;

/// Keys of events by their physical names.
#[derive(Debug, Default)]
pub(super) struct Keys {
    tallies: HashMap<String, Tally>,
    events: u64,
    bytes: usize,
}

impl Keys {
    /// Changes the tally of a key, and the memory of all.
    fn change<T>(&mut self, name: &str, change: impl FnOnce(&mut Tally) -> T) -> T {
        if !self.tallies.contains_key(name) {
            self.bytes += size_of::<Tally>() + name.len();
            self.tallies.insert(name.to_owned(), Tally::default());
        }
        let tally = self.tallies.entry(name.to_owned()).or_default();
        let before = tally.heap_bytes();
        let changed = change(tally);
        self.bytes = (self.bytes + tally.heap_bytes()).saturating_sub(before);
        changed
    }

    fn take(&mut self, object: &str) -> crate::error::Result<()> {
        self.events += 1;
        for (key, raw) in typed_json::parse_object(object)? {
            if typed_json::is_null(raw.get()) {
                continue;
            }
            let ty = typed_json::type_of(raw);
            let is_full = self.bytes > VALUES_BYTES_MAX;
            self.change(typed_json::unescape_key(&key), |tally| {
                if is_full { tally.add_uncounted(ty) } else { tally.add(ty, &display_json(raw)) }
            });
        }
        Ok(())
    }
}

impl Collected for Keys {
    type Batch = StringViewArray;

    fn batch(columns: &[ArrayRef]) -> Result<StringViewArray> {
        let [objects] = columns else { return exec_err!("summarize_keys takes one argument") };
        Ok(objects.as_string_view().clone())
    }

    fn add(&mut self, batch: &StringViewArray, row: usize) -> Result<()> {
        if batch.is_valid(row) {
            self.take(batch.value(row))
                .map_err(|error| datafusion::error::DataFusionError::External(Box::new(error)))?;
        }
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) {
        write::number(out, self.events);
        write::number(out, self.tallies.len() as u64);
        for (name, tally) in &self.tallies {
            write::bytes(out, name.as_bytes());
            tally.write(out);
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Option<()> {
        let mut reader = Reader::new(bytes);
        self.events += reader.number()?;
        for _ in 0..reader.number()? {
            let name = reader.text()?;
            self.change(name, |tally| tally.merge(&mut reader))?;
        }
        Some(())
    }

    fn heap_bytes(&self) -> usize {
        self.bytes
    }
}

/// Names of types, as messages call them.
pub(super) fn type_names(types: TypeSet) -> String {
    types.iter().map(AttributeType::name).collect::<Vec<_>>().join(", ")
}

fn top_fields() -> Fields {
    Fields::from(vec![
        Field::new("value", DataType::Utf8View, true),
        Field::new("events", DataType::Int64, true),
    ])
}

/// Type of the most frequent values: a list of values with their numbers.
pub(super) fn top_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(top_fields()), true)))
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8View, true),
        Field::new("level", DataType::Utf8View, true),
        Field::new("types", DataType::Utf8View, true),
        Field::new("events", DataType::Int64, true),
        Field::new("share", DataType::Float64, true),
        Field::new("distinct_values", DataType::Int64, true),
        Field::new("once", DataType::Int64, true),
        Field::new("top_values", top_type(), true),
    ])
}

impl Collecting for SummarizeKeys {
    type Rows = Keys;
    type Settings = ();

    fn name(&self) -> &'static str {
        "summarize_keys"
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        exactly(self.name(), "keys_of", &[DataType::Utf8View], types)
    }

    fn result(&self) -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields()), true)))
    }

    fn settings(&self, _: &[Option<ScalarValue>]) -> Result<()> {
        Ok(())
    }

    fn finish(&self, (): &(), keys: &Keys) -> Result<ArrayRef> {
        let mut found: Vec<(AttributeKey, &Tally)> = keys
            .tallies
            .iter()
            .filter_map(|(name, tally)| Some((AttributeKey::from_physical_name(name)?, tally)))
            .collect();
        found.sort_unstable_by(|a, b| {
            let by_name = (&a.0.key, a.0.level).cmp(&(&b.0.key, b.0.level));
            b.1.events.cmp(&a.1.events).then(by_name)
        });
        let integers = |of: fn(&Tally) -> u64| -> ArrayRef {
            Arc::new(found.iter().map(|(_, tally)| i64::try_from(of(tally)).ok()).collect::<Int64Array>())
        };
        let types = found.iter().map(|(_, tally)| Some(type_names(tally.types)));
        let shares = found.iter().map(|(_, tally)| Some(tally.events as f64 / keys.events as f64));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(found.iter().map(|(key, _)| Some(&*key.key)).collect::<StringViewArray>()),
            Arc::new(found.iter().map(|(key, _)| Some(key.level.name())).collect::<StringViewArray>()),
            Arc::new(types.collect::<StringViewArray>()),
            integers(|tally| tally.events),
            Arc::new(shares.collect::<Float64Array>()),
            integers(Tally::distinct),
            integers(Tally::once),
            Arc::new(tops(found.iter().map(|(_, tally)| *tally))?),
        ];
        Ok(Arc::new(StructArray::try_new(fields(), columns, None)?))
    }
}

fn tops<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Result<ListArray> {
    let (mut values, mut counts, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for tally in tallies {
        let top = tally.top(TOP);
        lengths.push(top.len());
        for (value, count) in top {
            values.push(Some(value.to_owned()));
            counts.push(i64::try_from(count).ok());
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(values.into_iter().collect::<StringViewArray>()),
        Arc::new(counts.into_iter().collect::<Int64Array>()),
    ];
    let items = StructArray::try_new(top_fields(), columns, None)?;
    let item: FieldRef = Arc::new(Field::new_list_field(DataType::Struct(top_fields()), true));
    Ok(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(items), None)?)
}

//! How are the cells of core columns read, whatever columns a query returned?

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt32Type,
    UInt64Type,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::error::{Error, Result};
use crate::event::schema::{self, column as c};
use crate::event::{AttributeKey, Level, Signal, typed_json};

/// Columns of one batch, converted to the types of event columns.
pub(super) struct Columns {
    /// Indexed by position in the core schema; `None` is null in every row.
    core: Vec<Option<ArrayRef>>,
    attributes: Option<ArrayRef>,
}

impl Columns {
    pub(super) fn new(batch: &RecordBatch) -> Result<Self> {
        let read = |name: &str, ty: &DataType| -> Result<Option<ArrayRef>> {
            let Some(array) = batch.column_by_name(name) else { return Ok(None) };
            let array = if array.data_type() == ty {
                array.clone()
            } else {
                cast(array, ty)
                    .map_err(|e| Error::invalid(format!("column {name:?} cannot be encoded as OTLP: {e}")))?
            };
            Ok(Some(array))
        };
        let core = schema::core_columns()
            .iter()
            .map(|column| read(column.field.name(), column.field.data_type()))
            .collect::<Result<_>>()?;
        Ok(Self { core, attributes: read(schema::TYPED_ATTRIBUTES, &DataType::Utf8View)? })
    }
}

/// One event.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a Columns,
    row: usize,
}

/// The attributes of one event, sorted by key.
#[derive(Default)]
pub(super) struct RowAttributes {
    pub(super) record: Vec<KeyValue>,
    pub(super) scope: Vec<KeyValue>,
    pub(super) resource: Vec<KeyValue>,
}

impl<'a> Row<'a> {
    pub(super) fn new(columns: &'a Columns, row: usize) -> Self {
        Self { columns, row }
    }

    /// The column, if it exists and is not null in this row.
    fn cell(&self, name: &str) -> Option<&'a ArrayRef> {
        let array = self.columns.core[schema::core_index(name)?].as_ref()?;
        array.is_valid(self.row).then_some(array)
    }

    fn number<T: ArrowPrimitiveType>(&self, name: &str) -> Option<T::Native> {
        self.cell(name).map(|array| array.as_primitive::<T>().value(self.row))
    }

    pub(super) fn signal(&self) -> Option<Signal> {
        let name = self.text(c::SIGNAL)?;
        Signal::ALL.into_iter().find(|signal| signal.as_str() == name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.cell(name).map(|array| array.as_string_view().value(self.row))
    }

    /// Text; empty if null.
    pub(super) fn string(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// Bytes of an id; empty if null.
    pub(super) fn id(&self, name: &str) -> Vec<u8> {
        self.cell(name).map_or_else(Vec::new, |array| array.as_fixed_size_binary().value(self.row).to_vec())
    }

    /// Nanoseconds since the epoch; zero for times before it, which OTLP cannot express.
    pub(super) fn time(&self, name: &str) -> Option<u64> {
        self.number::<TimestampNanosecondType>(name).map(|ns| u64::try_from(ns).unwrap_or(0))
    }

    /// A 32-bit count; zero if null.
    pub(super) fn count32(&self, name: &str) -> u32 {
        self.number::<UInt32Type>(name).unwrap_or(0)
    }

    pub(super) fn count(&self, name: &str) -> Option<u64> {
        self.number::<UInt64Type>(name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.number::<Int64Type>(name)
    }

    pub(super) fn int32(&self, name: &str) -> Option<i32> {
        self.number::<Int32Type>(name)
    }

    pub(super) fn double(&self, name: &str) -> Option<f64> {
        self.number::<Float64Type>(name)
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.cell(name).map(|array| array.as_boolean().value(self.row))
    }

    /// Items of a list; `None` if null.
    fn list(&self, name: &str) -> Option<ArrayRef> {
        self.cell(name).map(|array| array.as_list::<i32>().value(self.row))
    }

    /// Numbers of a list; `None` if null.
    pub(super) fn numbers<T: ArrowPrimitiveType>(&self, name: &str) -> Option<Vec<T::Native>> {
        self.list(name).map(|items| items.as_primitive::<T>().values().to_vec())
    }

    /// Items of a list of structs; `None` if null.
    pub(super) fn structs(&self, name: &str) -> Option<StructArray> {
        self.list(name).map(|items| items.as_struct().clone())
    }

    /// Attributes of the event, without body entries: those are in the body.
    pub(super) fn attributes(&self) -> Result<RowAttributes> {
        let mut attributes = RowAttributes::default();
        let Some(array) = self.columns.attributes.as_ref().filter(|array| array.is_valid(self.row)) else {
            return Ok(attributes);
        };
        for (name, value) in typed_json::parse_object(array.as_string_view().value(self.row))? {
            let Some(key) = AttributeKey::from_physical_name(typed_json::unescape_key(&name)) else {
                continue;
            };
            let list = match key.level {
                Level::Record => &mut attributes.record,
                Level::Scope => &mut attributes.scope,
                Level::Resource => &mut attributes.resource,
                Level::Body => continue,
            };
            let value = Some(typed_json::parse_value(value)?);
            list.push(KeyValue { key: key.key.to_string(), value, ..KeyValue::default() });
        }
        for list in [&mut attributes.record, &mut attributes.scope, &mut attributes.resource] {
            list.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(attributes)
    }
}

/// Entries of an object in typed JSON; none if the text is empty.
pub(super) fn object(json: &str) -> Result<Vec<KeyValue>> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let entries = typed_json::parse_object(json)?.into_iter().map(|(key, value)| {
        let value: Option<AnyValue> = Some(typed_json::parse_value(value)?);
        Ok(KeyValue { key: typed_json::unescape_key(&key).to_owned(), value, ..KeyValue::default() })
    });
    entries.collect()
}

/// Column of a field of the structs in a list.
pub(super) fn field<'a>(items: &'a StructArray, name: &str) -> Result<&'a ArrayRef> {
    items
        .column_by_name(name)
        .ok_or_else(|| Error::internal(format!("structs of a list column have no field {name:?}")))
}

/// Text of a struct's field; empty if null.
pub(super) fn field_text<'a>(items: &'a StructArray, name: &str, i: usize) -> Result<&'a str> {
    let array = field(items, name)?.as_string_view();
    Ok(if array.is_valid(i) { array.value(i) } else { "" })
}

/// Bytes of an id in a struct's field; empty if null.
pub(super) fn field_id(items: &StructArray, name: &str, i: usize) -> Result<Vec<u8>> {
    let array = field(items, name)?.as_fixed_size_binary();
    Ok(if array.is_valid(i) { array.value(i).to_vec() } else { Vec::new() })
}

/// Number in a struct's field; `None` if null.
pub(super) fn field_number<T: ArrowPrimitiveType>(
    items: &StructArray,
    name: &str,
    i: usize,
) -> Result<Option<T::Native>> {
    let array = field(items, name)?.as_primitive::<T>();
    Ok(array.is_valid(i).then(|| array.value(i)))
}

//! Values of rows, by the names of their columns.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType, UInt32Type, UInt64Type,
};

use super::text::line;
use crate::query::output::cell;

/// A row.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

/// All rows of `batches`.
pub(in crate::cli) fn rows(batches: &[RecordBatch]) -> impl Iterator<Item = Row<'_>> {
    batches.iter().flat_map(rows_of)
}

/// All rows of `batch`.
pub(in crate::cli) fn rows_of(batch: &RecordBatch) -> impl Iterator<Item = Row<'_>> {
    (0..batch.num_rows()).map(move |row| Row { batch, row })
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> Option<&'a ArrayRef> {
        self.batch.column_by_name(name).filter(|column| column.is_valid(self.row))
    }

    /// The value of a column as text, which may have any characters; empty for null, and if there is no such column.
    pub(in crate::cli) fn raw(&self, name: &str) -> String {
        let Ok(index) = self.batch.schema_ref().index_of(name) else { return String::new() };
        let column = self.batch.column(index);
        cell::display(column, self.row, self.batch.schema_ref().field(index)).unwrap_or_default()
    }

    /// The value of a column as one line that a terminal can show; empty for null.
    pub(in crate::cli) fn text(&self, name: &str) -> String {
        line(&self.raw(name))
    }

    /// The number in a column; of a time its nanoseconds since 1970. None for null and other types.
    pub(in crate::cli) fn integer(&self, name: &str) -> Option<i64> {
        let column = self.column(name)?;
        Some(match column.data_type() {
            DataType::Int64 => column.as_primitive::<Int64Type>().value(self.row),
            DataType::UInt64 => column.as_primitive::<UInt64Type>().value(self.row).cast_signed(),
            DataType::Int32 => column.as_primitive::<Int32Type>().value(self.row).into(),
            DataType::UInt32 => column.as_primitive::<UInt32Type>().value(self.row).into(),
            DataType::Float64 => column.as_primitive::<Float64Type>().value(self.row) as i64,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                column.as_primitive::<TimestampNanosecondType>().value(self.row)
            }
            _ => return None,
        })
    }

    /// The number in a column, whatever its type. None for null.
    pub(in crate::cli) fn number(&self, name: &str) -> Option<f64> {
        let column = self.column(name)?;
        match column.data_type() {
            DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(self.row)),
            _ => self.integer(name).map(|value| value as f64),
        }
    }

    /// True if a column is true; false for null.
    pub(in crate::cli) fn is(&self, name: &str) -> bool {
        self.column(name).and_then(|column| column.as_boolean_opt()).is_some_and(|c| c.value(self.row))
    }

    /// The texts of a list; empty for null and other types.
    pub(in crate::cli) fn list(&self, name: &str) -> Vec<String> {
        let texts: Vec<String> = serde_json::from_str(&self.raw(name)).unwrap_or_default();
        texts.iter().map(|text| line(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, ListArray, StringViewArray};

    use super::*;

    #[test]
    fn values_are_read_by_name_and_null_is_nothing() {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)]), None]);
        let columns: [(&str, ArrayRef); 5] = [
            ("a", Arc::new(StringViewArray::from(vec![Some("x\ny"), None]))),
            ("b", Arc::new(Int64Array::from(vec![Some(7), None]))),
            ("c", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
            ("d", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("e", Arc::new(list)),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)));
        let batches = [batch.unwrap()];
        let all: Vec<_> = rows(&batches).collect();
        let [first, second] = all.as_slice() else { panic!("two rows") };
        assert_eq!((first.text("a"), first.raw("a")), ("x y".to_owned(), "x\ny".to_owned()));
        assert_eq!(
            (first.integer("b"), first.number("b"), first.number("c")),
            (Some(7), Some(7.0), Some(0.5))
        );
        assert!(first.is("d") && !second.is("d"));
        assert_eq!((second.text("a"), second.integer("b"), second.number("c")), (String::new(), None, None));
        assert_eq!((first.raw("nope"), first.integer("nope")), (String::new(), None));
        assert!(first.list("e").is_empty(), "a list of numbers has no texts");
    }
}

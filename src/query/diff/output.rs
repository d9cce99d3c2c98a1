//! The rows of the result, as a list of structs.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int64Array, ListArray, ListBuilder, StringBuilder, StringViewArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result;

use super::found::{Totals, What};
use super::ranking::Line;
use super::settings::{Across, Settings};
use super::tally::SIDES;

/// Field with the position of a row, which `sql/explain_diff.sql` orders by.
const ORDINAL: &str = "ordinal";

/// Names and types of the result's columns, in their order.
const COLUMNS: [(&str, DataType); 18] = [
    ("rank", DataType::Int64),
    ("kind", DataType::Utf8View),
    ("key", DataType::Utf8View),
    ("level", DataType::Utf8View),
    ("type", DataType::Utf8View),
    ("service", DataType::Utf8View),
    ("value", DataType::Utf8View),
    ("low", DataType::Float64),
    ("high", DataType::Float64),
    ("effect", DataType::Float64),
    ("p", DataType::Float64),
    ("selection_rows", DataType::Int64),
    ("baseline_rows", DataType::Int64),
    ("selection", DataType::Float64),
    ("baseline", DataType::Float64),
    ("selection_total", DataType::Int64),
    ("baseline_total", DataType::Int64),
    ("goes_with", DataType::Null),
];

/// Names of the result's columns.
pub(crate) fn columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(name, _)| *name)
}

/// Fields of a row.
fn fields() -> Fields {
    let texts = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let typed = COLUMNS.iter().map(|(name, ty)| match ty {
        DataType::Null => Field::new(*name, texts.clone(), true),
        ty => Field::new(*name, ty.clone(), true),
    });
    typed.chain([Field::new(ORDINAL, DataType::Int64, true)]).collect()
}

/// Type of the result.
pub(super) fn data_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields()), true)))
}

/// The result as a list.
pub(super) fn list(lines: &[Line], settings: &Settings, totals: [u64; SIDES]) -> Result<ListArray> {
    let key = |line: &Line| &settings.keys[line.key];
    let shares = |line: &Line, side: usize| Totals(totals).shares(line.counts)[side];
    let texts = |of: &dyn Fn(&Line) -> Option<String>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<StringViewArray>())
    };
    let numbers = |of: &dyn Fn(&Line) -> Option<f64>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<Float64Array>())
    };
    let integers = |of: &dyn Fn(&Line) -> u64| -> ArrayRef {
        Arc::new(lines.iter().map(|line| i64::try_from(of(line)).ok()).collect::<Int64Array>())
    };
    let range = |line: &Line| match line.what {
        What::Range(low, high) => Some((low, high)),
        _ => None,
    };
    let across = settings.across;
    let mut goes_with = ListBuilder::new(StringBuilder::new());
    for line in lines {
        line.goes_with.iter().for_each(|name| goes_with.values().append_value(name));
        goes_with.append(true);
    }
    let columns: Vec<ArrayRef> = vec![
        integers(&|line| line.rank as u64),
        texts(&|line| Some(kind(&line.what).to_owned())),
        texts(&|line| Some(key(line).name.clone())),
        texts(&|line| Some(key(line).level.clone())),
        texts(&|line| Some(ty(&line.what, &key(line).ty).to_owned())),
        texts(&|line| line.service.as_deref().filter(|_| across == Across::Traces).map(str::to_owned)),
        texts(&|line| value(&line.what)),
        numbers(&|line| range(line).map(|(low, _)| low)),
        numbers(&|line| range(line).map(|(_, high)| high)),
        numbers(&|line| line.effect.map(|(effect, _)| effect)),
        numbers(&|line| line.effect.map(|(_, p)| p)),
        integers(&|line| line.counts[1]),
        integers(&|line| line.counts[0]),
        numbers(&|line| Some(shares(line, 1))),
        numbers(&|line| Some(shares(line, 0))),
        integers(&|_| totals[1]),
        integers(&|_| totals[0]),
        Arc::new(goes_with.finish()),
        Arc::new(Int64Array::from_iter_values(0..lines.len() as i64)),
    ];
    let rows = StructArray::try_new(fields(), columns, None)?;
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields()), true));
    let whole = OffsetBuffer::from_lengths([lines.len()]);
    Ok(ListArray::try_new(item, whole, Arc::new(rows), None)?)
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Value(_) | What::Prefix(_) => "value",
        What::Range(..) => "range",
        What::Absent => "absent",
        What::Unique => "unique",
    }
}

fn ty<'a>(what: &What, of_key: &'a str) -> &'a str {
    if matches!(what, What::Prefix(_)) { "prefix" } else { of_key }
}

fn value(what: &What) -> Option<String> {
    match what {
        What::Value(text) => Some(text.clone()),
        What::Prefix(text) => Some(format!("{text}*")),
        What::Range(..) | What::Absent | What::Unique => None,
    }
}

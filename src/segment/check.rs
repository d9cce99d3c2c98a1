//! Is a segment intact?
//!
//! The check decodes every column, one at a time, and parses typed JSON. It compares the rows with the footer's
//! statistics. The caller compares the footer with the catalog.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use object_store::ObjectStore;

use super::meta::{NewSegment, SegmentMeta};
use super::reader::{Objects, SegmentReader, WHOLE_BYTES_MAX};
use crate::error::{Problem, contained};
use crate::event::schema::column;
use crate::event::{AttributeType, overflow, schema, typed_json};

/// Reads a whole segment, deleted events included, and returns its entry as the footer describes it, if the
/// footer can be read. Adds problems to `report` and passes the values of each column to `visit`. Skips columns
/// that overlap the byte ranges `damaged`. Needs the memory of the largest column. Blocks.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn check(
    store: &Arc<dyn ObjectStore>,
    segment: &SegmentMeta,
    damaged: &[Range<u64>],
    report: &mut Vec<Problem>,
    mut visit: impl FnMut(&str, &ArrayRef),
) -> Option<NewSegment> {
    let path = segment.path();
    let objects = Objects::new(Arc::clone(store));
    let unmasked = SegmentMeta { mask: None, ..segment.clone() };
    let opened = contained(|| {
        let reader = SegmentReader::open(objects, &unmasked, WHOLE_BYTES_MAX)?;
        let found = NewSegment::from_footer(segment.bytes, reader.footer())?;
        Ok((reader, found))
    });
    let (reader, found) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report.push(Problem::unreadable(&path, &error));
            return None;
        }
    };
    let meets = |range: Range<u64>| damaged.iter().any(|d| d.start < range.end && range.start < d.end);
    let mut names: Vec<&str> = reader.columns().map(|(name, _)| name).collect();
    names.sort_unstable();
    for name in names {
        if meets(reader.bytes_of(name)) {
            report.push(Problem::new(&path, format!("column {name:?} lies in damaged bytes")));
            continue;
        }
        match contained(|| reader.read_as_stored(name)) {
            Ok(values) => {
                report.extend(nulls_differ(&path, name, &values, &found));
                report.extend(no_json(&path, name, reader.attribute_type(name), &values));
                visit(name, &values);
            }
            Err(error) => {
                report
                    .push(Problem::new(&path, format!("column {name:?} cannot be read: {}", error.chain())));
            }
        }
    }
    if !meets(reader.bytes_of(column::TIMESTAMP)) {
        report.extend(order(&path, &reader, &found));
    }
    Some(found)
}

/// Reports timestamps that do not descend, or whose range differs from the footer's.
fn order(path: &str, reader: &SegmentReader, found: &NewSegment) -> Option<Problem> {
    match contained(|| reader.timestamps()) {
        Ok(times) => {
            let range = |min: Option<&i64>, max: Option<&i64>| format!("{min:?} to {max:?}");
            let time = found.meta.time;
            let (expected, is) =
                (range(Some(&time.min_ns), Some(&time.max_ns)), range(times.last(), times.first()));
            (expected != is).then(|| Problem::differs(path, "the range of its timestamps", expected, is))
        }
        Err(error) => Some(Problem::unreadable(path, &error)),
    }
}

/// Reports a null count that differs from the footer's. Nested columns are skipped: the footer does not count
/// their nulls.
fn nulls_differ(path: &str, name: &str, values: &ArrayRef, found: &NewSegment) -> Option<Problem> {
    if values.data_type().is_nested() {
        return None;
    }
    let (expected, is) = (found.columns.get(name)?.null_count, values.null_count() as u64);
    let differ = || Problem::differs(path, format!("rows without a value in column {name:?}"), expected, is);
    (expected != is).then(differ)
}

/// Reports the first row whose typed JSON cannot be parsed: a merge may need to parse it.
fn no_json(path: &str, name: &str, ty: Option<AttributeType>, values: &ArrayRef) -> Option<Problem> {
    let read = match ty {
        None if name == schema::OVERFLOW => overflow::check,
        Some(AttributeType::Json) => |json: &str| typed_json::parse(json).map(drop),
        _ => return None,
    };
    let texts = values.as_string_view_opt()?;
    let failed = |(row, json)| Some((row, read(json?).err()?));
    let (row, error) = texts.iter().enumerate().find_map(failed)?;
    Some(Problem::new(path, format!("row {row} of column {name:?}: {}", error.message())))
}

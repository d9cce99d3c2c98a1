//! The counts of all keys, which rows are added to batch by batch.
//!
//! [`Counts`] of several parts of the rows are merged. Across traces each service has its own counts, because the
//! cause is seldom on the span that is slow to its user; else all rows are of one nameless service.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringViewArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float64Type, Int64Type};
use arrow::util::display::FormatOptions;
use datafusion::error::Result;
use hashbrown::HashMap;

use super::column::{Column, Slots, Values};
use super::number;
use super::sample::Sample;
use super::tally::{Row, Tally};
use crate::query::bytes::{Reader, write};

/// Texts of a batch whose place is remembered, so that they are not looked up again.
const REMEMBERED: usize = 256;

/// Everything that is counted.
#[derive(Debug, Clone)]
pub(super) struct Counts<T> {
    /// All rows, or traces.
    pub(super) totals: T,
    /// Names of services, by place.
    pub(super) services: Vec<Option<Box<str>>>,
    /// The columns of each key, by the place of the service.
    pub(super) keys: Vec<Vec<Column<T>>>,
    /// Some rows as a whole; empty across traces.
    pub(super) sample: Sample,
    places: HashMap<Option<Box<str>>, usize>,
}

impl<T: Tally> Counts<T> {
    /// Counts of `keys` keys, of no rows yet.
    pub(super) fn new(keys: usize) -> Self {
        Self {
            totals: T::default(),
            services: Vec::new(),
            keys: vec![Vec::new(); keys],
            sample: Sample::default(),
            places: HashMap::new(),
        }
    }

    /// Place of a service.
    pub(super) fn service(&mut self, name: Option<&str>) -> usize {
        let name = name.map(Box::from);
        if let Some(place) = self.places.get(&name) {
            return *place;
        }
        self.services.push(name.clone());
        self.places.insert(name, self.services.len() - 1);
        self.services.len() - 1
    }

    /// Adds rows to the totals and to the counts of all keys, whose `columns` are in their order.
    pub(super) fn add(&mut self, rows: &[Row], columns: &[ArrayRef]) -> Result<()> {
        for row in rows {
            self.totals.add(row.side, row.member);
        }
        let services = self.services.len();
        for (key, array) in self.keys.iter_mut().zip(columns) {
            if array.null_count() < array.len() {
                key.resize_with(services, Column::default);
                add(key, rows, array)?;
                key.iter_mut().for_each(Column::limit);
            }
        }
        Ok(())
    }

    /// Adds the counts of another part of the rows.
    pub(super) fn merge(&mut self, other: Self) {
        self.totals.merge(&other.totals);
        self.sample.merge(other.sample);
        let places: Vec<usize> = other.services.iter().map(|name| self.service(name.as_deref())).collect();
        let services = self.services.len();
        for (key, columns) in self.keys.iter_mut().zip(other.keys) {
            key.resize_with(services, Column::default);
            for (column, place) in columns.into_iter().zip(&places) {
                key[*place].merge(column);
            }
        }
    }

    /// Approximate memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let columns: usize = self.keys.iter().flatten().map(Column::bytes).sum();
        columns + self.sample.bytes() + self.totals.heap_bytes()
    }

    /// Its bytes, for [`decode`](Self::decode).
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.totals.encode(&mut out);
        write::number(&mut out, self.services.len() as u64);
        for service in &self.services {
            write::optional(&mut out, service.as_deref());
        }
        write::number(&mut out, self.keys.len() as u64);
        for key in &self.keys {
            write::number(&mut out, key.len() as u64);
            for column in key {
                column.encode(&mut out);
            }
        }
        self.sample.encode(&mut out);
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let from = &mut Reader::new(bytes);
        let mut counts = Self::new(0);
        counts.totals = T::decode(from)?;
        for _ in 0..from.number()? {
            let name: Option<Box<str>> = from.optional(|name| name.map(Box::from))?;
            counts.service(name.as_deref());
        }
        for _ in 0..from.number()? {
            let columns = from.number()?;
            counts.keys.push((0..columns).map(|_| Column::decode(from)).collect::<Option<_>>()?);
        }
        counts.sample = Sample::decode(from)?;
        Some(counts)
    }
}

fn add<T: Tally>(columns: &mut [Column<T>], rows: &[Row], array: &ArrayRef) -> Result<()> {
    let cast = |ty: &DataType| {
        let options = CastOptions { safe: true, format_options: FormatOptions::new() };
        cast_with_options(array, ty, &options)
    };
    match array.data_type() {
        DataType::Utf8View => add_texts(columns, rows, array.as_string_view()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(..) => {
            add_texts(columns, rows, cast(&DataType::Utf8View)?.as_string_view());
        }
        DataType::Boolean => add_booleans(columns, rows, array.as_boolean()),
        ty if ty.is_integer() => add_integers(columns, rows, cast(&DataType::Int64)?.as_primitive()),
        ty if ty.is_floating() => add_doubles(columns, rows, cast(&DataType::Float64)?.as_primitive()),
        _ => {
            for row in rows.iter().filter(|row| array.is_valid(row.at)) {
                let column = &mut columns[row.service];
                column.present.add(row.side, row.member);
                column.rows += 1;
                column.values = Values::Unread;
            }
        }
    }
    Ok(())
}

/// A text's view, its service, and its place.
type Remembered = (u128, usize, Option<u32>);

fn add_texts<T: Tally>(columns: &mut [Column<T>], rows: &[Row], texts: &StringViewArray) {
    // Equal views of one array are equal texts, and texts from a dictionary have few views.
    let mut remembered: [Remembered; REMEMBERED] = [(0, 0, None); REMEMBERED];
    let views = texts.views();
    for row in rows {
        if texts.is_null(row.at) {
            continue;
        }
        let column = &mut columns[row.service];
        column.present.add(row.side, row.member);
        column.rows += 1;
        if matches!(column.values, Values::None) {
            column.values = Values::Texts(<_>::default());
        }
        let Values::Texts(slots) = &mut column.values else { continue };
        let view = views[row.at];
        let known = &mut remembered[hash(view, row.service)];
        let place = match *known {
            (v, service, Some(place)) if v == view && service == row.service => place,
            _ => {
                let place = slots.place_of_text(texts.value(row.at));
                *known = (view, row.service, Some(place));
                place
            }
        };
        slots.at(place).add(row.side, row.member);
    }
}

/// A number below [`REMEMBERED`].
fn hash(view: u128, service: usize) -> usize {
    let mixed = (view as u64 ^ (view >> 64) as u64 ^ service as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 56) as usize
}

fn add_booleans<T: Tally>(columns: &mut [Column<T>], rows: &[Row], values: &BooleanArray) {
    for row in rows.iter().filter(|row| values.is_valid(row.at)) {
        let column = &mut columns[row.service];
        column.present.add(row.side, row.member);
        column.rows += 1;
        if matches!(column.values, Values::None) {
            column.values = Values::Texts(<_>::default());
        }
        if let Values::Texts(slots) = &mut column.values {
            let place = slots.place_of_text(if values.value(row.at) { "true" } else { "false" });
            slots.at(place).add(row.side, row.member);
        }
    }
}

fn add_integers<T: Tally>(columns: &mut [Column<T>], rows: &[Row], values: &PrimitiveArray<Int64Type>) {
    add_numbers(columns, rows, values, |column, integer| match &mut column.values {
        Values::Integers(slots) => Some(slots.place(number::integer_code(integer))),
        Values::None => {
            let mut slots = Slots::default();
            let place = slots.place(number::integer_code(integer));
            column.values = Values::Integers(slots);
            Some(place)
        }
        Values::Ranges(slots) => Some(slots.place(number::coarse(number::code(integer as f64)?))),
        _ => None,
    });
}

fn add_doubles<T: Tally>(columns: &mut [Column<T>], rows: &[Row], values: &PrimitiveArray<Float64Type>) {
    add_numbers(columns, rows, values, |column, double| {
        let code = number::code(double)?;
        match &mut column.values {
            Values::Doubles(slots) => Some(slots.place(code)),
            Values::None => {
                let mut slots = Slots::default();
                let place = slots.place(code);
                column.values = Values::Doubles(slots);
                Some(place)
            }
            Values::Ranges(slots) => Some(slots.place(number::coarse(code))),
            _ => None,
        }
    });
}

fn add_numbers<T: Tally, P: ArrowPrimitiveType>(
    columns: &mut [Column<T>],
    rows: &[Row],
    values: &PrimitiveArray<P>,
    place: impl Fn(&mut Column<T>, P::Native) -> Option<u32>,
) {
    for row in rows.iter().filter(|row| values.is_valid(row.at)) {
        let column = &mut columns[row.service];
        column.present.add(row.side, row.member);
        column.rows += 1;
        let Some(place) = place(column, values.value(row.at)) else { continue };
        if let Values::Integers(slots) | Values::Doubles(slots) | Values::Ranges(slots) = &mut column.values {
            slots.at(place).add(row.side, row.member);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array};
    use proptest::prelude::*;

    use super::super::tally::{Rows, SIDES, Traces};
    use super::*;

    /// A row: its side, trace and service, a text, an integer, a double and a boolean.
    type Event = (usize, u32, usize, Option<u8>, Option<i64>, Option<f64>, Option<bool>);

    fn columns(events: &[Event]) -> Vec<ArrayRef> {
        let text = |value: u8| format!("a text that is not inline {value}");
        vec![
            Arc::new(events.iter().map(|event| event.3.map(text)).collect::<StringViewArray>()),
            Arc::new(events.iter().map(|event| event.4).collect::<Int64Array>()),
            Arc::new(events.iter().map(|event| event.5).collect::<Float64Array>()),
            Arc::new(events.iter().map(|event| event.6).collect::<BooleanArray>()),
        ]
    }

    /// Counts of parts of the events, in batches, that were bytes before they were merged.
    fn counted<T: Tally>(events: &[Event], part: usize, batch: usize) -> Counts<T> {
        let mut whole = Counts::new(4);
        for part in events.chunks(part) {
            let mut counts = Counts::<T>::new(4);
            for batch in part.chunks(batch) {
                let row = |(at, event): (usize, &Event)| {
                    let service = counts.service(Some(["a", "b", "c"][event.2]));
                    Row { at, side: event.0, member: event.1, service }
                };
                let rows: Vec<Row> = batch.iter().enumerate().map(row).collect();
                let columns = columns(batch);
                counts.sample.offer(&rows, |row| u64::from(row.member), &columns);
                counts.add(&rows, &columns).unwrap();
            }
            whole.merge(Counts::decode(&counts.encode()).unwrap());
        }
        whole
    }

    /// Counts by key, service and text of the value.
    fn shown<T: Tally>(counts: &Counts<T>) -> BTreeMap<(usize, String, String), [u64; SIDES]> {
        let mut shown = BTreeMap::new();
        for (key, columns) in counts.keys.iter().enumerate() {
            for (service, column) in counts.services.iter().zip(columns) {
                let values: Vec<(String, [u64; SIDES])> = match &column.values {
                    Values::None => continue,
                    Values::Texts(slots) => {
                        slots.iter().map(|(text, t)| (text.to_string(), t.counts())).collect()
                    }
                    Values::Integers(slots) => slots
                        .iter()
                        .map(|(code, t)| (number::integer(*code).to_string(), t.counts()))
                        .collect(),
                    Values::Doubles(slots) => slots
                        .iter()
                        .map(|(code, t)| (number::number(*code).to_string(), t.counts()))
                        .collect(),
                    other => panic!("{other:?}"),
                };
                let service = service.as_deref().unwrap_or_default();
                shown.extend(
                    values.into_iter().map(|(value, counts)| ((key, service.to_owned(), value), counts)),
                );
            }
        }
        shown
    }

    /// The same by looking at each event.
    fn expected(events: &[Event], by_trace: bool) -> BTreeMap<(usize, String, String), [u64; SIDES]> {
        let mut members: BTreeMap<(usize, String, String), [Vec<u32>; SIDES]> = BTreeMap::new();
        for event in events {
            let values = [
                event.3.map(|value| format!("a text that is not inline {value}")),
                event.4.map(|value| value.to_string()),
                event.5.map(|value| value.to_string()),
                event.6.map(|value| value.to_string()),
            ];
            for (key, value) in values.into_iter().enumerate() {
                let Some(value) = value else { continue };
                let service = ["a", "b", "c"][event.2].to_owned();
                members.entry((key, service, value)).or_default()[event.0].push(event.1);
            }
        }
        let count = |mut traces: Vec<u32>| {
            if by_trace {
                traces.sort_unstable();
                traces.dedup();
            }
            traces.len() as u64
        };
        members.into_iter().map(|(key, sides)| (key, sides.map(count))).collect()
    }

    proptest! {
        #[test]
        fn parts_count_what_the_whole_counts(
            events in proptest::collection::vec(
                (
                    0_usize..2,
                    0_u32..30,
                    0_usize..3,
                    proptest::option::of(0_u8..40),
                    proptest::option::of(-3_i64..30),
                    proptest::option::of((1_i8..20).prop_map(f64::from)),
                    proptest::option::of(any::<bool>()),
                ),
                0..200,
            ),
            part in 1_usize..200,
            batch in 1_usize..60,
        ) {
            let rows = counted::<Rows>(&events, part, batch);
            prop_assert_eq!(shown(&rows), expected(&events, false));
            let traces = counted::<Traces>(&events, part, batch);
            prop_assert_eq!(shown(&traces), expected(&events, true));
            let side = |side| events.iter().filter(|event| event.0 == side).count() as u64;
            prop_assert_eq!(rows.totals.counts(), [side(0), side(1)]);
        }
    }

    #[test]
    fn bytes_that_end_early_are_refused() {
        let counts = counted::<Traces>(&[(0, 1, 2, Some(3), Some(4), Some(5.0), None)], 1, 1);
        let bytes = counts.encode();
        for end in 0..bytes.len() {
            assert!(Counts::<Traces>::decode(&bytes[..end]).is_none(), "{end}");
        }
    }
}

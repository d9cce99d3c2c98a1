//! How is the index of a segment built?
//!
//! The builder observes the segment's columns while they are encoded. For each lookup key it collects the hash
//! of every value with the row's page, and sorts them. Lookup keys are:
//!
//! 1. `trace_id`, always;
//! 2. the keys pinned in the settings, by all physical names that the SQL name may mean, whether the values
//!    are in a column or in the overflow;
//! 3. text attributes that look like ids: many values, each in few pages, and small postings ([`Shape`]).
//!
//! The [`words`](super::words) of the bodies of log records are looked up too.
//!
//! `span_id` is not a lookup key by default: it would cost 6 bytes per row. It can be pinned.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use parking_lot::Mutex;

use super::hash::ValueHash;
use super::place::Place;
use super::postings::{Postings, PostingsWriter};
use super::segment_index::{BuiltIndex, put_lookup, put_segment};
use super::sidecar::SidecarWriter;
use super::words::{self, WORDS_OF_BODY};
use super::{checksums, footers};
use crate::config::IndexSettings;
use crate::error::Result;
use crate::event::schema::{self, column};
use crate::event::{AttributeKey, typed_json};
use crate::segment::encoding::PAGE_ROWS;
use crate::segment::{Built, ColumnObserver, SegmentMeta};

/// Most text columns of a segment that become lookup keys by their shape.
const SHAPED_COLUMNS_MAX: usize = 8;
/// A shaped key has a value in at least one of this many rows.
const SHAPED_ROWS_PER_VALUE_MAX: usize = 100;
/// Most bytes of a shaped key's postings per two rows of the segment.
const SHAPED_BYTES_PER_TWO_ROWS_MAX: usize = 3;
/// Fewest distinct values of a shaped key; columns of fewer have better means.
const SHAPED_DISTINCT_MIN: usize = 64;
/// A value of a shaped key is, on average, in at most one of this many pages.
const SHAPED_PAGES_PER_PAGE_MIN: usize = 8;
/// Postings of words of so many bytes are kept however few bodies there are.
const WORDS_BYTES_MIN: usize = 4 << 10;
/// Number of pages after which a column is dropped if it is unlikely to become a lookup key.
const TRIAL_PAGES: usize = 8;
/// Number of values sampled before all are hashed.
const SAMPLE_VALUES: usize = 4096;

/// Builds the index of one segment from its columns.
#[derive(Debug)]
pub struct IndexBuilder {
    /// Physical names of the pinned columns.
    pinned: BTreeSet<String>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    /// `trace_id` and pinned columns: each value's hash and page. `None` if some value cannot be hashed.
    always: BTreeMap<String, Option<Vec<Place>>>,
    shaped: Vec<Shape>,
    /// Of the bodies, and their number. `None` if there is no body.
    words: Option<(Vec<Place>, usize)>,
}

impl IndexBuilder {
    /// Starts the index of one segment.
    pub fn new(settings: &IndexSettings) -> Self {
        let pinned = settings.lookup_keys.iter().flat_map(|name| physical_names(name)).collect();
        Self { pinned, found: Mutex::default() }
    }

    /// Returns the index of the segment whose columns were observed.
    pub fn finish(self, built: &Built) -> Result<BuiltIndex> {
        let segment = &built.segment;
        let SegmentMeta { id, rows, .. } = segment.meta;
        let pages = pages(rows as usize);
        let Found { mut always, mut shaped, words } = self.found.into_inner();
        // A key without any value gets empty postings: lookups then know that it is absent.
        for name in self.pinned.into_iter().chain([column::TRACE_ID.to_owned()]) {
            always.entry(name).or_insert_with(|| Some(Vec::new()));
        }
        // These were not read from the overflow, so they must have no values there.
        shaped.retain(|shape| !segment.columns.may_overflow(&shape.column));
        shaped.sort_by(|a, b| b.distinct.cmp(&a.distinct).then_with(|| a.column.cmp(&b.column)));
        shaped.truncate(SHAPED_COLUMNS_MAX);

        let mut writer = SidecarWriter::new();
        put_segment(&mut writer, id, rows, PAGE_ROWS as u32);
        for (name, places) in always {
            if let Some(places) = places {
                put_lookup(&mut writer, &name, postings(places, pages));
            }
        }
        let (places, bodies) = words.unwrap_or_default();
        let words = postings(places, pages);
        if words.bytes() <= bodies.saturating_mul(words::BYTES_PER_BODY_MAX).max(WORDS_BYTES_MIN) {
            put_lookup(&mut writer, WORDS_OF_BODY, words);
        }
        for shape in shaped {
            put_lookup(&mut writer, &shape.column, shape.postings);
        }
        footers::put(&mut writer, &built.footer)?;
        checksums::put(&mut writer, &built.object);
        Ok(BuiltIndex { object: writer.finish() })
    }

    fn add(&self, name: &str, places: Option<Vec<Place>>) {
        let mut found = self.found.lock();
        let before = found.always.entry(name.to_owned()).or_insert_with(|| Some(Vec::new()));
        match (before.as_mut(), places) {
            (Some(all), Some(mut places)) => all.append(&mut places),
            _ => *before = None,
        }
    }

    /// Adds the values that pinned attributes have in the overflow.
    fn observe_overflow(&self, values: &StringViewArray) {
        let mut all: BTreeMap<&String, Option<Vec<Place>>> = BTreeMap::new();
        for (row, json) in values.iter().enumerate() {
            let Some(json) = json else { continue };
            let Ok(entries) = typed_json::parse_object(json) else { continue };
            for (name, raw) in entries {
                let Some(name) = self.pinned.get(&name) else { continue };
                let places = all.entry(name).or_insert_with(|| Some(Vec::new()));
                match typed_json::parse_value(raw).ok().and_then(|value| hash_of(value.value.as_ref())) {
                    Some(hash) => places.iter_mut().for_each(|places| places.push(Place::new(hash, row))),
                    None => *places = None,
                }
            }
        }
        for (name, places) in all {
            self.add(name, places);
        }
    }
}

impl ColumnObserver for IndexBuilder {
    fn wants(&self, field: &Field) -> bool {
        let name = field.name();
        name == column::TRACE_ID
            || name == column::BODY
            || self.pinned.contains(name)
            || (name == schema::OVERFLOW && !self.pinned.is_empty())
            || (is_text(field) && AttributeKey::from_physical_name(name).is_some())
    }

    fn observe(&self, field: &Field, values: &ArrayRef) {
        let name = field.name();
        if name == column::BODY
            && let Some(places) = words::places(values)
        {
            self.found.lock().words = Some((places, values.len() - values.null_count()));
        }
        if name == schema::OVERFLOW {
            self.observe_overflow(values.as_string_view());
        } else if name == column::TRACE_ID || self.pinned.contains(name) {
            self.add(name, places(field, values));
        } else if name != column::BODY
            && let Some(shape) = Shape::of(name, values.as_string_view())
        {
            self.found.lock().shaped.push(shape);
        }
    }
}

/// Physical names that an SQL name may mean.
fn physical_names(name: &str) -> Vec<String> {
    if schema::core_index(name).is_some() {
        return vec![name.to_owned()];
    }
    AttributeKey::candidates(name).iter().map(AttributeKey::physical_name).collect()
}

fn is_text(field: &Field) -> bool {
    field.data_type() == &DataType::Utf8View && field.extension_type_name().is_none()
}

fn pages(rows: usize) -> u32 {
    rows.div_ceil(PAGE_ROWS) as u32
}

/// Hash and page of each value of a column; `None` if the column's type has no lookups.
pub(super) fn places(field: &Field, values: &ArrayRef) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    // Rows of one trace are often adjacent.
    let mut put = |row: usize, hash: ValueHash| {
        let place = Place::new(hash, row);
        if places.last() != Some(&place) {
            places.push(place);
        }
    };
    let rows = (0..values.len()).filter(|row| values.is_valid(*row));
    match values.data_type() {
        DataType::FixedSizeBinary(_) => {
            let values = values.as_fixed_size_binary();
            rows.for_each(|row| put(row, ValueHash::of_bytes(values.value(row))));
        }
        DataType::Utf8View if is_text(field) => {
            let values = values.as_string_view();
            rows.for_each(|row| put(row, ValueHash::of_text(values.value(row))));
        }
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>();
            rows.for_each(|row| put(row, ValueHash::of_int(values.value(row))));
        }
        _ => return None,
    }
    Some(places)
}

fn hash_of(value: Option<&AnyValue>) -> Option<ValueHash> {
    match value? {
        AnyValue::StringValue(text) => Some(ValueHash::of_text(text)),
        AnyValue::IntValue(value) => Some(ValueHash::of_int(*value)),
        _ => None,
    }
}

fn postings(mut places: Vec<Place>, pages: u32) -> Postings {
    places.sort_unstable();
    places.dedup();
    let mut writer = PostingsWriter::new(distinct(&places), pages);
    let mut of_value = Vec::new();
    for places in places.chunk_by(|a, b| a.hash() == b.hash()) {
        of_value.clear();
        of_value.extend(places.iter().map(|place| place.page()));
        writer.push(places[0].hash(), &of_value);
    }
    writer.finish()
}

/// Number of distinct hashes in sorted places.
fn distinct(sorted: &[Place]) -> usize {
    sorted.chunk_by(|a, b| a.hash() == b.hash()).count()
}

/// A text column whose values look like ids.
#[derive(Debug)]
struct Shape {
    column: String,
    distinct: usize,
    postings: Postings,
}

impl Shape {
    /// Returns `None` if the values do not look like ids.
    fn of(column: &str, values: &StringViewArray) -> Option<Self> {
        let rows = values.len();
        let present = rows - values.null_count();
        if present * SHAPED_ROWS_PER_VALUE_MAX < rows || distinct_in_sample(values) < SHAPED_DISTINCT_MIN {
            return None;
        }
        let mut places: Vec<Place> = Vec::new();
        let mut of_page: Vec<Place> = Vec::new();
        for start in (0..rows).step_by(PAGE_ROWS) {
            let page = (start..rows.min(start + PAGE_ROWS)).filter(|row| values.is_valid(*row));
            of_page.extend(page.map(|row| Place::new(ValueHash::of_text(values.value(row)), row)));
            of_page.sort_unstable();
            of_page.dedup();
            places.append(&mut of_page);
            if start == (TRIAL_PAGES - 1) * PAGE_ROWS && is_hopeless(&places, TRIAL_PAGES) {
                return None;
            }
        }
        places.sort_unstable();
        let (pages, distinct) = (pages(rows), distinct(&places));
        let few_pages = places.len() * SHAPED_PAGES_PER_PAGE_MIN
            <= distinct * (pages as usize).max(SHAPED_PAGES_PER_PAGE_MIN);
        if distinct < SHAPED_DISTINCT_MIN || !few_pages {
            return None;
        }
        let postings = postings(places, pages);
        let cheap = postings.bytes() * 2 <= rows * SHAPED_BYTES_PER_TWO_ROWS_MAX;
        cheap.then(|| Self { column: column.to_owned(), distinct, postings })
    }
}

/// True if, after `pages` pages, the values are in too many pages each, or are too many.
fn is_hopeless(places: &[Place], pages: usize) -> bool {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    let distinct = distinct(&sorted);
    // Lenient: values that are new now may repeat later, and frequent ones may not.
    sorted.len() * 2 > distinct * pages || distinct * 2 > pages * PAGE_ROWS
}

fn distinct_in_sample(values: &StringViewArray) -> usize {
    let step = ((values.len() - values.null_count()) / SAMPLE_VALUES).max(1);
    let hash = |row: usize| ValueHash::of_text(values.value(row));
    let sample: HashSet<ValueHash> = match values.nulls() {
        None => (0..values.len()).step_by(step).map(hash).collect(),
        Some(nulls) => nulls.valid_indices().step_by(step).map(hash).collect(),
    };
    sample.len()
}

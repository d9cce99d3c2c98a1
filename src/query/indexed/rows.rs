//! Which rows of a segment match a condition?
//!
//! SQL has three truth values, so a condition has two sets of rows: those where it is true, and those where
//! it is false. NOT swaps the sets; rows where it is null are in neither.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::RowGroupMetaData;
use roaring::{MultiOps, RoaringBitmap};

use super::column_cache::ColumnCache;
use super::condition::{BitmapCondition, Leaf, Lookup};
use super::decode::Files;
use super::inverted::Inverted;
use super::parts;
use crate::catalog::{Fact, LoadedColumns};
use crate::event::AttributeType;
use crate::event::physical::attribute_field;
use crate::event::schema::{self, column, timestamp_type};
use crate::index::IndexCache;
use crate::index::bitmap::{SECOND_NS, all_rows};
use crate::query::scan::adapter::{AttributeAdapterFactory, is_json};
use crate::query::scan::masks::MaskCache;
use crate::query::scan::metadata::{NarrowReader, Want};
use crate::segment::{OverflowFilter, SegmentMeta};

/// Parts of the scan that evaluation needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// Side-cars of segments.
    pub(crate) indexes: Arc<IndexCache>,
    /// The bitmaps.
    pub(crate) cache: Arc<ColumnCache>,
    /// Source of columns.
    pub(crate) files: Files,
    /// Maps table columns to physical ones.
    pub(crate) adapter: Arc<AttributeAdapterFactory>,
    /// The table's columns.
    pub(crate) table: SchemaRef,
    /// Facts about the columns in the segments.
    pub(crate) columns: Arc<LoadedColumns>,
    /// Live rows of segments.
    pub(crate) masks: Arc<MaskCache>,
    /// Columns that are read.
    pub(crate) want: Arc<Want>,
    /// Approximate bytes of a segment that are fetched at once.
    pub(crate) part_bytes_max: u64,
}

/// One segment, with the bitmaps that some expressions need.
#[derive(Debug)]
pub(crate) struct Segment<'a> {
    context: &'a Context,
    meta: &'a Arc<SegmentMeta>,
    /// Filter of the attributes in its overflow, if the catalog does not list them.
    filter: Option<Arc<OverflowFilter>>,
    rows: u32,
    known: HashMap<String, Inverted>,
}

/// A word that is in more than one in so many rows, by whole pages, is not looked up.
const WORD_PAGES_MAX: u64 = 4;

impl Context {
    /// Rows that are not deleted; `None` if no row is deleted.
    pub(crate) async fn live(&self, meta: &SegmentMeta) -> Result<Option<Arc<RoaringBitmap>>> {
        let live = self.masks.live(&self.files.store, meta).await;
        live.map_err(|e| DataFusionError::External(Box::new(e)))
    }

    /// Cuts the `rows` of a segment, or all rows, into parts to be read at once; `None` if one part suffices.
    pub(super) async fn parts(
        &self,
        meta: &Arc<SegmentMeta>,
        rows: Option<&RoaringBitmap>,
    ) -> Result<Option<Vec<Range<u32>>>> {
        let cut = |bytes| parts::cut(rows, meta.rows as u32, bytes, self.part_bytes_max);
        // Usually all columns fit, and their sizes need not be read.
        if cut(meta.bytes).is_none() {
            return Ok(None);
        }
        let Files { store, footers } = &self.files;
        let mut reader = NarrowReader::of_columns(store, footers, meta, Arc::clone(&self.want));
        let footer = reader.get_metadata(None).await?;
        let columns = footer.row_groups().iter().flat_map(RowGroupMetaData::columns);
        // The file may be damaged, so sizes may be negative.
        let bytes = columns.map(|column| u64::try_from(column.compressed_size()).unwrap_or(0));
        Ok(cut(bytes.fold(0, u64::saturating_add)))
    }

    /// Rows of the pages in which all of `lookups` may hold, by the segment's side-car; `None` if it has no answer.
    pub(crate) async fn pages(&self, meta: &SegmentMeta, lookups: &[Lookup]) -> Option<RoaringBitmap> {
        let mut found: Option<RoaringBitmap> = None;
        for lookup in lookups {
            let Some(pages) = self.pages_of(meta, lookup).await else { continue };
            // A frequent word is in every page: bitmaps and columns in memory are quicker then.
            if lookup.is_of_words() && pages.len() * WORD_PAGES_MAX > meta.rows {
                continue;
            }
            found = Some(match found {
                Some(found) => found & pages,
                None => pages,
            });
        }
        found
    }

    async fn pages_of(&self, meta: &SegmentMeta, lookup: &Lookup) -> Option<RoaringBitmap> {
        let hashes = lookup.hashes()?;
        let names = match lookup.core_column() {
            Some(_) => std::slice::from_ref(&lookup.column),
            None => self.adapter.demanded(&lookup.column)?.lookup_names()?,
        };
        let facts = self.columns.of(meta.id);
        let stored = |name: &&String| {
            let name = lookup.core_column().unwrap_or(name);
            facts.get(name) != Fact::Absent || facts.may_overflow(name)
        };
        let columns = names.iter().filter(stored);
        let index = self.indexes.segment(&self.files.store, meta).await?;
        let page_rows = index.page_rows() as u64;
        let mut rows = RoaringBitmap::new();
        for column in columns {
            for hash in &hashes {
                for page in index.pages(column, *hash).await? {
                    let start = u64::from(page) * page_rows;
                    let end = (start + page_rows).min(meta.rows);
                    rows.insert_range(start as u32..end as u32);
                }
            }
        }
        Some(rows)
    }

    /// Opens a segment with the bitmaps of the columns of `leaves`, and those of the seconds if requested.
    pub(crate) async fn segment<'a>(
        &'a self,
        meta: &'a Arc<SegmentMeta>,
        leaves: &[&Leaf],
        seconds: bool,
    ) -> Result<Segment<'a>> {
        let filter = self.files.footers.overflow(&self.files.store, meta, &self.columns).await;
        let mut columns = HashMap::new();
        for leaf in leaves {
            if leaf.column == column::TIMESTAMP {
                let within = leaf.since().filter(|(_, ns)| outside(meta, *ns).is_none());
                columns.extend(
                    within.filter(|(_, ns)| is_whole(*ns)).map(|_| (column::TIMESTAMP, timestamp_type())),
                );
                continue;
            }
            let candidates = self.candidates(meta, filter.as_deref(), &leaf.column).unwrap_or_default();
            let is_id = |field: &FieldRef| matches!(field.data_type(), DataType::FixedSizeBinary(_));
            if leaf.null_test().is_some() || !candidates.iter().any(|(_, field)| is_id(field)) {
                // JSON columns do not show which rows have a value.
                let plain = candidates.into_iter().filter(|(_, field)| !is_json(field));
                columns.extend(plain.map(|(name, field)| (name, field.data_type().clone())));
            }
        }
        if seconds {
            columns.extend([(column::TIMESTAMP, timestamp_type())]);
        }
        let rows = u32::try_from(meta.rows).unwrap_or(u32::MAX);
        let mut known = self.cache.inverted(meta, &columns, &self.files).await?;
        // Bitmaps of a file that disagrees with the catalog are dropped: the scan will report the error.
        known.retain(|_, known| match known {
            Inverted::Bitmaps(bitmaps) => bitmaps.row_count() == rows,
            Inverted::Seconds(seconds) => seconds.row_count() == rows,
            Inverted::Unfit => false,
        });
        Ok(Segment { context: self, meta, filter, rows, known })
    }

    /// The physical columns of the table's columns `names` in this segment; `None` if they are nested, or if values
    /// may be in the overflow.
    pub(crate) async fn physical(&self, meta: &SegmentMeta, names: &[String]) -> Option<Vec<FieldRef>> {
        let filter = self.files.footers.overflow(&self.files.store, meta, &self.columns).await;
        let mut physical: Vec<FieldRef> = Vec::new();
        for name in names {
            for (column, field) in self.candidates(meta, filter.as_deref(), name)? {
                if field.data_type().is_nested() {
                    return None;
                }
                if !physical.iter().any(|other| other.name() == column) {
                    physical.push(field);
                }
            }
        }
        Some(physical)
    }

    /// The physical columns, in order of precedence, that together are the table's column `name`; `None` if there
    /// are or may be others.
    fn candidates<'a>(
        &'a self,
        meta: &SegmentMeta,
        filter: Option<&OverflowFilter>,
        name: &'a str,
    ) -> Option<Vec<(&'a str, FieldRef)>> {
        if let Some(i) = schema::core_index(name) {
            let ty = schema::core_columns()[i].field.data_type().clone();
            return Some(vec![(name, Arc::new(Field::new(name, ty, true)))]);
        }
        let columns = self.columns.of(meta.id);
        let mut found = Vec::new();
        for candidate in &self.adapter.demanded(name)?.candidates {
            match columns.get(candidate) {
                Fact::Unknown => return None,
                Fact::Absent => {}
                Fact::Present(column) => {
                    let ty = column.attribute_type?;
                    found.push((candidate.as_str(), Arc::new(attribute_field(candidate, ty))));
                    // JSON may have nulls of its own.
                    if column.null_count == 0 && ty != AttributeType::Json {
                        break;
                    }
                }
            }
            if columns.may_overflow(candidate) && filter.is_none_or(|filter| filter.may_have(candidate)) {
                return None;
            }
        }
        Some(found)
    }
}

/// True if all rows are at or after the time `ns`, false if all are before it; `None` if `ns` is within the
/// segment.
fn outside(meta: &SegmentMeta, ns: i64) -> Option<bool> {
    if ns <= meta.time.min_ns {
        Some(true)
    } else if ns > meta.time.max_ns {
        Some(false)
    } else {
        None
    }
}

fn is_whole(ns: i64) -> bool {
    ns.rem_euclid(SECOND_NS) == 0
}

/// Rows by the value of an expression. The sets do not overlap.
pub(crate) struct ByValue {
    /// The values, one per set of rows; may repeat, and may be null.
    pub(crate) values: ArrayRef,
    /// The rows of each.
    pub(crate) rows: Vec<RoaringBitmap>,
}

impl Segment<'_> {
    /// The rows of each second, if requested.
    pub(crate) fn seconds(&self) -> Option<&crate::index::bitmap::SecondRuns> {
        match self.known.get(column::TIMESTAMP) {
            Some(Inverted::Seconds(seconds)) => Some(seconds),
            _ => None,
        }
    }

    /// Rows where all of `conditions` are true; `None` if bitmaps cannot answer.
    pub(crate) fn all_true(&self, conditions: &[BitmapCondition]) -> Result<Option<RoaringBitmap>> {
        self.every(conditions, true)
    }

    /// Rows where `condition` is `truth`.
    fn rows(&self, condition: &BitmapCondition, truth: bool) -> Result<Option<RoaringBitmap>> {
        match (condition, truth) {
            (BitmapCondition::Leaf(leaf), _) => self.leaf(leaf, truth),
            (BitmapCondition::And(parts), true) | (BitmapCondition::Or(parts), false) => {
                self.every(parts, truth)
            }
            (BitmapCondition::And(parts), false) | (BitmapCondition::Or(parts), true) => {
                let mut any = RoaringBitmap::new();
                for part in parts {
                    let Some(rows) = self.rows(part, truth)? else { return Ok(None) };
                    any |= rows;
                }
                Ok(Some(any))
            }
            (BitmapCondition::Not(inner), _) => self.rows(inner, !truth),
        }
    }

    /// Rows where every part is `truth`.
    fn every(&self, parts: &[BitmapCondition], truth: bool) -> Result<Option<RoaringBitmap>> {
        let mut all: Option<RoaringBitmap> = None;
        for part in parts {
            let Some(rows) = self.rows(part, truth)? else { return Ok(None) };
            all = Some(match all {
                Some(all) => all & rows,
                None => rows,
            });
        }
        Ok(Some(all.unwrap_or_else(|| all_rows(self.rows))))
    }

    fn leaf(&self, leaf: &Leaf, truth: bool) -> Result<Option<RoaringBitmap>> {
        if leaf.column == column::TIMESTAMP {
            return Ok(self.time(leaf, truth));
        }
        let Some(by_value) = self.by_value(leaf)? else { return Ok(None) };
        let Some(verdicts) = by_value.values.as_boolean_opt() else { return Ok(None) };
        let of_values = by_value.rows.into_iter().enumerate();
        let matching = of_values.filter(|(i, _)| verdicts.is_valid(*i) && verdicts.value(*i) == truth);
        Ok(Some(matching.map(|(_, rows)| rows).union()))
    }

    fn time(&self, leaf: &Leaf, truth: bool) -> Option<RoaringBitmap> {
        let (at_or_after, ns) = leaf.since()?;
        let newer = match outside(self.meta, ns) {
            Some(true) => self.rows,
            Some(false) => 0,
            None => self.seconds().filter(|_| is_whole(ns))?.rows_since(ns.div_euclid(SECOND_NS)),
        };
        let mut rows = RoaringBitmap::new();
        // Rows are newest first, and every row has a time.
        rows.insert_range(if at_or_after == truth { 0..newer } else { newer..self.rows });
        Some(rows)
    }

    /// The rows by the value of `leaf`'s expression, which is evaluated once per value of its column.
    pub(crate) fn by_value(&self, leaf: &Leaf) -> Result<Option<ByValue>> {
        let candidates = self.context.candidates(self.meta, self.filter.as_deref(), &leaf.column);
        let Some(candidates) = candidates else { return Ok(None) };
        let mut values: Vec<ArrayRef> = Vec::new();
        let mut rows: Vec<RoaringBitmap> = Vec::new();
        let mut taken = RoaringBitmap::new();
        for (name, field) in candidates {
            let Some(Inverted::Bitmaps(bitmaps)) = self.known.get(name) else { return Ok(None) };
            let file = Arc::new(Schema::new(vec![field]));
            if bitmaps.present().is_empty() {
                continue;
            }
            if let Some(of_null) = leaf.null_test() {
                // The values themselves do not matter.
                values.push(Arc::new(BooleanArray::from(vec![!of_null])));
                rows.push(bitmaps.present() - &taken);
                taken |= bitmaps.present();
                continue;
            }
            let Some(by_value) = bitmaps.values() else { return Ok(None) };
            let options = RecordBatchOptions::new().with_row_count(Some(by_value.array().len()));
            let columns = vec![Arc::clone(by_value.array())];
            let batch = RecordBatch::try_new_with_options(Arc::clone(&file), columns, &options)?;
            let Some(evaluated) = self.evaluate(&leaf.expr, &file, &batch) else { return Ok(None) };
            values.push(evaluated);
            if taken.is_empty() {
                rows.extend(by_value.rows().iter().cloned());
            } else {
                rows.extend(by_value.rows().iter().map(|of_value| of_value - &taken));
            }
            taken |= bitmaps.present();
        }
        if taken.len() < u64::from(self.rows) {
            let nothing = Arc::new(Schema::empty());
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&nothing), Vec::new(), &options)?;
            let Some(evaluated) = self.evaluate(&leaf.expr, &nothing, &batch) else { return Ok(None) };
            values.push(evaluated);
            rows.push(all_rows(self.rows) - taken);
        }
        if values.is_empty() {
            return Ok(None);
        }
        let arrays: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(Some(ByValue { values: arrow::compute::concat(&arrays)?, rows }))
    }

    /// `None` if evaluation fails, perhaps for a value that no matching row has. The scan then decides.
    fn evaluate(
        &self,
        expr: &Arc<dyn PhysicalExpr>,
        file: &SchemaRef,
        batch: &RecordBatch,
    ) -> Option<ArrayRef> {
        let adapted = self.context.adapter.adapt(Arc::clone(expr), &self.context.table, file).ok()?;
        adapted.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).ok()
    }
}

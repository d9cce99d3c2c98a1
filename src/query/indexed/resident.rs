//! Scans a segment whose columns are all in memory.
//!
//! Parquet is not read: bitmaps select rows, then the rest of the predicate filters a few thousand at a time, and
//! only matching values are gathered. A threshold that rises while the query runs, as for `ORDER BY … LIMIT`, takes
//! effect with the next batch.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{BatchCoalescer, FilterBuilder, FilterPredicate, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, DynamicFilterPhysicalExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr,
};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use futures::StreamExt;
use roaring::RoaringBitmap;

use super::dense::dense;
use super::morsel::FileRows;
use super::rows::Context;
use crate::query::functions::codes::CodeOf;
use crate::segment::SegmentMeta;
use crate::segment::encoding::PAGE_ROWS;

/// Rows of an output batch.
const BATCH_ROWS: usize = 8192;
/// Batches of at least this many rows are passed on without merging them.
const GOOD_ROWS: usize = BATCH_ROWS / 4;
/// Most batches of rows that are filtered to fill one output batch.
const PIECE_BATCHES_MAX: usize = 16;
/// Most columns of a scan from memory: caching more would evict the columns of other queries.
const COLUMNS_MAX: usize = 32;
/// Columns are read into memory for a scan that needs at least one in this many of their pages.
const READ_SHARE: usize = 8;

/// A scan of one segment, over its own columns.
#[derive(Debug)]
pub(super) struct ResidentScan {
    columns: Vec<ArrayRef>,
    /// Conjuncts. Each is evaluated on the rows that passed those before it.
    filters: Vec<BoundExpr>,
    project: Vec<BoundExpr>,
    output: SchemaRef,
    /// Number of rows of the segment.
    total: usize,
    /// Rows to scan, one bit for each row of the segment; `None`: all.
    rows: Option<BooleanBuffer>,
    /// Rows of the segment per piece.
    piece_rows: usize,
}

/// An expression over some of the columns.
#[derive(Debug)]
struct BoundExpr {
    expr: Arc<dyn PhysicalExpr>,
    /// Indexes of its columns, in order.
    columns: Vec<usize>,
    schema: SchemaRef,
    /// True if it cannot fail for any row.
    is_total: bool,
}

impl ResidentScan {
    /// Opens a scan of `projection` where `filter` is true, both over the table, of `rows` or of all rows. `None`
    /// if a needed column is not in memory.
    pub(super) async fn open(
        context: &Context,
        segment: &Arc<SegmentMeta>,
        projection: &ProjectionExprs,
        filter: Option<&Arc<dyn PhysicalExpr>>,
        rows: Option<&RoaringBitmap>,
    ) -> Result<Option<Self>> {
        let exprs = || projection.iter().map(|p| &p.expr).chain(filter);
        let mut names: Vec<String> = Vec::new();
        for column in exprs().flat_map(collect_columns) {
            if !names.iter().any(|name| name == column.name()) {
                names.push(column.name().to_owned());
            }
        }
        if names.len() > COLUMNS_MAX {
            return Ok(None);
        }
        let Some(physical) = context.physical(segment, &names).await else { return Ok(None) };
        let file = Arc::new(Schema::new(physical));
        let adapt =
            |expr: &Arc<dyn PhysicalExpr>| context.adapter.adapt(Arc::clone(expr), &context.table, &file);
        let project = projection.iter().map(|p| adapt(&p.expr)).collect::<Result<Vec<_>>>()?;
        let filter = filter.map(adapt).transpose()?;
        let mut used: Vec<usize> =
            project.iter().chain(&filter).flat_map(collect_columns).map(|column| column.index()).collect();
        used.sort_unstable();
        used.dedup();
        let read: Vec<(&str, DataType)> = used
            .iter()
            .map(|i| (file.field(*i).name().as_str(), file.field(*i).data_type().clone()))
            .collect();
        let wide = rows.is_none_or(|rows| is_wide(rows, segment.rows as u32));
        let Some(mut columns) = context.cache.decoded(segment, &read, wide, &context.files).await? else {
            return Ok(None);
        };
        let filters = filter.map(stages).unwrap_or_default().into_iter();
        let filters = filters.map(|expr| BoundExpr::new(expr, &file, &used)).collect::<Result<_>>()?;
        let mut fields = file.fields().to_vec();
        // Codes become additional columns, gathered like the others.
        let mut with_codes = |node: Arc<dyn PhysicalExpr>| {
            let called = CodeOf::called(&node);
            let found = called.and_then(|(of, column)| Some((of, used.binary_search(&column.index()).ok()?)));
            let codes = found.map_or(Ok(None), |(function, i)| function.of_dictionary(&columns[i]))?;
            let Some(codes) = codes else { return Ok(Transformed::no(node)) };
            // Columns are distinguished by their names.
            let column = Column::new(&format!("code {}", fields.len()), fields.len());
            used.push(fields.len());
            fields.push(Arc::new(Field::new(column.name(), DataType::UInt32, true)));
            columns.push(codes);
            Ok(Transformed::yes(Arc::new(column) as Arc<dyn PhysicalExpr>))
        };
        let project = project.into_iter().map(|expr| expr.transform(&mut with_codes).data());
        let project = project.collect::<Result<Vec<_>>>()?;
        let file = Arc::new(Schema::new(fields));
        let project = project.into_iter().map(|expr| BoundExpr::new(expr, &file, &used));
        Ok(Some(Self {
            filters,
            project: project.collect::<Result<_>>()?,
            columns,
            output: Arc::new(projection.project_schema(&context.table)?),
            total: segment.rows as usize,
            piece_rows: rows.map_or(BATCH_ROWS, |rows| piece_rows(rows.len(), segment.rows)),
            rows: rows
                .filter(|rows| rows.len() < segment.rows)
                .map(|rows| dense(rows, segment.rows as usize))
                .transpose()?,
        }))
    }

    /// Reads the scan lazily, batch by batch.
    pub(super) fn read(self) -> FileRows {
        FileRows::stream(move || {
            let output = BatchCoalescer::new(Arc::clone(&self.output), BATCH_ROWS)
                .with_biggest_coalesce_batch_size(Some(GOOD_ROWS));
            let batches = Batches { scan: self, next: 0, output, done: false };
            futures::stream::iter(batches).boxed()
        })
    }

    /// The `i`th piece of the segment; `None` after the last.
    fn piece(&self, i: usize) -> Option<Picked> {
        let start = i.checked_mul(self.piece_rows).filter(|start| *start < self.total)?;
        let range = start..(start + self.piece_rows).min(self.total);
        let keep = self.rows.as_ref().map(|rows| rows.slice(range.start, range.len()));
        Some(Picked { range, keep })
    }

    /// Rows of a piece that pass the filters; `None` if there are none.
    fn filtered(&self, mut picked: Picked) -> Result<Option<Picked>> {
        if picked.keep.as_ref().is_some_and(|keep| keep.count_set_bits() == 0) {
            return Ok(None);
        }
        for filter in &self.filters {
            match self.narrowed(picked, filter)? {
                Some(narrower) => picked = narrower,
                None => return Ok(None),
            }
        }
        Ok(Some(picked))
    }

    fn narrowed(&self, picked: Picked, filter: &BoundExpr) -> Result<Option<Picked>> {
        // Evaluating all rows is cheaper than gathering the selected ones first.
        let all = Picked { range: picked.range.clone(), keep: None };
        let looked_at = if filter.is_total && !self.is_coded(filter) { &all } else { &picked };
        let batch = filter.gather(&self.columns, &looked_at.gatherer(filter.columns.len()))?;
        let verdict = filter.expr.evaluate(&batch)?.into_array(batch.num_rows())?;
        let verdict = as_boolean_array(&verdict)?;
        let verdict = match verdict.nulls() {
            Some(nulls) => verdict.values() & nulls.inner(),
            None => verdict.values().clone(),
        };
        let keep = match &picked.keep {
            Some(keep) if verdict.len() == keep.len() => keep & &verdict,
            Some(keep) => spread(&verdict, keep),
            None => verdict,
        };
        Ok((keep.count_set_bits() > 0).then_some(Picked { keep: Some(keep), ..picked }))
    }

    /// True if a column of `expr` is a dictionary.
    fn is_coded(&self, expr: &BoundExpr) -> bool {
        expr.columns.iter().any(|i| matches!(self.columns[*i].data_type(), DataType::Dictionary(..)))
    }

    fn projected(&self, picked: &Picked) -> Result<RecordBatch> {
        let gatherer = picked.gatherer(self.columns.len());
        let mut columns = Vec::with_capacity(self.project.len());
        for expr in &self.project {
            let batch = expr.gather(&self.columns, &gatherer)?;
            columns.push(expr.expr.evaluate(&batch)?.into_array(batch.num_rows())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(gatherer.count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)?)
    }
}

impl BoundExpr {
    /// Binds `expr` over the schema `file` to the columns `used`, which are in memory.
    fn new(expr: Arc<dyn PhysicalExpr>, file: &SchemaRef, used: &[usize]) -> Result<Self> {
        let mut own: Vec<usize> = collect_columns(&expr).iter().map(Column::index).collect();
        own.sort_unstable();
        own.dedup();
        let schema = Arc::new(file.project(&own)?);
        let expr = reassign_expr_columns(expr, &schema)?;
        let columns = own.iter().filter_map(|i| used.binary_search(i).ok()).collect();
        let is_total = is_total(&expr);
        Ok(Self { expr, columns, schema, is_total })
    }

    /// Gathers the rows of its columns.
    fn gather(&self, columns: &[ArrayRef], gatherer: &Gatherer) -> Result<RecordBatch> {
        let own = self.columns.iter().map(|i| gatherer.gather(&columns[*i])).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(gatherer.count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), own, &options)?)
    }
}

/// Splits a filter into conjuncts. Thresholds that rise while the query runs come first: they are cheap and may leave
/// few rows for the others, such as a text search.
fn stages(filter: Arc<dyn PhysicalExpr>) -> Vec<Arc<dyn PhysicalExpr>> {
    let is_threshold =
        |expr: &&Arc<dyn PhysicalExpr>| expr.is::<DynamicFilterPhysicalExpr>() && is_total(expr);
    let (thresholds, rest): (Vec<_>, Vec<_>) = split_conjunction(&filter).into_iter().partition(is_threshold);
    if thresholds.is_empty() || rest.is_empty() {
        return vec![filter];
    }
    [thresholds, rest].map(|exprs| conjunction(exprs.into_iter().cloned())).into()
}

/// True if `rows` are in many of the pages of a segment.
fn is_wide(rows: &RoaringBitmap, total: u32) -> bool {
    let pages = (0..total).step_by(PAGE_ROWS);
    let count = pages.len();
    let touched =
        pages.filter(|page| rows.range_cardinality(*page..page.saturating_add(PAGE_ROWS as u32)) > 0);
    touched.count().saturating_mul(READ_SHARE) >= count
}

/// Some rows of the segment.
struct Picked {
    range: Range<usize>,
    /// Selected rows of the range; `None`: all.
    keep: Option<BooleanBuffer>,
}

impl Picked {
    /// Prepares to take the rows from this many columns.
    fn gatherer(&self, columns: usize) -> Gatherer {
        let predicate = self.keep.as_ref().map(|keep| {
            let builder = FilterBuilder::new(&BooleanArray::new(keep.clone(), None));
            if columns > 1 { builder.optimize().build() } else { builder.build() }
        });
        let count = predicate.as_ref().map_or(self.range.len(), FilterPredicate::count);
        Gatherer { range: self.range.clone(), predicate, count }
    }
}

/// Rows of a segment per piece, so that a batch has a good size, if `rows` of `total` are read.
fn piece_rows(rows: u64, total: u64) -> usize {
    let every = usize::try_from(total / rows.max(1)).unwrap_or(usize::MAX);
    BATCH_ROWS.saturating_mul(every.clamp(1, PIECE_BATCHES_MAX))
}

/// `keep` with those set bits cleared for which `verdict`, one bit per set bit, is false.
fn spread(verdict: &BooleanBuffer, keep: &BooleanBuffer) -> BooleanBuffer {
    let mut both = BooleanBufferBuilder::new(keep.len());
    both.append_n(keep.len(), false);
    for (row, verdict) in keep.set_indices().zip(verdict) {
        if verdict {
            both.set_bit(row, true);
        }
    }
    both.finish()
}

/// True if `expr` cannot fail for any values, so that it may be evaluated on rows that are not selected.
fn is_total(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let total = if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        matches!(
            binary.op(),
            Operator::And
                | Operator::Or
                | Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
        )
    } else {
        expr.is::<Column>()
            || expr.is::<Literal>()
            || expr.is::<DynamicFilterPhysicalExpr>()
            || expr.is::<IsNullExpr>()
            || expr.is::<IsNotNullExpr>()
            || expr.is::<NotExpr>()
    };
    total && expr.children().into_iter().all(is_total)
}

/// Takes selected rows from columns.
struct Gatherer {
    range: Range<usize>,
    predicate: Option<FilterPredicate>,
    count: usize,
}

impl Gatherer {
    fn gather(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let slice = column.slice(self.range.start, self.range.len());
        let rows = match &self.predicate {
            Some(predicate) => predicate.filter(&slice)?,
            None => slice,
        };
        Ok(match rows.as_any_dictionary_opt() {
            Some(coded) => take(coded.values(), coded.keys(), None)?,
            None => rows,
        })
    }
}

/// Iterator over the batches of a scan.
struct Batches {
    scan: ResidentScan,
    next: usize,
    output: BatchCoalescer,
    done: bool,
}

impl Batches {
    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.output.next_completed_batch() {
                return Ok(Some(batch));
            }
            if self.done {
                return Ok(None);
            }
            let Some(piece) = self.scan.piece(self.next) else {
                self.done = true;
                self.output.finish_buffered_batch()?;
                continue;
            };
            self.next += 1;
            if let Some(picked) = self.scan.filtered(piece)? {
                self.output.push_batch(self.scan.projected(&picked)?)?;
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.advance().transpose();
        self.done |= matches!(batch, Some(Err(_)));
        batch
    }
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;
    use datafusion::physical_expr::expressions::{binary, col, lit};

    use super::*;

    #[test]
    fn thresholds_are_asked_before_the_rest() {
        let schema = Schema::new(vec![
            Field::new("at", DataType::Int64, false),
            Field::new("body", DataType::Utf8View, true),
        ]);
        let compare =
            |name: &str, op, value| binary(col(name, &schema).unwrap(), op, value, &schema).unwrap();
        let at = col("at", &schema).unwrap();
        let threshold: Arc<dyn PhysicalExpr> =
            Arc::new(DynamicFilterPhysicalExpr::new(vec![at], compare("at", Operator::Lt, lit(7_i64))));
        let search = compare("body", Operator::LikeMatch, lit(ScalarValue::Utf8View(Some("%x%".into()))));
        let both = conjunction([Arc::clone(&search), Arc::clone(&threshold)]);
        let order: Vec<_> = stages(both).iter().map(ToString::to_string).collect();
        assert_eq!(order, [threshold.to_string(), search.to_string()]);
        assert_eq!(stages(Arc::clone(&search)).len(), 1);
    }
}

//! How do queries use what is known of a segment beyond Parquet's own statistics?
//!
//! ```text
//!  predicate ──▶ condition ──┬─ trace_id = …  ──▶ side-car: pages ──┐
//!                            └─ few-valued    ──▶ columns: bitmaps ─┴▶ rows ─┬▶ source: row selection
//!  projection                ───────────────────▶ columns: values ────────────┴▶ resident: no Parquet
//!  count(*) … group by       ───────────────────▶ columns: bitmaps ──────────▶ counts: no Parquet at all
//! ```
//!
//! [`condition`] says which parts of a predicate can be answered, [`column_cache`] keeps columns in memory that
//! queries ask for again, as bitmaps or as values, [`decode`] reads them, [`rows`] evaluates a condition on
//! one segment, [`source`] is a Parquet source that asks when it opens a file, and reads it in [`parts`] when that
//! is much, through a [`row_filter`] when many rows match, [`resident`] takes its place where all values are in memory, [`counts_exec`] replaces aggregations that bitmaps alone can answer, by
//! [`counting`].
//!
//! [`morsel`] is how all of them give their rows to DataFusion.
//!
//! # Invariants
//!
//! - What bitmaps answer is exact, so the predicate is not evaluated again; what the side-car answers is a
//!   superset, so it is.
//! - Whatever cannot be answered is scanned: an index changes how long a query takes, never its result.

pub(crate) mod condition;
pub(crate) mod column_cache;
mod inverted;
pub(crate) mod rows;
pub(crate) mod source;
mod morsel;
mod row_filter;
pub(crate) mod parts;
pub(crate) mod decode;
mod resident;
mod counting;
pub(crate) mod counts_exec;

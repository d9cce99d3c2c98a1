//! How do queries use indexes and cached columns of a segment?
//!
//! ```text
//!  predicate ──▶ condition ──┬─ trace_id = …  ──▶ side-car: pages ──┐
//!                            └─ few-valued    ──▶ columns: bitmaps ─┴▶ rows ─┬▶ source: row selection
//!  projection                ───────────────────▶ columns: values ────────────┴▶ resident: no Parquet
//!  count(*) … group by       ───────────────────▶ columns: bitmaps ──────────▶ counts: no Parquet at all
//! ```
//!
//! - [`condition`] splits off the parts of a predicate that indexes can answer;
//! - [`column_cache`] keeps columns in memory that are requested again, as bitmaps or as values; [`decode`] reads
//!   them;
//! - [`rows`] evaluates a condition on one segment;
//! - [`source`] is a Parquet source that consults the indexes when it opens a file, and reads large files in
//!   [`parts`], and through a [`row_filter`] if many rows match ([`dense`] bits);
//! - [`resident`] reads segments whose values are all in memory;
//! - [`counts_exec`] replaces aggregations that bitmaps alone can answer, by [`counting`];
//! - [`morsel`] passes all their rows to DataFusion.
//!
//! # Invariants
//!
//! - Answers of bitmaps are exact, so the predicate is not evaluated again. Answers of the side-car are a superset,
//!   so it is.
//! - Parts without an answer are scanned: an index changes the duration of a query, never its result.

pub(crate) mod condition;
pub(crate) mod column_cache;
mod inverted;
pub(crate) mod rows;
pub(crate) mod source;
mod morsel;
mod dense;
mod row_filter;
pub(crate) mod parts;
pub(crate) mod decode;
mod resident;
mod counting;
pub(crate) mod counts_exec;

//! Who finds the rows that a condition is about?
//!
//! Deleting and retention know SQL conditions; parsing and evaluating them is the business of the layers
//! above, which hand in a [`RowMatcher`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use roaring::RoaringBitmap;

use super::Condition;
use crate::catalog::CatalogSnapshot;
use crate::error::Result;
use crate::segment::SegmentMeta;

/// Evaluates SQL conditions on segments.
#[async_trait]
pub trait RowMatcher: fmt::Debug + Send + Sync {
    /// Parses a condition, which must be one expression of SQL.
    fn parse(&self, condition: &str) -> Result<Condition>;

    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when `condition` cannot be
    /// evaluated row by row.
    async fn check(&self, condition: &Condition) -> Result<()>;

    /// The segments in which rows may fulfil `condition`; no other has any.
    async fn candidates(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        condition: &Condition,
    ) -> Result<Vec<Arc<SegmentMeta>>>;

    /// The rows of a segment of `catalog` on which `condition` is true, whether they are deleted or not.
    async fn rows(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        segment: &Arc<SegmentMeta>,
        condition: &Condition,
    ) -> Result<RoaringBitmap>;
}

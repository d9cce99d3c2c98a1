//! How does maintenance find the rows that fulfil a condition?
//!
//! Deletion and retention use SQL conditions. The layers above parse and evaluate them, through a [`RowMatcher`].

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
    /// Parses a condition, which must be one SQL expression.
    fn parse(&self, condition: &str) -> Result<Condition>;

    /// Fails with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when `condition` cannot be
    /// evaluated row by row.
    async fn check(&self, condition: &Condition) -> Result<()>;

    /// Returns the segments in which rows may fulfil `condition`; no other segment has any.
    async fn candidates(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        condition: &Condition,
    ) -> Result<Vec<Arc<SegmentMeta>>>;

    /// Returns the rows of a segment of `catalog` for which `condition` is true, deleted or not.
    async fn rows(
        &self,
        catalog: &Arc<CatalogSnapshot>,
        segment: &Arc<SegmentMeta>,
        condition: &Condition,
    ) -> Result<RoaringBitmap>;
}

//! The inverted form of a column of a segment: the rows of each value.

use std::sync::Arc;

use crate::index::bitmap::{ColumnBitmaps, SecondRuns};

/// The rows of each value of one column of a segment.
#[derive(Debug, Clone)]
pub(crate) enum Inverted {
    /// The rows of each value.
    Bitmaps(Arc<ColumnBitmaps>),
    /// The rows of each second, only for the timestamp.
    Seconds(Arc<SecondRuns>),
    /// Not invertible: its type has no bitmaps, or the file is out of order.
    Unfit,
}

impl Inverted {
    /// Memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Bitmaps(bitmaps) => bitmaps.memory_bytes(),
            Self::Seconds(seconds) => seconds.memory_bytes(),
            Self::Unfit => 0,
        }
    }
}

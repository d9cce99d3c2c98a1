//! How does an index get the values of a segment?
//!
//! While the segment is written: an observer receives the same values in the same order, while they are in
//! memory anyway. The writer does not know how they are used.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

/// Receives the columns of a segment while they are encoded.
///
/// Columns come in no particular order, and from several threads at once.
pub trait ColumnObserver: Sync {
    /// True if [`observe`](Self::observe) is to be called for this column.
    fn wants(&self, field: &Field) -> bool;

    /// Receives all values of a wanted column, one per row of the segment, in the segment's order (newest
    /// first). Called once per column.
    fn observe(&self, field: &Field, values: &ArrayRef);
}

/// Observer that wants no column.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl ColumnObserver for Unobserved {
    fn wants(&self, _: &Field) -> bool {
        false
    }

    fn observe(&self, _: &Field, _: &ArrayRef) {}
}

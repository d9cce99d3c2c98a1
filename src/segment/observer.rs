//! Who looks on while a segment is written?
//!
//! An index is made of the very values that go into the segment, in the very order, while they are in
//! memory anyway. The writer does not know what becomes of them.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

/// Sees the columns of a segment while they are encoded.
///
/// Columns come in no particular order, and from several threads at once.
pub trait ColumnObserver: Sync {
    /// Whether [`observe`](Self::observe) shall be called for this column.
    fn wants(&self, field: &Field) -> bool;

    /// All values of a wanted column, one per row of the segment, in the segment's order (newest first).
    /// Called once per column.
    fn observe(&self, field: &Field, values: &ArrayRef);
}

/// Looks at nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl ColumnObserver for Unobserved {
    fn wants(&self, _: &Field) -> bool {
        false
    }

    fn observe(&self, _: &Field, _: &ArrayRef) {}
}

//! How are segments merged into new segments with the same events?
//!
//! Inputs are sorted newest first, so an output needs one slice of each: the rows from the end of the last
//! output down to a timestamp, the *cut*. [`Merge`] chooses the cuts, [`Slices`] is one output's columns.
//!
//! ```text
//! time ──▶ new                                     old
//! input A  ████████████████│███████│
//! input B        ██████████│███████│███████
//! input C                  │  █████│██████████████      is opened only when an output may need it
//!          output 1 ◀──────┘
//!          output 2 ◀──────────────┘
//!          output 3 ◀─────────────────────────────
//! ```
//!
//! Cuts lie between different timestamps, so outputs do not overlap in time. Two outputs share a timestamp only
//! if more events have it than fit into a segment. To keep outputs from overlapping other segments, a caller
//! names times at which an output should end ([`Merge::cut_at`]).
//!
//! The keys that get columns are chosen anew for every output, from the values in its slices. Values may move
//! from the overflow to a column and back. That loses nothing: the overflow keeps types.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringViewArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use object_store::ObjectStore;

use super::encoding::Tuning;
use super::meta::{SegmentId, SegmentMeta};
use super::observer::ColumnObserver;
use super::reader::{Objects, SegmentReader, WHOLE_BYTES_MAX};
use super::writer::{Built, Columns, ROWS_MAX, THREADS_MAX, encode};
use crate::config::SegmentLimits;
use crate::error::{Error, Result};
use crate::event::overflow::{self, OverflowBuilder, OverflowValues};
use crate::event::physical::{LayoutLimits, Part, PhysicalLayout, RowOrder, Source, ValueCounts, gather};
use crate::event::{AttributeColumn, AttributeType, schema};

/// An output that ends early has at least 1/64 of the events of a full one.
pub const PIECES_MAX: usize = 64;

/// Merges segments into new segments, newest events first.
#[derive(Debug)]
pub struct Merge {
    objects: Objects,
    /// In order of creation, which is the order of events with equal timestamps.
    inputs: Vec<Input>,
    limits: SegmentLimits,
    rows_left: usize,
    /// Times at which to end outputs early, latest first.
    cuts: Vec<i64>,
    threads: usize,
}

#[derive(Debug)]
struct Input {
    segment: Arc<SegmentMeta>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Open(Box<Open>),
    Done,
}

#[derive(Debug)]
struct Open {
    reader: SegmentReader,
    timestamps: ScalarBuffer<i64>,
    /// Number of rows already in outputs.
    taken: usize,
}

impl Open {
    /// Number of remaining rows at `ns` or later.
    fn rows_from(&self, ns: i64) -> usize {
        self.timestamps[self.taken..].partition_point(|timestamp| *timestamp >= ns)
    }

    fn newest(&self) -> Option<i64> {
        self.timestamps.get(self.taken).copied()
    }
}

impl Merge {
    /// Merges `segments` of `store` into segments of about equal size, within `limits`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, and if the limit of rows is not in `1..=ROWS_MAX`.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        mut segments: Vec<Arc<SegmentMeta>>,
        limits: SegmentLimits,
    ) -> Self {
        assert!((1..=ROWS_MAX).contains(&limits.rows), "a segment has 1 to {ROWS_MAX} rows");
        segments.sort_by_key(|segment| segment.id);
        let rows_left = segments.iter().map(|segment| segment.live_rows() as usize).sum();
        let inputs = segments.into_iter().map(|segment| Input { segment, state: State::Waiting }).collect();
        let (objects, cuts) = (Objects::new(store), Vec::new());
        Self { objects, inputs, limits, rows_left, cuts, threads: THREADS_MAX }
    }

    /// Also ends an output at the first of these times at which it has at least 1/[`PIECES_MAX`] of a full
    /// segment's events. Events at that time or later are in the output, earlier ones are not.
    #[must_use]
    pub fn cut_at(mut self, mut cuts: Vec<i64>) -> Self {
        cuts.sort_unstable_by_key(|cut| Reverse(*cut));
        self.cuts = cuts;
        self
    }

    /// Encodes one column at a time, on the thread that calls [`next`](Self::next), instead of two.
    #[must_use]
    pub fn on_one_thread(mut self) -> Self {
        self.threads = 1;
        self
    }

    /// Number of events not in an output yet.
    pub fn rows_left(&self) -> usize {
        self.rows_left
    }

    /// Encodes the next older events as the segment `id`; `None` if no events are left. `observer` receives
    /// the columns that it wants.
    ///
    /// Blocks for long, so call it on a thread of its own. Memory: about two dense columns, the output twice, the
    /// overflow; and for each input that the output overlaps its footer, its timestamps, and the object if it is
    /// small. Each of these is at most a small multiple of the bytes that the limits allow.
    pub fn next(&mut self, id: SegmentId, observer: &dyn ColumnObserver) -> Result<Option<Built>> {
        if self.rows_left == 0 {
            return Ok(None);
        }
        self.open_newest()?;
        let takes = self.cut();
        let rows: usize = takes.iter().sum();
        if rows == 0 {
            return Err(Error::corrupt("segments have fewer events than their entries in the catalog"));
        }
        let open: Vec<&Open> = self.inputs.iter().filter_map(Input::open).collect();
        let slices = open.iter().zip(&takes).filter(|(_, take)| **take > 0);
        let slices = slices.map(|(open, take)| Slice::new(open, open.taken..open.taken + take)).collect();
        let built = encode(id, &Slices::new(slices)?, observer, &Tuning::SEGMENT, self.threads)?;
        self.take(&takes);
        Ok(Some(built))
    }

    /// Opens inputs, newest first, until no unopened one can have an event of the next output.
    fn open_newest(&mut self) -> Result<()> {
        loop {
            let waiting = self.inputs.iter_mut().filter(|input| matches!(input.state, State::Waiting));
            let Some(next) = waiting.max_by_key(|input| input.segment.time.max_ns) else { return Ok(()) };
            let (segment, newest_ns) = (Arc::clone(&next.segment), next.segment.time.max_ns);
            let newer = newest_ns.checked_add(1).map_or(0, |newer| self.size_from(newer));
            if newer >= self.limits.rows as u64 {
                return Ok(());
            }
            let kept: u64 = self.inputs.iter().filter_map(Input::open).map(|open| open.reader.kept()).sum();
            let whole_max = WHOLE_BYTES_MAX.min(self.limits.bytes.saturating_sub(kept));
            let reader = SegmentReader::open(self.objects.clone(), &segment, whole_max)?;
            let timestamps = reader.timestamps()?;
            let rows = (reader.rows_with_deleted() as u64, reader.rows() as u64);
            let newest = timestamps.first().copied();
            let newest_fits = segment.mask.is_some() || newest == Some(newest_ns);
            if rows != (segment.rows, segment.live_rows()) || !newest_fits {
                let path = segment.path();
                return Err(Error::corrupt(format!("{path} has other events than its entry in the catalog")));
            }
            let open = Open { reader, timestamps, taken: 0 };
            if let Some(input) = self.inputs.iter_mut().find(|input| input.segment.id == segment.id) {
                input.state = State::Open(Box::new(open));
            }
        }
    }

    /// Size of the remaining events at `ns` or later in open inputs, in events of a full segment.
    fn size_from(&self, ns: i64) -> u64 {
        let of_input = |input: &Input| Some(self.size(input, input.open()?.rows_from(ns)));
        self.inputs.iter().filter_map(of_input).sum()
    }

    fn size(&self, input: &Input, rows: usize) -> u64 {
        input.segment.size(rows as u64, &self.limits)
    }

    /// Number of rows of each open input that go into the next output.
    fn cut(&self) -> Vec<usize> {
        let full = self.limits.rows as u64;
        let left: u64 = self.inputs.iter().map(|input| self.size(input, input.rows_left())).sum();
        let target = left.div_ceil(left.div_ceil(full).max(1));
        let newest = self.inputs.iter().filter_map(Input::open).filter_map(Open::newest).max();
        let Some(newest) = newest else { return Vec::new() };
        // The earliest time for which the events from then on are not too many.
        let (mut low, mut high) = (i64::MIN, newest);
        while low < high {
            let middle = (i128::from(low) + i128::from(high)).div_euclid(2) as i64;
            if self.size_from(middle) <= target { high = middle } else { low = middle + 1 }
        }
        let piece = full.div_ceil(PIECES_MAX as u64);
        let mut early = self.cuts.iter().copied().take_while(|cut| *cut > high);
        let high = early.find(|cut| self.size_from(*cut) >= piece).unwrap_or(high);
        // Events of one time stay together as long as they fit, even if they exceed the target. One always fits.
        let (mut room, mut is_first) = (full, true);
        let open = self.inputs.iter().filter_map(|input| Some((input, input.open()?)));
        open.map(|(input, open)| {
            let rows = open.rows_from(high);
            let size = self.size(input, rows);
            let fitting = (u128::from(room) * rows as u128 / u128::from(size.max(1))) as usize;
            let take = rows.min(fitting.max(usize::from(is_first)));
            room = room.saturating_sub(self.size(input, take));
            is_first &= take == 0;
            take
        })
        .collect()
    }

    fn take(&mut self, takes: &[usize]) {
        let open = self.inputs.iter_mut().filter(|input| input.open().is_some());
        for (input, take) in open.zip(takes) {
            if let State::Open(open) = &mut input.state {
                open.taken += take;
                self.rows_left -= take;
                if open.taken == open.timestamps.len() {
                    input.state = State::Done;
                }
            }
        }
    }
}

impl Input {
    /// Number of rows not in an output yet.
    fn rows_left(&self) -> usize {
        match &self.state {
            State::Waiting => self.segment.live_rows() as usize,
            State::Open(open) => open.timestamps.len() - open.taken,
            State::Done => 0,
        }
    }

    fn open(&self) -> Option<&Open> {
        if let State::Open(open) = &self.state { Some(open) } else { None }
    }
}

/// A range of a segment's rows.
struct Slice<'a> {
    reader: &'a SegmentReader,
    timestamps: &'a [i64],
    rows: Range<usize>,
    /// The overflow of these rows.
    overflow: Option<StringViewArray>,
    /// Values of the overflow that get a column, by the column's name.
    promoted: HashMap<String, AttributeColumn>,
}

impl<'a> Slice<'a> {
    fn new(open: &'a Open, rows: Range<usize>) -> Self {
        let timestamps = &open.timestamps[rows.clone()];
        Self { reader: &open.reader, timestamps, rows, overflow: None, promoted: HashMap::new() }
    }

    fn read(&self, name: &str, ty: &DataType) -> Result<Option<ArrayRef>> {
        self.reader.read(name, self.rows.clone(), ty)
    }

    /// Reads the overflow, and adds the slice's number of values per key to `counts`. For columns, exact counts
    /// exist only for the whole segment; a part's are estimated, as zero only if the segment has none.
    fn count(&mut self, counts: &mut ValueCounts) -> Result<()> {
        counts.add_rows(self.rows.len());
        for (name, column) in self.reader.columns() {
            match &column.attribute {
                _ if column.values == 0 => {}
                Some((key, ty)) => {
                    let all = self.reader.rows_with_deleted();
                    let share = (column.values * self.rows.len()).div_ceil(all);
                    counts.add(key, *ty, share);
                }
                None => counts.add_core(name),
            }
        }
        if let Some(overflow) = self.read(schema::OVERFLOW, &DataType::Utf8View)? {
            let overflow = overflow.as_string_view().clone();
            for object in overflow.iter().flatten() {
                for entry in self.entries(object)? {
                    counts.add(&entry.key().map_err(|e| self.corrupt(&e))?, entry.ty, 1);
                }
            }
            self.overflow = Some(overflow);
        }
        Ok(())
    }

    /// Entries of the overflow of a row.
    fn entries<'o>(&self, object: &'o str) -> Result<Vec<overflow::Entry<'o>>> {
        overflow::entries(object).map_err(|e| self.corrupt(&e))
    }

    /// Error for an overflow that cannot be parsed although it was written once.
    fn corrupt(&self, error: &Error) -> Error {
        Error::corrupt(format!("{}, the overflow: {}", self.reader.path(), error.message()))
    }

    /// True if the values of this name and type are in the overflow and get a column.
    fn promotes(&self, layout: &PhysicalLayout, name: &str, ty: AttributeType) -> bool {
        layout.holds(name, ty) && self.reader.attribute_type(name) != Some(ty)
    }

    /// Splits the overflow into values that get a column and values that stay.
    fn split_overflow(&mut self, layout: &PhysicalLayout, positions: &[u32], rest: &mut Rest) -> Result<()> {
        let mut promoted = OverflowValues::default();
        for (row, object) in self.overflow.take().iter().flatten().enumerate() {
            let Some(object) = object else { continue };
            for entry in self.entries(object)? {
                if self.promotes(layout, &entry.name, entry.ty) {
                    let pushed = entry.key().and_then(|key| promoted.push(key, row as u32, &entry));
                    pushed.map_err(|e| self.corrupt(&e))?;
                } else {
                    rest.builder.push_json(positions[row] as usize, &entry.name, entry.json);
                    rest.name(&entry.name);
                }
            }
        }
        self.promoted = promoted.finish().into_iter().map(|c| (c.key().physical_name(), c)).collect();
        Ok(())
    }

    /// Moves the values of columns that the output does not have into the overflow.
    fn demote(&self, layout: &PhysicalLayout, positions: &[u32], rest: &mut Rest) -> Result<()> {
        for (name, column) in self.reader.columns() {
            let Some((key, ty)) = &column.attribute else { continue };
            if layout.holds(name, *ty) || column.values == 0 {
                continue;
            }
            let Some(values) = self.read(name, &ty.data_type())? else { continue };
            let values = AttributeColumn::from_dense(key.clone(), *ty, &values)?;
            for (i, row) in values.rows().iter().enumerate() {
                rest.builder.push(positions[*row as usize] as usize, name, &values.value(i));
                rest.name(name);
            }
        }
        Ok(())
    }

    /// Values of one type of an attribute in the slice, with their rows; `None` for the rows means all.
    fn attribute(&self, name: &str, ty: AttributeType) -> Result<Option<Part<'_>>> {
        if self.reader.attribute_type(name) == Some(ty) {
            return Ok(self.read(name, &ty.data_type())?.map(|values| (None, values)));
        }
        let promoted = self.promoted.get(name);
        Ok(promoted.map(|column| (Some(column.rows()), Arc::clone(column.values()))))
    }
}

/// The overflow of an output.
struct Rest {
    builder: OverflowBuilder,
    names: BTreeSet<String>,
}

impl Rest {
    fn name(&mut self, name: &str) {
        if !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
    }
}

/// The columns of one output.
struct Slices<'a> {
    parts: Vec<Slice<'a>>,
    order: RowOrder,
    layout: PhysicalLayout,
    overflow: Option<ArrayRef>,
    overflowing: BTreeSet<String>,
}

impl<'a> Slices<'a> {
    fn new(mut parts: Vec<Slice<'a>>) -> Result<Self> {
        let timestamps: Vec<&[i64]> = parts.iter().map(|slice| slice.timestamps).collect();
        let order = RowOrder::newest_first(&timestamps);
        let mut counts = ValueCounts::default();
        for slice in &mut parts {
            slice.count(&mut counts)?;
        }
        let layout = PhysicalLayout::of_counts(&counts, LayoutLimits::SEGMENT);
        let mut all = Self { parts, order, layout, overflow: None, overflowing: BTreeSet::new() };
        all.decide_overflow()?;
        Ok(all)
    }

    fn decide_overflow(&mut self) -> Result<()> {
        let overflows = self.layout.index_of(schema::OVERFLOW).is_some();
        if !overflows && self.parts.iter().all(|slice| slice.overflow.is_none()) {
            return Ok(());
        }
        let mut rest = Rest { builder: OverflowBuilder::new(self.order.len()), names: BTreeSet::new() };
        for (slice, positions) in self.parts.iter_mut().zip(self.order.positions()) {
            slice.split_overflow(&self.layout, positions, &mut rest)?;
            slice.demote(&self.layout, positions, &mut rest)?;
        }
        if !overflows && !rest.names.is_empty() {
            return Err(Error::corrupt(format!(
                "attributes {:?} have values both in a column and in the overflow",
                rest.names
            )));
        }
        self.overflow = overflows.then(|| rest.builder.finish());
        self.overflowing = rest.names;
        Ok(())
    }
}

impl Columns for Slices<'_> {
    fn layout(&self) -> &PhysicalLayout {
        &self.layout
    }

    fn column(&self, i: usize) -> Result<ArrayRef> {
        let column = &self.layout.columns()[i];
        let (name, ty) = (column.field.name(), column.field.data_type());
        let slices = self.parts.iter();
        let parts = match &column.source {
            Source::Core(_) => slices
                .map(|slice| Ok(slice.read(name, ty)?.map(|values| (None, values))))
                .collect::<Result<Vec<_>>>()?,
            Source::Attribute(_, ty) => {
                slices.map(|slice| slice.attribute(name, *ty)).collect::<Result<_>>()?
            }
            Source::Overflow => {
                let overflow = self.overflow.as_ref().map(Arc::clone);
                return overflow.ok_or_else(|| Error::internal("the overflow was not collected"));
            }
        };
        gather(ty, &parts, &self.order)
    }

    fn overflowing(&self) -> BTreeSet<String> {
        self.overflowing.clone()
    }
}

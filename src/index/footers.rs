//! How does a query open a few columns of a wide segment?
//!
//! The footer of a segment may describe a thousand columns, which takes 10 ms to decode; a query needs three. So
//! the side-car has a copy of the footer, split by column:
//!
//! ```text
//! segments/…/{id}.index
//!   columns, columns.names   blocks: for each column, a Parquet footer of this column alone, preceded by its
//!                            column index and offset index; page offsets refer to the segment's object
//!   overflow                 a split-block Bloom filter, as in Parquet, of the attributes in the overflow;
//!                            only if there are too many to list
//! ```
//!
//! A column may have several leaves. Reading returns the same as [splitting](split) the object's footer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::ColumnOrder;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::blocks::{BlockNames, BlocksWriter};
use super::sidecar::{Sidecar, SidecarWriter};
use crate::error::{Result, contained};
use crate::segment::OverflowFilter;

/// Name of the section with one footer per column.
const COLUMNS: &str = "columns";
/// Name of the section with the filter of the attributes in the overflow.
pub(super) const OVERFLOW: &str = "overflow";
/// Version in the metadata made here; readers ignore it.
const VERSION: i32 = 2;

/// Columns of a file of one row group.
#[derive(Default)]
struct Columns {
    roots: Vec<TypePtr>,
    /// One per leaf, as in the fields below.
    chunks: Vec<ColumnChunkMetaData>,
    orders: Vec<ColumnOrder>,
    column_index: Vec<ColumnIndexMetaData>,
    offset_index: Vec<OffsetIndexMetaData>,
}

impl Columns {
    /// Takes the column `root` of `footer`, with its `leaves`.
    fn of(footer: &ParquetMetaData, root: &TypePtr, leaves: Range<usize>) -> Self {
        let chunks = footer.row_groups().first().map(|group| &group.columns()[leaves.clone()]);
        let orders = footer.file_metadata().column_orders().map(|orders| &orders[leaves.clone()]);
        let column_index = footer.column_index().and_then(|groups| groups.first()?.get(leaves.clone()));
        let offset_index = footer.offset_index().and_then(|groups| groups.first()?.get(leaves));
        Self {
            roots: vec![Arc::clone(root)],
            chunks: chunks.unwrap_or_default().to_vec(),
            orders: orders.unwrap_or_default().to_vec(),
            column_index: column_index.unwrap_or_default().to_vec(),
            offset_index: offset_index.unwrap_or_default().to_vec(),
        }
    }

    /// Adds the only column of `footer`.
    fn add(&mut self, footer: &ParquetMetaData) {
        let schema = footer.file_metadata().schema_descr();
        let Some(root) = schema.root_schema().get_fields().first() else { return };
        let other = Self::of(footer, root, 0..schema.num_columns());
        self.roots.extend(other.roots);
        self.chunks.extend(other.chunks);
        self.orders.extend(other.orders);
        self.column_index.extend(other.column_index);
        self.offset_index.extend(other.offset_index);
    }

    /// Metadata of a file with these columns and `rows` rows.
    fn footer(self, rows: i64) -> ParquetResult<ParquetMetaData> {
        let leaves = self.chunks.len();
        let root = Type::group_type_builder("schema").with_fields(self.roots).build()?;
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(root)));
        let group = RowGroupMetaData::builder(Arc::clone(&schema))
            .set_num_rows(rows)
            .set_total_byte_size(self.chunks.iter().map(ColumnChunkMetaData::uncompressed_size).sum())
            .set_column_metadata(self.chunks)
            .build()?;
        let orders = (self.orders.len() == leaves).then_some(self.orders);
        let column_index = (self.column_index.len() == leaves).then(|| vec![self.column_index]);
        let offset_index = (self.offset_index.len() == leaves).then(|| vec![self.offset_index]);
        Ok(ParquetMetaDataBuilder::new(FileMetaData::new(VERSION, rows, None, None, schema, orders))
            .set_row_groups(vec![group])
            .set_column_index(column_index)
            .set_offset_index(offset_index)
            .build())
    }
}

/// Splits `footer`, of one row group, into one footer for each `wanted` column, in order.
pub fn split(
    footer: &ParquetMetaData,
    wanted: impl Fn(&str) -> bool,
) -> impl Iterator<Item = ParquetResult<(&str, ParquetMetaData)>> {
    let schema = footer.file_metadata().schema_descr();
    let rows = footer.file_metadata().num_rows();
    let mut next = 0;
    schema.root_schema().get_fields().iter().enumerate().filter_map(move |(i, root)| {
        let first = next;
        while next < schema.num_columns() && schema.get_column_root_idx(next) == i {
            next += 1;
        }
        let column = || Columns::of(footer, root, first..next).footer(rows);
        wanted(root.name()).then(|| Ok((root.name(), column()?)))
    })
}

/// Joins `parts`, footers of one column each, into the footer of a file of `rows` rows.
pub fn join<'a>(
    rows: u64,
    parts: impl IntoIterator<Item = &'a ParquetMetaData>,
) -> ParquetResult<ParquetMetaData> {
    let mut columns = Columns::default();
    parts.into_iter().for_each(|part| columns.add(part));
    columns.footer(rows as i64)
}

/// Adds `footer` to an index object, split by column.
pub(super) fn put(writer: &mut SidecarWriter, footer: &ParquetMetaData) -> Result<()> {
    let mut columns = split(footer, |_| true).collect::<ParquetResult<Vec<_>>>()?;
    columns.sort_by_key(|(name, _)| *name);
    let mut blocks = BlocksWriter::new();
    for (name, column) in columns {
        let mut bytes = Vec::new();
        ParquetMetaDataWriter::new(&mut bytes, &column).finish()?;
        blocks.add(name, &bytes)?;
    }
    blocks.finish(COLUMNS, writer);
    if let Some(filter) = OverflowFilter::from_footer(footer) {
        writer.section(OVERFLOW, filter.to_bytes());
    }
    Ok(())
}

/// Reads the names of the columns whose footers the side-car has; `None` if it has no footers.
pub async fn names(sidecar: &Sidecar) -> Result<Option<BlockNames>> {
    BlockNames::read(sidecar, COLUMNS).await
}

/// Reads the footers of the `wanted` columns that exist, of a segment with `rows` rows.
///
/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if one is damaged.
pub async fn read<'n>(
    sidecar: &Sidecar,
    names: &BlockNames,
    rows: u64,
    wanted: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<(&'n str, ParquetMetaData)>> {
    let blocks = names.read_blocks(sidecar, COLUMNS, wanted).await?;
    let decode =
        |(name, block)| match contained(|| Ok(decode(&block, name, rows)?)) {
            Ok(Some(column)) => Ok((name, column)),
            Ok(None) => Err(sidecar
                .corrupt(COLUMNS, format_args!("block {name} is the footer of another column or segment"))),
            Err(e) => Err(sidecar
                .corrupt(COLUMNS, format_args!("block {name} is not a Parquet footer"))
                .with_source(e)),
        };
    blocks.into_iter().map(decode).collect()
}

/// Reads the filter of the attributes in the overflow; `None` if the side-car has none.
pub async fn overflow(sidecar: &Sidecar) -> Result<Option<OverflowFilter>> {
    let Some(bytes) = sidecar.read(OVERFLOW).await? else { return Ok(None) };
    let filter = OverflowFilter::parse(&bytes);
    filter.map(Some).ok_or_else(|| sidecar.corrupt(OVERFLOW, "its size is not that of a Bloom filter"))
}

/// Decodes the footer in `block`; `None` if it does not belong to the column `name` with `rows` rows.
fn decode(block: &Bytes, name: &str, rows: u64) -> ParquetResult<Option<ParquetMetaData>> {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    let footer = reader.parse_and_finish(block)?;
    let [root] = footer.file_metadata().schema_descr().root_schema().get_fields() else { return Ok(None) };
    let ([group], true) = (footer.row_groups(), root.name() == name) else { return Ok(None) };
    let leaves = group.num_columns();
    let mut columns = Columns::of(&footer, root, 0..leaves);
    if columns.column_index.is_empty() {
        columns.column_index = vec![ColumnIndexMetaData::NONE; leaves];
    }
    // Without indexes the reader would look for them at offsets that do not belong to the object.
    let indexed = columns.column_index.len() == leaves && columns.offset_index.len() == leaves;
    let fits = indexed && group.num_rows() as u64 == rows;
    fits.then(|| columns.footer(rows as i64)).transpose()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;
    use crate::config::IndexSettings;
    use crate::event::{CoreEvent, EventBatchBuilder, Level, Link, TraceId, Value};
    use crate::index::IndexBuilder;
    use crate::segment::{self, Built, SegmentId};

    /// Three pages of events with a nested column, attributes, and more attributes in the overflow than can be
    /// listed.
    fn built(builder: &IndexBuilder) -> Built {
        let mut events = EventBatchBuilder::new();
        let links = [Link { trace_id: Some(TraceId::new([1; 16])), ..Link::default() }];
        for i in 0..20_000_i64 {
            let links = if i % 3 == 0 { &links[..] } else { &[] };
            events.push(&CoreEvent { timestamp_ns: i, links, ..CoreEvent::default() });
            let key = events.key(Level::Record, "number");
            events.attribute(key, Value::Int(i));
            let key = events.key(Level::Resource, "pod");
            events.attribute(key, Value::Text(["a", "b", "c"][i as usize % 3]));
            let key = events.key(Level::Record, &format!("rare.attribute.{i}"));
            events.attribute(key, Value::Bool(true));
        }
        segment::build(SegmentId::new(1), &[Arc::new(events.finish().unwrap())], builder).unwrap()
    }

    async fn sidecar(object: object_store::PutPayload) -> Sidecar {
        let (store, bytes): (Arc<dyn ObjectStore>, _) =
            (Arc::new(InMemory::new()), object.content_length() as u64);
        store.put(&Path::from("x.index"), object).await.unwrap();
        Sidecar::open(store, "x.index", bytes).await.unwrap()
    }

    /// Text of a footer without the offsets of the page indexes, which refer to the block.
    fn comparable(footer: &ParquetMetaData) -> String {
        let chunks: Vec<_> = footer.row_groups()[0]
            .columns()
            .iter()
            .map(|chunk| {
                let chunk = chunk.clone().into_builder();
                let chunk = chunk.set_column_index_offset(None).set_column_index_length(None);
                chunk.set_offset_index_offset(None).set_offset_index_length(None).build().unwrap()
            })
            .collect();
        let schema = footer.file_metadata().schema_descr().root_schema();
        format!("{schema:?} {chunks:?} {:?} {:?}", footer.column_index(), footer.offset_index())
    }

    #[tokio::test]
    async fn the_side_car_says_of_each_column_what_the_footer_says() {
        let builder = IndexBuilder::new(&IndexSettings::default());
        let built = built(&builder);
        let rows = built.segment.meta.rows;
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let footer = reader.parse_and_finish(&built.object).unwrap();
        let expected: BTreeMap<_, _> = split(&footer, |_| true).map(Result::unwrap).collect();
        let wanted = ["links", "nope", "number", "overflow", "resource.pod", "timestamp"];

        let sidecar = sidecar(builder.finish(&built).unwrap().object).await;
        let names = names(&sidecar).await.unwrap().unwrap();
        assert!(names.iter().eq(expected.keys().copied()));
        let found = read(&sidecar, &names, rows, wanted).await.unwrap();
        assert_eq!(
            found.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            [&wanted[..1], &wanted[2..]].concat()
        );
        for (name, column) in &found {
            assert_eq!(comparable(column), comparable(&expected[name]), "{name}");
        }
        let nested = &found[0].1;
        assert!(nested.row_groups()[0].num_columns() > 1, "a link has several leaves");

        let joined = join(rows, found.iter().map(|(_, column)| column)).unwrap();
        let leaves: usize = found.iter().map(|(_, column)| column.row_groups()[0].num_columns()).sum();
        assert_eq!(joined.row_groups()[0].num_columns(), leaves);
        assert_eq!(joined.offset_index().unwrap()[0].len(), leaves);
        assert_eq!(joined.column_index().unwrap()[0].len(), leaves);
        assert_eq!(joined.file_metadata().num_rows(), 20_000);
        assert_eq!(join(7, []).unwrap().row_groups()[0].num_rows(), 7, "counting needs no column");

        assert!(read(&sidecar, &names, rows + 1, ["number"]).await.is_err(), "it is of another segment");
    }

    #[tokio::test]
    async fn the_side_car_knows_what_is_in_an_overflow_that_is_not_listed() {
        let builder = IndexBuilder::new(&IndexSettings::default());
        let built = built(&builder);
        assert_eq!(built.segment.columns.overflow, None);
        let sidecar = sidecar(builder.finish(&built).unwrap().object).await;
        let filter = overflow(&sidecar).await.unwrap().unwrap();
        assert!((0..20_000).all(|i| filter.may_have(&format!("rare.attribute.{i}"))));
        assert!(!filter.may_have("number") && !filter.may_have("resource.pod"));
    }

    #[test]
    fn other_bytes_are_no_footer() {
        for bytes in [&b""[..], b"PAR1", &[0; 40], b"\x10\0\0\0PAR1", b"\xff\xff\xff\x7fPAR1"] {
            assert!(!matches!(decode(&Bytes::from_static(bytes), "a", 1), Ok(Some(_))));
        }
    }
}

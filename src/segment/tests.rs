//! Round trips of segments: every column, merges, damage.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaDataReader;
use tokio::runtime::Runtime;

use super::encoding::PAGE_ROWS;
use super::reader::{Objects, SegmentReader};
use super::*;
use crate::event::physical::{LayoutLimits, PhysicalLayout, RowOrder};
use crate::event::{
    AttributeType, CoreEvent, EventBatch, EventBatchBuilder, Level, Link, Signal, SpanId, TraceId, Value,
    schema,
};

/// Rows that exercise every kind of column; `timestamp` is a permutation of `0..rows`.
fn batch(rows: usize, offset: usize) -> Arc<EventBatch> {
    let mut builder = EventBatchBuilder::new();
    let route = builder.key(Level::Record, "http.route");
    let unique = builder.key(Level::Record, "request id");
    let status = builder.key(Level::Record, "code");
    let load = builder.key(Level::Resource, "load");
    let rare = builder.key(Level::Record, "rare");
    let list = builder.key(Level::Record, "list");
    let flag = builder.key(Level::Record, "flag");
    let bytes = builder.key(Level::Record, "bytes");
    for i in offset..offset + rows {
        let text = format!("request {i}");
        builder.push(&CoreEvent {
            timestamp_ns: (i * 7919 % 20_011) as i64,
            signal: Signal::Span,
            trace_id: TraceId::from_slice(&(i as u128 / 3 + 1).to_be_bytes()),
            span_id: SpanId::from_slice(&(i as u64 + 1).to_be_bytes()),
            name: Some(&text),
            ..CoreEvent::default()
        });
        builder.attribute(route, Value::Text(["/cart", "/pay", "/home"][i % 3]));
        builder.attribute(unique, Value::Text(&text));
        match i % 1000 {
            0 => builder.attribute(status, Value::Text("none")),
            _ => builder.attribute(status, Value::Int(200 + (i % 5) as i64)),
        }
        builder.attribute(load, Value::Double(i as f64 / 3.0));
        if i == 5 {
            builder.attribute(rare, Value::Int(1));
        }
        if i % 2 == 0 {
            builder.attribute(list, Value::Json("[1,2]"));
            builder.attribute(flag, Value::Bool(i % 4 == 0));
            builder.attribute(bytes, Value::Bytes(&[i as u8]));
        }
    }
    Arc::new(builder.finish().unwrap())
}

fn built(batches: &[Arc<EventBatch>]) -> Built {
    build(SegmentId::new(1_700_000_000_000_000_000), batches, &Unobserved).unwrap()
}

fn read(object: bytes::Bytes) -> (RecordBatch, usize) {
    let reader = ParquetRecordBatchReaderBuilder::try_new(object).unwrap();
    let groups = reader.metadata().num_row_groups();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
    (arrow::compute::concat_batches(&schema, &batches).unwrap(), groups)
}

#[test]
fn a_segment_reads_back_as_what_went_in_newest_first() {
    let batches = [batch(9000, 0), batch(1000, 9000), batch(10_000, 10_000)];
    let built = built(&batches);
    let (found, groups) = read(built.object.clone());
    assert_eq!((found.num_rows(), groups), (20_000, 1));

    let layout = PhysicalLayout::decide(&batches, LayoutLimits::SEGMENT);
    let mut rows: Vec<(i64, u32, u32)> = Vec::new();
    for (b, batch) in batches.iter().enumerate() {
        let timestamps = batch.core().column_by_name("timestamp").unwrap();
        let timestamps = timestamps.as_primitive::<TimestampNanosecondType>();
        rows.extend((0..batch.rows()).map(|r| (-timestamps.value(r), b as u32, r as u32)));
    }
    rows.sort_unstable();
    let order: Vec<_> = rows.into_iter().map(|(_, batch, row)| (batch, row)).collect();
    let order = RowOrder::new(&batches, &order);
    assert_eq!(found.num_columns(), layout.columns().len());
    for (i, column) in layout.columns().iter().enumerate() {
        let expected = layout.materialize(i, &batches, &order).unwrap();
        let found = found.column_by_name(column.field.name()).unwrap();
        let found = arrow::compute::cast(found, expected.data_type()).unwrap();
        assert_eq!(&found, &expected, "{}", column.field.name());
    }
}

#[test]
fn meta_says_what_is_in_the_object() {
    let built = built(&[batch(5000, 0)]);
    let (meta, columns) = (&built.segment.meta, &built.segment.columns);
    assert_eq!((meta.rows, meta.bytes), (5000, built.object.len() as u64));
    assert_eq!(meta.path(), format!("segments/1970/01/01/{}.parquet", meta.id));
    let types = |name: &str| columns.get(name).and_then(|c| c.attribute_type);
    assert_eq!(types("http.route"), Some(AttributeType::Text));
    assert_eq!(types("code"), Some(AttributeType::Int));
    assert_eq!(types("resource.load"), Some(AttributeType::Double));
    assert_eq!(types("list"), Some(AttributeType::Json));
    assert_eq!(types("flag"), Some(AttributeType::Bool));
    assert_eq!(types("bytes"), Some(AttributeType::Bytes));
    assert_eq!(columns.get("timestamp").unwrap().attribute_type, None);
    assert!(columns.get("rare").is_none() && columns.has_overflow());
    let route = columns.get("http.route").unwrap();
    assert_eq!(route.bounds, Some((Bound::Text("/cart".into()), Bound::Text("/pay".into()))));
    assert_eq!((route.null_count, columns.get("list").unwrap().null_count), (0, 2500));
    assert_eq!(columns.get("bytes").unwrap().bounds, None);

    let (found, _) = read(built.object.clone());
    let timestamps = found.column_by_name("timestamp").unwrap().as_primitive::<TimestampNanosecondType>();
    assert_eq!(timestamps.value(0), meta.time.max_ns);
    assert_eq!(timestamps.value(4999), meta.time.min_ns);
    let status = found.column_by_name("code").unwrap();
    assert_eq!(status.as_primitive::<Int64Type>().null_count(), 5, "text values of an integer key overflow");
}

#[test]
fn meta_survives_json_and_can_be_made_again_from_the_footer() {
    let built = built(&[batch(3000, 0)]);
    let json = serde_json::to_string(&built.segment).unwrap();
    assert_eq!(serde_json::from_str::<NewSegment>(&json).unwrap(), built.segment);
    let reader = ParquetRecordBatchReaderBuilder::try_new(built.object.clone()).unwrap();
    let footer = reader.metadata();
    let again = NewSegment::from_footer(built.segment.meta.bytes, footer).unwrap();
    assert_eq!(again, built.segment);
}

#[test]
fn another_parquet_file_is_no_segment() {
    let batch =
        RecordBatch::try_from_iter([("a", Arc::new(arrow::array::Int64Array::from(vec![1])) as _)]).unwrap();
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let footer = writer.close().unwrap();
    let error = NewSegment::from_footer(1, &footer).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
}

#[test]
fn pages_have_the_rows_that_lookups_count_on() {
    let built = built(&[batch(20_000, 0)]);
    let options = parquet::arrow::arrow_reader::ArrowReaderOptions::new()
        .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
    let reader =
        ParquetRecordBatchReaderBuilder::try_new_with_options(built.object.clone(), options).unwrap();
    let indexes = reader.metadata().offset_index().unwrap();
    for (column, index) in indexes[0].iter().enumerate() {
        let firsts: Vec<_> = index.page_locations().iter().map(|page| page.first_row_index).collect();
        assert_eq!(firsts, [0, 8192, 16_384], "column {column}");
    }
}

#[test]
fn whether_compression_pays_is_seen_where_the_values_are() {
    let mut builder = EventBatchBuilder::new();
    let [log, noise] = ["log", "noise"].map(|name| builder.key(Level::Record, name));
    for i in 0..20 * PAGE_ROWS {
        builder.push(&CoreEvent { timestamp_ns: -(i as i64), ..CoreEvent::default() });
        // Each has an hour of its own.
        if i < PAGE_ROWS {
            builder.attribute(log, Value::Text(&format!("{i} is what the request had, and nothing else")));
        }
        if (3 * PAGE_ROWS..4 * PAGE_ROWS).contains(&i) {
            let mixed = (i as u64 ^ 0x9E37_79B9).wrapping_mul(0x2545_F491_4F6C_DD1D);
            builder.attribute(noise, Value::Bytes(&mixed.to_be_bytes()));
        }
    }
    let footer = built(&[Arc::new(builder.finish().unwrap())]).footer;
    let is_compressed = |name: &str| {
        let column = footer.row_group(0).columns().iter().find(|c| c.column_path().string() == name);
        column.unwrap().compression() != parquet::basic::Compression::UNCOMPRESSED
    };
    assert!(is_compressed("log") && !is_compressed("noise"));
}

/// Stores a segment of these rows, and returns the catalog's entry for it.
fn stored(runtime: &Runtime, batches: &[Arc<EventBatch>]) -> (Arc<dyn ObjectStore>, SegmentMeta) {
    let Built { segment: NewSegment { meta, .. }, object, .. } = built(batches);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    runtime.block_on(store.put(&Path::from(meta.path()), object.into())).unwrap();
    (store, meta)
}

#[test]
fn a_few_rows_do_not_keep_the_pages_that_they_were_read_from() {
    let mut builder = EventBatchBuilder::new();
    let [text, few, bytes] = ["text", "few", "bytes"].map(|name| builder.key(Level::Record, name));
    let numbered = |i: usize| format!("{i:0>120}");
    for i in 0..PAGE_ROWS {
        let attributes = format!(r#"{{"text":"{}"}}"#, numbered(i));
        let links = &[Link { attributes: &attributes, ..Link::default() }];
        builder.push(&CoreEvent { timestamp_ns: -(i as i64), links, ..CoreEvent::default() });
        builder.attribute(text, Value::Text(&numbered(i)));
        builder.attribute(bytes, Value::Bytes(numbered(i).as_bytes()));
        builder.attribute(few, Value::Text(&numbered(i % 4)));
    }
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let (store, meta) = stored(&runtime, &[Arc::new(builder.finish().unwrap())]);
    let reader = SegmentReader::open(Objects::new(store), &meta, 0).unwrap();
    let read = |name: &str, rows, ty: &DataType| reader.read(name, rows, ty).unwrap().unwrap();
    let some = 4000..4010;
    let links = schema::core_columns()[schema::core_index("links").unwrap()].field.data_type();
    for (name, ty) in [("text", &DataType::Utf8View), ("bytes", &DataType::BinaryView), ("links", links)] {
        let values = read(name, some.clone(), ty);
        let all = read(name, 0..PAGE_ROWS, ty);
        assert_eq!(&values, &all.slice(some.start, some.len()));
        assert!(all.get_buffer_memory_size() > PAGE_ROWS * 120);
        assert!(values.get_buffer_memory_size() < 10 << 10, "{name}: {}", values.get_buffer_memory_size());
    }
    let few = read("few", 0..PAGE_ROWS, &DataType::Utf8View);
    assert!(few.get_buffer_memory_size() < PAGE_ROWS * 20, "each of four texts is there once");
    assert_eq!(few.as_string_view().value(6), numbered(2));
}

#[test]
fn a_footer_that_puts_a_column_where_none_can_be_is_corrupt() {
    let object = built(&[batch(100, 0)]).object;
    let bytes = object.len() as u64;
    let footer = ParquetMetaDataReader::new().parse_and_finish(&object).unwrap();
    footer::check_places(&footer, bytes).unwrap();
    for (start, length) in [(-1, 10), (4, -1), (i64::MAX, 1), (4, bytes as i64)] {
        let group = footer.row_group(0).clone();
        let mut leaves = group.columns().to_vec();
        let leaf = leaves[0].clone().into_builder().set_dictionary_page_offset(None);
        leaves[0] = leaf.set_data_page_offset(start).set_total_compressed_size(length).build().unwrap();
        let group = group.into_builder().set_column_metadata(leaves).build().unwrap();
        let harmed = footer.clone().into_builder().set_row_groups(vec![group]).build();
        let error = footer::check_places(&harmed, bytes).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{error}");
    }
}

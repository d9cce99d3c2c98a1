//! Writes one batch with every type, in every format.

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int64Array, ListArray, MapBuilder, StringBuilder, StringViewArray, StructArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Int64Type};
use arrow_schema::extension::Json;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::TryStreamExt;

use super::*;
use crate::query::Progress;

fn batch() -> RecordBatch {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k\"");
    map.values().append_value("v");
    map.append(true).unwrap();
    map.append(false).unwrap();
    let structs = StructArray::from(vec![(
        Arc::new(Field::new("x", DataType::Int64, true)),
        Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef,
    )]);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("n", DataType::Int64, true), Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
        (Field::new("n", DataType::Float64, true), Arc::new(Float64Array::from(vec![1.5, f64::NAN]))),
        (
            Field::new("t", crate::event::schema::timestamp_type(), true),
            Arc::new(TimestampNanosecondArray::from(vec![1, -1]).with_timezone("UTC")),
        ),
        (
            Field::new("id", DataType::FixedSizeBinary(2), true),
            Arc::new(FixedSizeBinaryArray::try_from_iter([[0xab_u8, 1], [0, 0xff]].into_iter()).unwrap()),
        ),
        (
            Field::new("b", DataType::BinaryView, true),
            Arc::new(BinaryViewArray::from_iter_values([[0_u8, 255], [1, 2]])),
        ),
        (
            Field::new("s", DataType::Utf8View, true),
            Arc::new(StringViewArray::from(vec!["a,\"b\"\n", "\u{1}ü"])),
        ),
        (
            Field::new("j", DataType::Utf8View, true).with_extension_type(Json::default()),
            Arc::new(StringViewArray::from(vec!["{\"a\":[1,2]}", "null"])),
        ),
        (Field::new("ok", DataType::Boolean, true), Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (
            Field::new("d", DataType::Decimal128(5, 2), true),
            Arc::new(Decimal128Array::from(vec![12345, -5]).with_precision_and_scale(5, 2).unwrap()),
        ),
        (
            Field::new_list("l", Field::new_list_field(DataType::Int64, true), true),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None])),
        ),
        (Field::new("o", structs.data_type().clone(), true), Arc::new(structs)),
    ];
    let map: ArrayRef = Arc::new(map.finish());
    let (mut fields, mut arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    fields.push(Field::new("m", map.data_type().clone(), true));
    arrays.push(map);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

async fn bytes(format: Format, batches: Vec<RecordBatch>) -> Vec<u8> {
    let schema = batches.first().map_or_else(|| batch().schema(), RecordBatch::schema);
    let stream = futures::stream::iter(batches.into_iter().map(Ok));
    let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
    let result = QueryResult { schema, stream, warnings: Vec::new(), progress: Progress::default() };
    encode(result, format)
        .try_fold(Vec::new(), async |mut all, chunk| {
            all.extend(chunk);
            Ok(all)
        })
        .await
        .unwrap()
}

const FIRST: &str = r#"{"n":9223372036854775807,"n_2":1.5,"t":"1970-01-01T00:00:00.000000001Z","id":"ab01","b":"AP8=","s":"a,\"b\"\n","j":{"a":[1,2]},"ok":true,"d":123.45,"l":[1,null],"o":{"x":1},"m":{"k\"":"v"}}"#;
const SECOND: &str = r#"{"n":null,"n_2":null,"t":"1969-12-31T23:59:59.999999999Z","id":"00ff","b":"AQI=","s":"\u0001ü","j":null,"ok":null,"d":-0.05,"l":null,"o":{"x":null},"m":null}"#;

#[tokio::test]
async fn json_is_what_the_header_says() {
    let lines = String::from_utf8(bytes(Format::Ndjson, vec![batch()]).await).unwrap();
    assert_eq!(lines, format!("{FIRST}\n{SECOND}\n"));
    let array = String::from_utf8(bytes(Format::Json, vec![batch(), batch()]).await).unwrap();
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&array).unwrap();
    assert_eq!(parsed.len(), 4);
    assert_eq!(parsed[2], serde_json::from_str::<serde_json::Value>(FIRST).unwrap());
    assert_eq!(bytes(Format::Json, vec![]).await, b"[]\n");
    assert_eq!(bytes(Format::Ndjson, vec![]).await, b"");
}

#[tokio::test]
async fn csv_has_a_header_and_quotes() {
    let csv = String::from_utf8(bytes(Format::Csv, vec![batch()]).await).unwrap();
    assert!(csv.starts_with("n,n_2,t,id,b,s,j,ok,d,l,o,m\n9223372036854775807,1.5,1970-01-01T00:00:00.000000001Z,ab01,AP8=,\"a,\"\"b\"\"\n\","), "{csv}");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.records().map(|r| r.unwrap().len()).collect::<Vec<_>>(), [12, 12]);
}

#[tokio::test]
async fn arrow_and_parquet_read_back() {
    let ipc = bytes(Format::Arrow, vec![batch(), batch()]).await;
    let reader = arrow::ipc::reader::StreamReader::try_new(ipc.as_slice(), None).unwrap();
    assert_eq!(reader.schema().field_with_name("s").unwrap().data_type(), &DataType::Utf8);
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 4);
    let file = Bytes::from(bytes(Format::Parquet, vec![batch(), batch()]).await);
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).unwrap();
    let batches: Vec<_> = reader.map(|b| b.unwrap()).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    assert!(batches[0].schema().field_with_name("n_2").is_ok());
    assert!(!bytes(Format::Parquet, vec![]).await.is_empty());
}

#[tokio::test]
async fn times_of_a_zone_keep_it_in_every_format() {
    let times = |zone: &str| -> ArrayRef {
        Arc::new(TimestampNanosecondArray::from(vec![1_750_000_007_000_000_000]).with_timezone(zone))
    };
    let (tokyo, utc) = (times("Asia/Tokyo"), times("UTC"));
    let list = ListArray::new(
        Arc::new(Field::new_list_field(tokyo.data_type().clone(), true)),
        arrow::buffer::OffsetBuffer::from_lengths([1]),
        Arc::clone(&tokyo),
        None,
    );
    let columns = [("t", tokyo), ("utc", utc), ("offset", times("-03:30")), ("l", Arc::new(list))];
    let batch = || RecordBatch::try_from_iter(columns.clone()).unwrap();
    let (t, utc) = ("2025-06-16T00:06:47.000000000+09:00", "2025-06-15T15:06:47.000000000Z");
    let offset = "2025-06-15T11:36:47.000000000-03:30";
    let line = String::from_utf8(bytes(Format::Ndjson, vec![batch()]).await).unwrap();
    assert_eq!(
        line,
        format!("{{\"t\":\"{t}\",\"utc\":\"{utc}\",\"offset\":\"{offset}\",\"l\":[\"{t}\"]}}\n")
    );
    let csv = String::from_utf8(bytes(Format::Csv, vec![batch()]).await).unwrap();
    assert!(csv.contains(&format!("\n{t},{utc},{offset},")), "{csv}");
    let shown = table(&batch().schema(), &[batch()]).unwrap();
    assert!(shown.contains("2025-06-16 00:06:47.000+09:00"), "{shown}");
    assert!(shown.contains("2025-06-15 15:06:47.000 "), "{shown}");
    let zone = |schema: SchemaRef| schema.field(0).data_type().clone();
    let ipc = bytes(Format::Arrow, vec![batch()]).await;
    let reader = arrow::ipc::reader::StreamReader::try_new(ipc.as_slice(), None).unwrap();
    assert_eq!(zone(reader.schema()), zone(batch().schema()));
    let file = Bytes::from(bytes(Format::Parquet, vec![batch()]).await);
    let mut reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).unwrap();
    assert_eq!(zone(reader.next().unwrap().unwrap().schema()), zone(batch().schema()));
}

#[test]
fn tables_show_units_and_count_rows() {
    let schema = Arc::new(Schema::new(vec![Field::new("p99(duration_ns)", DataType::Int64, true)]));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1_500_000), None]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let shown = table(&schema, &[batch]).unwrap();
    assert!(shown.contains("1.50 ms") && shown.ends_with("\n2 rows\n"), "{shown}");
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.name().parse::<Format>().unwrap(), format);
    }
    assert!("xml".parse::<Format>().unwrap_err().message().contains("ndjson"));
}

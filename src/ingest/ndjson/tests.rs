//! Do lines and documents of JSON become the right events?

use proptest::prelude::*;

use super::*;
use crate::event::{AttributeKey, AttributeType, EventBatch, Level};
use crate::ingest::record::testing::{self, core, shown};

fn lines(text: &str) -> Decoded {
    decode_lines(text.as_bytes(), &FieldMap::default(), 7).unwrap()
}

#[test]
fn a_log_line_becomes_a_log() {
    let decoded = lines(
        r#"{"time":"2023-01-30T12:51:46.5+01:00","level":"WARN","msg":"slow","service":"cart","trace_id":"4BF92F35-77b3-4da6-a3ce-929d0e0e4736","http":{"status":200,"ratio":2.0,"tags":["a",1,1.0,{"$x":null}]},"ok":true,"zip":"0123","gone":null,"empty":{}}"#,
    );
    assert_eq!(decoded.refused, []);
    let b = &decoded.batch;
    assert_eq!(core(b, 0, "timestamp"), "2023-01-30T11:51:46.500Z");
    assert_eq!(core(b, 0, "signal"), "log");
    assert_eq!(core(b, 0, "severity"), "WARN");
    assert_eq!(core(b, 0, "severity_number"), "13");
    assert_eq!(core(b, 0, "body"), "slow");
    assert_eq!(core(b, 0, "trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(
        shown(b, 0),
        [
            "empty = Json(\"{}\")",
            "http.ratio = Double(2.0)",
            "http.status = Int(200)",
            "http.tags = Json(\"[\\\"a\\\",1,1.0,{\\\"$$x\\\":null}]\")",
            "ok = Bool(true)",
            "zip = Text(\"0123\")",
            "resource.service.name = Text(\"cart\")",
        ]
    );
}

#[test]
fn a_span_id_and_a_duration_make_a_span() {
    let decoded = lines(
        "{\"ts\":1675079506.25,\"span_id\":\"dd8e061dd1813199\",\"parent_id\":\"root\",\"duration_ms\":12.5,\"name\":\"GET /\",\"kind\":\"SERVER\",\"status\":\"ok\"}\n\
         {\"start_time\":1000000000000,\"end_time\":1000000000250,\"span_id\":\"00000000000000a1\",\"duration\":250,\"status\":404}\n\
         {\"ts\":1,\"span_id\":\"00000000000000a1\",\"duration\":250}\n",
    );
    assert_eq!(decoded.refused, []);
    let b = &decoded.batch;
    assert_eq!([0, 1, 2].map(|r| core(b, r, "signal")), ["span", "span", "span"]);
    assert_eq!([0, 1, 2].map(|r| core(b, r, "duration_ns")), ["12500000", "250000000", ""]);
    assert_eq!(core(b, 0, "timestamp"), "2023-01-30T11:51:46.250Z");
    assert_eq!(core(b, 0, "kind"), "server");
    assert_eq!(core(b, 0, "parent_span_id"), "");
    assert_eq!(shown(b, 0), Vec::<String>::new());
    // A duration without a unit and an HTTP status stay attributes.
    assert_eq!(shown(b, 1), ["duration = Int(250)", "attributes.status = Int(404)"]);
    assert_eq!(decoded.hints.duration_without_unit.as_deref(), Some("duration"));
}

#[test]
fn bad_lines_are_refused_alone() {
    let decoded = lines("{\"a\":1}\nnope\n\n{\"time\":\"teatime\"}\n[1]\n{\"a\":2}\n{\"a\":\"\u{1}\"}\n");
    assert_eq!(decoded.batch.rows(), 2);
    assert_eq!(decoded.refused.iter().map(|r| r.position).collect::<Vec<_>>(), [1, 3, 4, 6]);
    let places: Vec<_> = decoded.refused.iter().map(|r| r.column).collect();
    assert_eq!(places, [Some(2), None, Some(0), Some(7)], "{:?}", decoded.refused);
    assert_eq!(decoded.refused[0].reason, "not a JSON object: expected ident");
    assert_eq!(decoded.refused[1].reason, "field \"time\": \"teatime\" is not a time in a known format");
    assert_eq!(decoded.hints.without_time, 2);
    assert_eq!(core(&decoded.batch, 0, "timestamp_origin"), "received");
}

#[test]
fn values_may_span_lines_and_be_an_array() {
    let text = "[\n {\"a\":\n 1},\n {\"a\":2}, bad ]\n";
    let decoded = decode_values(text.as_bytes(), &FieldMap::default(), 0).unwrap();
    assert_eq!(decoded.batch.rows(), 2);
    assert_eq!(decoded.refused.iter().map(|r| r.position).collect::<Vec<_>>(), [3]);
}

#[test]
fn reasons_name_the_line_and_column_of_the_file() {
    let text = "{\"a\":1}\n  {\"a\":\n  1,,\n \"b\":2} {\"c\" 3}\n";
    let decoded = decode_values(text.as_bytes(), &FieldMap::default(), 0).unwrap();
    let places: Vec<_> = decoded.refused.iter().map(|r| (r.position + 1, r.column)).collect();
    assert_eq!(places, [(3, Some(5)), (4, Some(14))], "{:?}", decoded.refused);
    assert!(decoded.refused.iter().all(|r| !r.reason.contains(" line ")), "{:?}", decoded.refused);
}

#[test]
fn marks_and_what_else_programs_leave_around_objects_is_harmless() {
    let decoded = lines("\u{feff}{\"a\":1}\r\n\0\0\0{\"a\":2}\n\u{1e}{\"a\":3}\n\u{feff}\n \0\n");
    assert_eq!((decoded.batch.rows(), decoded.refused.len()), (3, 0), "{:?}", decoded.refused);
}

#[test]
fn half_an_emoji_costs_itself() {
    let decoded = lines("{\"msg\":\"cut \\ud83d\",\"k\\udc00\":\"whole \\ud83d\\ude00\"}\n");
    assert_eq!(decoded.refused, []);
    assert_eq!(core(&decoded.batch, 0, "body"), "cut \u{fffd}");
    assert_eq!(shown(&decoded.batch, 0), ["k\u{fffd} = Text(\"whole \u{1f600}\")"]);
}

#[test]
fn records_in_an_envelope_are_events_of_their_own() {
    let decoded = lines(
        "{\"Records\":[{\"eventTime\":\"2025-06-15T15:06:40Z\",\"eventName\":\"PutObject\"},{\"eventTime\":\"2025-06-15T15:06:41Z\",\"n\":1e999},{\"eventTime\":\"2025-06-15T15:06:42Z\",\"eventName\":\"GetObject\"}]}\n\
         {\"owner\":\"me\",\"logEvents\":[{\"timestamp\":1750000000000,\"message\":\"x\"}]}\n",
    );
    let b = &decoded.batch;
    assert_eq!(b.rows(), 3);
    assert_eq!([0, 1, 2].map(|row| core(b, row, "name")), ["PutObject", "GetObject", ""]);
    assert_eq!(core(b, 1, "timestamp"), "2025-06-15T15:06:42Z");
    assert_eq!((core(b, 2, "body"), shown(b, 2)), ("x".to_owned(), vec!["owner = Text(\"me\")".to_owned()]));
    assert_eq!(decoded.refused.len(), 1);
    assert_eq!((decoded.refused[0].position, decoded.refused[0].column), (0, Some(118)));
    // The end is missing: the whole records are in.
    let torn = "{\"Records\": [\n{\"time\":1},\n{\"time\":2},\n{\"ti";
    let decoded = decode_values(torn.as_bytes(), &FieldMap::default(), 0).unwrap();
    assert_eq!(decoded.batch.rows(), 2);
    assert_eq!((decoded.refused.len(), decoded.refused[0].position), (1, 3));
}

#[test]
fn journald_lines_have_their_time_and_severity() {
    let decoded = lines(
        r#"{"__REALTIME_TIMESTAMP":"1743519389432068","__MONOTONIC_TIMESTAMP":"5","MESSAGE":"m","PRIORITY":"3","_SYSTEMD_UNIT":"cart.service","SYSLOG_IDENTIFIER":"cart"}"#,
    );
    let b = &decoded.batch;
    assert_eq!(core(b, 0, "timestamp"), "2025-04-01T14:56:29.432068Z");
    assert_eq!((core(b, 0, "body"), core(b, 0, "severity_number")), ("m".to_owned(), "17".to_owned()));
    assert_eq!(
        shown(b, 0),
        [
            "SYSLOG_IDENTIFIER = Text(\"cart\")",
            "_SYSTEMD_UNIT = Text(\"cart.service\")",
            "__MONOTONIC_TIMESTAMP = Text(\"5\")",
        ]
    );
}

#[test]
fn times_in_objects_are_times() {
    let decoded = lines(
        "{\"timestamp\":{\"seconds\":1743519389,\"nanos\":432},\"msg\":\"google\"}\n\
         {\"t\":{\"$date\":\"2025-04-01T14:56:29.432Z\"},\"msg\":\"mongo\"}\n\
         {\"timestamp\":{\"$date\":{\"$numberLong\":\"1743519389432\"}}}\n",
    );
    assert_eq!(decoded.refused, []);
    let times = [0, 1, 2].map(|row| core(&decoded.batch, row, "timestamp"));
    assert_eq!(
        times,
        ["2025-04-01T14:56:29.000000432Z", "2025-04-01T14:56:29.432Z", "2025-04-01T14:56:29.432Z"]
    );
    assert_eq!([0, 1, 2].map(|row| shown(&decoded.batch, row).len()), [0, 0, 0]);
}

#[test]
fn times_out_of_range_are_refused_by_name_unless_there_is_another() {
    let decoded = lines(
        "{\"time\":\"9999-12-31T23:59:59Z\"}\n\
         {\"time\":\"0001-01-01T00:00:00Z\"}\n\
         {\"time\":253402300799999}\n\
         {\"time_ms\":253402300799999}\n\
         {\"start_time\":\"9999-12-31\",\"span_id\":\"dd8e061dd1813199\"}\n\
         {\"start_time\":\"soon\",\"span_id\":\"dd8e061dd1813199\"}\n\
         {\"time\":\"2025-01-01\",\"end\":\"9999-12-31\"}\n\
         {\"start\":\"Brussels\"}\n",
    );
    let reasons: Vec<_> = decoded.refused.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons.len(), 6);
    assert_eq!(
        reasons[0],
        "field \"time\": \"9999-12-31T23:59:59Z\" is out of range: times from 1677 to 2262 can be stored"
    );
    assert!(
        reasons[..5].iter().all(|reason| reason.contains("out of range: times from 1677 to 2262")),
        "{reasons:?}"
    );
    assert_eq!(reasons[5], "field \"start_time\": \"soon\" is not a time in a known format");
    assert_eq!(shown(&decoded.batch, 0), ["end = Text(\"9999-12-31\")"]);
    assert_eq!(core(&decoded.batch, 1, "timestamp_origin"), "received");
}

#[test]
fn what_console_exporters_print_is_a_span_with_its_events_and_links() {
    let decoded = lines(
        r#"{"name":"handle","context":{"trace_id":"0x01944b70b37abc48df7d103455bc404f","span_id":"0xf875ae17bca0f574","trace_state":"[]"},"kind":"SpanKind.SERVER","parent_id":"0x89f0d05cbed0be00","start_time":"2025-01-09T14:21:04.800962Z","end_time":"2025-01-09T14:21:04.802617Z","status":{"status_code":"ERROR","description":"no stock"},"attributes":{"http.route":"/work"},"events":[{"name":"cache.miss","timestamp":"2025-01-09T14:21:04.801000Z","attributes":{"key":"k1"}}],"links":[{"context":{"trace_id":"0x0000000000000000000000000000000a","span_id":"0x000000000000000b","trace_state":"[]"},"attributes":{}}],"resource":{"attributes":{"service.name":"py-worker"},"schema_url":"x"}}"#,
    );
    assert_eq!(decoded.refused, []);
    let b = &decoded.batch;
    assert_eq!([0, 1].map(|row| core(b, row, "signal")), ["span", "span_event"]);
    assert_eq!(core(b, 0, "span_id"), "f875ae17bca0f574");
    assert_eq!(core(b, 0, "duration_ns"), "1655000");
    assert_eq!((core(b, 0, "kind"), core(b, 0, "status")), ("server".to_owned(), "error".to_owned()));
    assert_eq!(core(b, 0, "status_message"), "no stock");
    assert!(core(b, 0, "links").contains("0b"), "{}", core(b, 0, "links"));
    assert_eq!(
        shown(b, 0),
        [
            "http.route = Text(\"/work\")",
            "attributes.resource.schema_url = Text(\"x\")",
            "resource.service.name = Text(\"py-worker\")",
        ]
    );
    assert_eq!(core(b, 1, "name"), "cache.miss");
    assert_eq!(core(b, 1, "timestamp"), "2025-01-09T14:21:04.801Z");
    assert_eq!(core(b, 1, "span_id"), core(b, 0, "span_id"));
    assert!(shown(b, 1).contains(&"key = Text(\"k1\")".to_owned()), "{:?}", shown(b, 1));
    assert!(shown(b, 1).contains(&"resource.service.name = Text(\"py-worker\")".to_owned()));
}

#[test]
fn what_console_exporters_print_of_logs_has_a_severity() {
    let decoded = lines(
        r#"{"body":"hi","severity_number":"<SeverityNumber.WARN: 13>","severity_text":"WARNING","attributes":{"a":1},"dropped_attributes":0,"timestamp":"2025-01-09T14:21:04.8Z","trace_id":"0x00000000000000000000000000000000","span_id":"0x0000000000000000","trace_flags":0,"resource":{"attributes":{"service.name":"w"}}}"#,
    );
    let b = &decoded.batch;
    assert_eq!((core(b, 0, "signal"), core(b, 0, "severity_number")), ("log".to_owned(), "13".to_owned()));
    assert_eq!((core(b, 0, "severity"), core(b, 0, "trace_id")), ("WARN".to_owned(), String::new()));
}

#[test]
fn a_person_decides() {
    let map =
        FieldMap::parse(&["time=when,duration_us=cost", "name=op"], &["signal=span", "service.name=shop"])
            .unwrap();
    let decoded = decode_lines(
        b"{\"when\":12,\"cost\":5,\"op\":\"x\",\"service\":\"other\"}\n{\"when\":[]}\n{\"when\":\"x\"}",
        &map,
        0,
    )
    .unwrap();
    assert_eq!(core(&decoded.batch, 0, "duration_ns"), "5000");
    assert_eq!(core(&decoded.batch, 0, "signal"), "span");
    assert_eq!(core(&decoded.batch, 0, "name"), "x");
    assert!(shown(&decoded.batch, 0).contains(&"resource.service.name = Text(\"shop\")".to_owned()));
    assert_eq!(decoded.refused.len(), 2);
    assert!(decoded.refused[1].reason.contains("mapped"), "{}", decoded.refused[1].reason);
}

#[test]
fn real_status_lines_go_in_whole() {
    let text = testing::read("nginxplus/status.ndjson");
    let decoded = decode_lines(&text, &FieldMap::default(), 0).unwrap();
    assert_eq!((decoded.batch.rows(), decoded.refused.len()), (20, 0));
    assert_eq!(core(&decoded.batch, 0, "timestamp"), "2015-10-30T23:58:19.322Z");
    let key = AttributeKey::new(Level::Record, "server_zones.hg.nginx.org.responses.2xx");
    assert_eq!(decoded.batch.attribute(&key)[0].attribute_type(), AttributeType::Int);
}

/// Lists every leaf of a document with its path, as the decoder should read it.
fn leaves(path: &str, value: &serde_json::Value, out: &mut Vec<String>) {
    use serde_json::Value as J;
    match value {
        J::Null => {}
        J::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                leaves(&format!("{path}.{key}"), value, out);
            }
        }
        J::Object(_) => out.push(format!("{path} = Json(\"{{}}\")")),
        J::Array(_) => out.push(format!("{path} = Json({:?})", value.to_string())),
        J::Bool(b) => out.push(format!("{path} = Bool({b:?})")),
        J::Number(n) => out.push(match n.as_i64() {
            Some(i) => format!("{path} = Int({i})"),
            None => format!("{path} = Double({:?})", n.as_f64().unwrap()),
        }),
        J::String(s) => out.push(format!("{path} = Text({s:?})")),
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1.0e9..1.0e9_f64).prop_map(|d| (d + 0.5).into()),
        ".{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
        ]
    })
}

fn attributes(batch: &EventBatch) -> Vec<String> {
    shown(batch, 0)
}

proptest! {
    #[test]
    fn what_serde_reads_is_what_goes_in(value in proptest::collection::btree_map("[a-z]{1,4}", any_json(), 0..5)) {
        // Under a key of our own, so that no field has a meaning.
        let document = serde_json::json!({ "x!": value });
        let decoded = lines(&document.to_string());
        prop_assert_eq!(decoded.refused.len(), 0);
        let mut expected = Vec::new();
        leaves("x!", &document["x!"], &mut expected);
        expected.sort();
        let mut found = attributes(&decoded.batch);
        found.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_are_events_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0.0..1.0_f64, flip in any::<u8>()) {
        decode_lines(&bytes, &FieldMap::default(), 0).unwrap();
        decode_values(&bytes, &FieldMap::default(), 0).unwrap();
        let mut real = br#"{"time":"2023-01-30T12:51:46.5+01:00","level":30,"span_id":"dd8e061dd1813199","duration":"1m2.5s","a":{"b":[1,{"c":-1e3}]}}"#.to_vec();
        let at = (real.len() as f64 * cut) as usize;
        real[at] = flip;
        decode_lines(&real, &FieldMap::default(), 0).unwrap();
        decode_lines(&real[..at], &FieldMap::default(), 0).unwrap();
    }
}

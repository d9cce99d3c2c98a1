//! Metrics that the console exporter of Python's SDK has printed.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, exemplar, number_data_point};

use super::super::{Encoding, RequestKind, decode, encode_batch};
use super::NOW_NS;
use crate::ingest::record::testing::read;

fn metric<'a>(metrics: &'a [Metric], name: &str) -> &'a Data {
    metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.as_ref()).unwrap()
}

fn attributes(point: &NumberDataPoint) -> Vec<String> {
    let mut all: Vec<_> =
        point.attributes.iter().map(|entry| format!("{}={:?}", entry.key, entry.value)).collect();
    all.sort();
    all
}

#[test]
fn printed_metrics_are_those_that_were_measured() {
    let text = read("console/python-metrics.json");
    let ingested = decode(RequestKind::Metrics, Encoding::Json, &text, NOW_NS).unwrap();
    assert_eq!((ingested.rejected.count(), ingested.batch.rows()), (0, 7));
    let groups = encode_batch(&ingested.batch).unwrap().metrics.resource_metrics;
    let [group] = groups.as_slice() else { panic!("{groups:?}") };
    assert_eq!(group.resource.as_ref().unwrap().attributes.len(), 3);
    let scope = &group.scope_metrics[0];
    assert_eq!(scope.scope.as_ref().unwrap().version, "1.2.0");

    let Data::Sum(orders) = metric(&scope.metrics, "orders") else { panic!("a counter is a sum") };
    assert!(orders.is_monotonic && orders.aggregation_temporality == 2);
    let eu = orders.data_points.iter().find(|p| attributes(p)[1].contains("eu")).unwrap();
    assert_eq!(eu.value, Some(number_data_point::Value::AsInt(3)));
    assert!(attributes(eu)[0].contains("BoolValue(true)"), "{:?}", attributes(eu));
    let found = &eu.exemplars[0];
    assert_eq!(hex::encode(&found.trace_id), "b1ec7ba3dd5e2cd9a1195e64a7e5501f");
    assert_eq!(hex::encode(&found.span_id), "3a50b48f45308411");
    assert_eq!(found.value, Some(exemplar::Value::AsInt(3)));

    let Data::Sum(inflight) = metric(&scope.metrics, "inflight") else { panic!("it goes up and down") };
    assert!(!inflight.is_monotonic);
    let Data::Gauge(temperature) = metric(&scope.metrics, "temperature") else { panic!("a gauge") };
    assert_eq!(temperature.data_points[0].value, Some(number_data_point::Value::AsDouble(21.5)));
    let Data::Histogram(latency) = metric(&scope.metrics, "latency") else { panic!("a histogram") };
    let sums: f64 = latency.data_points.iter().filter_map(|point| point.sum).sum();
    assert_eq!((latency.data_points.len(), sums), (2, 712.5));
    assert_eq!(latency.data_points[0].explicit_bounds.len(), 15);
    let Data::ExponentialHistogram(size) = metric(&scope.metrics, "size") else { panic!("by scale") };
    assert_eq!((size.data_points[0].count, size.data_points[0].max), (2, Some(5000.0)));
}

//! Are increases and quantiles of metrics right? On real counters of a web server, and on the demo's histograms, a
//! Python program computes the same from the points alone (`tests/clients/series_expected.py`).

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::running::{query_rows, run_on};

/// Largest relative difference: sums of doubles depend on their order.
const RELATIVE_ERROR: f64 = 1e-9;

/// Points of histograms, as the program reads them.
const POINTS: &str = "select cast(timestamp as bigint) as ns, name, metric.temporality as temporality, \
    histogram.count as count, histogram.sum as sum, histogram.min as min, histogram.max as max, \
    histogram.bounds as bounds, histogram.bucket_counts as bucket_counts, exponential.scale as scale, \
    exponential.zero_count as zero_count, exponential.positive_offset as positive_offset, \
    exponential.positive_counts as positive_counts, exponential.negative_counts as negative_counts \
    from metrics where metric.type in ('histogram', 'exponential_histogram')";

fn near(found: &Value, expected: &Value, what: &str) {
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    let error = (found - expected).abs() / expected.abs().max(f64::MIN_POSITIVE);
    assert!(error <= RELATIVE_ERROR, "{what}: {found}, expected {expected}");
}

#[test]
fn increases_and_quantiles_are_those_of_the_points() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: there is no python3");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = root.join("testdata/nginxplus/status.ndjson");
    let folder = tempfile::tempdir().unwrap();
    let (real, demo) = (folder.path().join("real"), folder.path().join("demo"));
    run_on(&real, &["import", status.to_str().unwrap()]);
    run_on(&demo, &["demo", "--minutes", "10", "--events", "12000"]);
    let points = folder.path().join("points.ndjson");
    std::fs::write(&points, run_on(&demo, &["query", "--format", "ndjson", POINTS])).unwrap();
    let script = root.join("tests/clients/series_expected.py");
    let output = Command::new("python3").args([&script, &status, &points]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    increases(&real, &expected["increases"]);
    quantiles(&demo, &expected);
}

fn increases(data: &Path, expected: &Value) {
    for (counter, steps) in expected.as_object().unwrap() {
        let sql = format!(
            "select cast(time as bigint) as step, increase, rate \
             from rate(logs, by => address, step => interval '30 seconds', series => address, value => {counter}) \
             where increase is not null order by time"
        );
        let found = query_rows(data, &sql);
        let steps = steps.as_array().unwrap();
        assert!(steps.len() > 2, "{counter}");
        assert_eq!(found.len(), steps.len(), "{counter}");
        for (found, step) in found.iter().zip(steps) {
            assert_eq!(found["step"], step[0], "{counter}");
            near(&found["increase"], &step[1], counter);
            let rate = step[1].as_f64().unwrap() / 30.0;
            near(&found["rate"], &rate.into(), counter);
        }
    }
}

fn quantiles(data: &Path, expected: &Value) {
    let histograms = expected["histograms"].as_array().unwrap();
    assert!(histograms.len() > 20 && histograms.iter().any(|h| h["name"] == "rpc.server.duration"));
    for (place, q) in expected["quantiles"].as_array().unwrap().iter().enumerate() {
        let sql = format!(
            "select cast(time as bigint) as step, name, value, count, sum \
             from histogram_quantile(metrics, {q}, step => interval '30 seconds') order by name, time"
        );
        let found = query_rows(data, &sql);
        assert_eq!(found.len(), histograms.len());
        for (found, histogram) in found.iter().zip(histograms) {
            let what = format!("{} {} q={q}", histogram["name"], histogram["step"]);
            for key in ["name", "step", "count"] {
                assert_eq!(found[key], histogram[key], "{what}");
            }
            near(&found["sum"], &histogram["sum"], &what);
            near(&found["value"], &histogram["quantiles"][place], &what);
        }
    }
}

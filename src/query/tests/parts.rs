//! Large segments are read in parts.

use super::*;

/// Events of more than a kilobyte that do not compress.
fn noisy() -> Vec<Row> {
    let noise = |i: i64| -> String {
        let seed = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let words = (1..=80_u64).map(|n| seed.wrapping_mul(seed ^ n).rotate_left(n as u32));
        words.map(|word| format!("{word:016x}")).collect::<Vec<_>>().concat()
    };
    let row = |i: i64| {
        let attributes = vec![
            (Level::Record, "few", Value::Text(["red", "green", "blue"][i as usize % 7 % 3])),
            (Level::Record, "noise", Value::Text(noise(i).leak())),
            (Level::Record, "n", Value::Int(i)),
        ];
        (i, attributes)
    };
    (0..24_000).map(row).collect()
}

fn engine_of(memory_bytes_max: usize) -> (Engine, TempDir) {
    // Columns do not stay in memory.
    let (column_bytes_max, decoded_asks) = (1 << 20, u32::MAX);
    engine_with(QuerySettings { memory_bytes_max, column_bytes_max, decoded_asks, ..settings() })
}

#[tokio::test]
async fn what_is_read_in_parts_is_what_is_read_at_once() {
    let data = noisy();
    let home = snapshot(&[&data[..17_000], &data[17_000..]], &[]).await;
    let (in_parts, _dir) = engine_of(32 << 20);
    let (at_once, _other) = engine_of(2 << 30);
    for sql in [
        "SELECT count(noise), sum(n), max(noise), min(trace_id) FROM events",
        "SELECT timestamp, few, noise FROM events ORDER BY timestamp DESC LIMIT 20 OFFSET 9000",
        "SELECT n, timestamp FROM events WHERE noise LIKE '%abcd%' ORDER BY timestamp DESC",
        // Bitmaps say that a part of the rows match, few and many.
        "SELECT sum(n), max(noise), min(trace_id), max(n) FROM events WHERE few = 'red' AND name = 'GET /cart'",
        "SELECT sum(n), count(*), max(noise), min(trace_id), max(n) FROM events WHERE few <> 'red' OR n % 3 = 1",
        "SELECT count(*), sum(n), max(span_id), min(noise) FROM events WHERE few <> 'green' AND noise > '8'",
        "SELECT timestamp, attributes FROM events WHERE few = 'blue' AND n % 2973 = 3 ORDER BY timestamp DESC",
        "SELECT * FROM events WHERE trace_id = '03030303030303030303030303030303' ORDER BY n DESC LIMIT 30",
        "SELECT * FROM events WHERE timestamp < '2026-01-01T00:00:09Z' ORDER BY n",
        "SELECT n, noise FROM events ORDER BY noise DESC, n LIMIT 7",
    ] {
        assert_eq!(text(&in_parts, &home, sql).await, text(&at_once, &home, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn a_search_that_ends_early_does_not_read_all_parts() {
    let data = noisy();
    let home = snapshot(&[&data], &[]).await;
    let sql = "SELECT noise FROM events WHERE noise LIKE '%a%' AND n + 1 > 0 ORDER BY timestamp DESC LIMIT 5";
    let mut scanned = Vec::new();
    for memory in [32 << 20, 2 << 30] {
        let (engine, _dir) = engine_of(memory);
        let plan = text(&engine, &home, &format!("EXPLAIN ANALYZE {sql}")).await;
        let (_, rest) = plan.split_once("bytes_scanned=").expect(&plan);
        let (number, unit) = rest.split([',', ']']).next().unwrap().split_once(' ').unwrap();
        let unit = if unit.starts_with('M') { 1e6 } else { 1e3 };
        scanned.push(number.parse::<f64>().unwrap() * unit);
    }
    assert!(scanned[0] * 2.0 < scanned[1], "{scanned:?}");
}

//! Columns in memory, and groups by their codes, give the same answers as Parquet.

use super::*;

fn many() -> Vec<Row> {
    let text = |text: String| Value::Text(text.leak());
    let row = |i: i64| {
        let mut attributes = vec![
            (Level::Record, "few", Value::Text(["red", "green", "blue"][i as usize % 7 % 3])),
            (Level::Record, "often", text(format!("user number {}", i % 1277))),
            (Level::Record, "other", text(format!("version {}", i / 7 % 5))),
            (Level::Record, "unique", text(format!("a text of its own: {i}"))),
            (Level::Resource, "n", Value::Int(i % 10_007)),
        ];
        attributes.retain(|(_, key, _)| i % 5 > 0 || *key != "often" && (i % 3 > 0 || *key != "other"));
        (i, attributes)
    };
    (0..40_000).map(row).collect()
}

/// Statements over [`many`].
const OVER_MANY: &[&str] = &[
    "SELECT count(*), sum(n), min(often), max(unique), count(duration_ns) FROM events",
    "SELECT few, often, count(*), sum(n) FROM events GROUP BY few, often ORDER BY 1, 2 NULLS FIRST LIMIT 50",
    "SELECT unique, n FROM events WHERE n > 9990 AND few = 'red' ORDER BY unique",
    "SELECT unique, n FROM events WHERE few <> 'green' ORDER BY n DESC, unique LIMIT 30",
    "SELECT timestamp, duration_ns FROM events WHERE signal = 'span' ORDER BY duration_ns DESC LIMIT 20",
    "SELECT unique FROM events WHERE unique LIKE '%: 3999%' ORDER BY 1",
    "SELECT n, often FROM events WHERE often = 'user number 5' AND timestamp < '2026-01-01T05:00:00Z' ORDER BY n",
    "SELECT upper(few), length(often) + n FROM events WHERE n % 5000 = 1 AND few IS NOT NULL ORDER BY 1, 2",
    "SELECT count(*) FROM events WHERE 100 / (n + 1) > 1",
    "SELECT count(*) FROM events WHERE few = 'red' AND often IS NULL AND n + duration_ns > 3",
    "SELECT a.n, count(*) FROM events a JOIN events b ON a.unique = b.unique AND b.few = 'blue' \
     WHERE a.n < 20 GROUP BY 1 ORDER BY 1",
];

#[tokio::test]
async fn columns_in_memory_answer_as_parquet_does() {
    let data = many();
    let home = snapshot(&[&data[..25_000], &data[25_000..]], &[]).await;
    let (from_memory, _dir) = engine();
    let (from_parquet, _other) = engine_that_decodes_after(u32::MAX);
    for sql in OVER_MANY {
        let expected = text(&from_parquet, &home, sql).await;
        assert_eq!(text(&from_memory, &home, sql).await, expected, "{sql}");
        let analyzed = format!("EXPLAIN ANALYZE {sql}");
        for (engine, is_read) in [(&from_memory, true), (&from_parquet, false)] {
            let plan = text(engine, &home, &analyzed).await;
            let counts = plan.split("files_read_from_memory=").skip(1);
            let files: usize = counts.map(|rest| rest[..1].parse::<usize>().unwrap()).sum();
            assert_eq!(files > 0, is_read, "{plan}");
        }
    }
}

/// True if `sql` groups texts by their codes when it runs.
async fn is_coded(engine: &Engine, home: &ReadSnapshot, sql: &str) -> bool {
    text(engine, home, &format!("EXPLAIN ANALYZE {sql}")).await.contains("code_of")
}

#[tokio::test]
async fn a_statement_has_one_plan_whatever_is_in_memory() {
    let data = many();
    let home = snapshot(&[&data[..25_000], &data[25_000..]], &[]).await;
    let (engine, _dir) = engine();
    let sql = "SELECT often, few, count(*) AS c FROM events WHERE n > 5 GROUP BY often, few ORDER BY c DESC LIMIT 3";
    let explain = format!("EXPLAIN {sql}");
    let cold = text(&engine, &home, &explain).await;
    assert!(!is_coded(&engine, &home, sql).await);
    text(&engine, &home, sql).await;
    assert!(is_coded(&engine, &home, sql).await, "what is in memory is used");
    assert_eq!(text(&engine, &home, &explain).await, cold);
}

#[tokio::test]
async fn texts_in_memory_are_grouped_by_as_numbers() {
    let data = many();
    // Some texts are only in the buffer, some in both.
    let others = [("user number 5", 1), ("nobody else", 2), ("nobody else", 3)];
    let buffered: Vec<Row> =
        others.map(|(user, i)| (50_000 + i, vec![(Level::Record, "often", Value::Text(user))])).into();
    let home = snapshot(&[&data[..25_000], &data[25_000..]], &[&buffered]).await;
    let (from_memory, _dir) = engine();
    let (from_parquet, _other) = engine_that_decodes_after(u32::MAX);
    text(&from_memory, &home, "SELECT max(often), max(few), max(other), max(n) FROM events").await;
    for sql in [
        "SELECT often, count(*), sum(n) FROM events GROUP BY often ORDER BY 1 NULLS FIRST",
        "SELECT often AS u, few, max(often), p50(n) FROM events WHERE n < 900 GROUP BY u, few ORDER BY 1, 2",
        "SELECT few, count(DISTINCT often) FROM events GROUP BY few ORDER BY 1",
        "SELECT count(DISTINCT often) FROM events WHERE n > 5",
        "SELECT often, count(DISTINCT often) FROM events GROUP BY often ORDER BY 1",
        "SELECT a, b, count(*) FROM (SELECT often AS a, often AS b FROM events) GROUP BY a, b ORDER BY 1",
        "SELECT few, n % 2, often, other, count(*), max(few) FROM events GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
        "SELECT DISTINCT often FROM events ORDER BY 1",
        "SELECT often, n % 3, count(*) FROM events GROUP BY 1, 2 HAVING often > 'user number 8' ORDER BY 1, 2",
        "SELECT often FROM (SELECT often, count(*) AS c FROM events GROUP BY 1) WHERE c > 25 ORDER BY c, 1",
        "SELECT a.often, c FROM (SELECT often, count(*) AS c FROM events GROUP BY often) a \
         JOIN (SELECT DISTINCT often FROM events WHERE n < 50) b ON a.often = b.often ORDER BY 1",
    ] {
        let expected = text(&from_parquet, &home, sql).await;
        assert_eq!(text(&from_memory, &home, sql).await, expected, "{sql}");
        assert!(is_coded(&from_memory, &home, sql).await, "{sql}");
        assert!(!is_coded(&from_parquet, &home, sql).await, "{sql}");
    }
    for sql in [
        "SELECT few, count(*) FROM events GROUP BY few ORDER BY 1",
        "SELECT few, often, count(*) FROM events GROUP BY ROLLUP (few, often) ORDER BY 1, 2, 3",
        "SELECT upper(often), count(*) FROM events GROUP BY 1 ORDER BY 1",
    ] {
        assert_eq!(text(&from_memory, &home, sql).await, text(&from_parquet, &home, sql).await, "{sql}");
        assert!(!is_coded(&from_memory, &home, sql).await, "{sql}");
    }
}

#[tokio::test]
async fn texts_that_would_take_too_much_of_the_memory_are_grouped_by_as_they_are() {
    let data = many();
    let home = snapshot(&[&data], &[]).await;
    for (memory_bytes_max, coded) in [(64 << 20, true), (512 << 10, false)] {
        let (engine, _dir) = engine_with(QuerySettings { decoded_asks: 0, memory_bytes_max, ..settings() });
        text(&engine, &home, "SELECT max(often) FROM events").await;
        let sql = "SELECT often, count(*) FROM events GROUP BY often";
        assert_eq!(is_coded(&engine, &home, sql).await, coded, "{memory_bytes_max}");
    }
}

#[tokio::test]
async fn columns_that_do_not_fit_in_memory_are_read_from_parquet() {
    let data = many();
    let home = snapshot(&[&data], &[]).await;
    let settings = QuerySettings { decoded_asks: 0, column_bytes_max: 400_000, ..settings() };
    let (engine, _dir) = engine_with(settings);
    let (unlimited, _other) = self::engine();
    for sql in OVER_MANY {
        assert_eq!(text(&engine, &home, sql).await, text(&unlimited, &home, sql).await, "{sql}");
    }
    assert!(engine.index_memory_bytes() < 1 << 20, "{}", engine.index_memory_bytes());
}

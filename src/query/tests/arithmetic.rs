//! Integers that do not fit, in every place of storage.

use super::*;

const LARGE: i64 = 5_000_000_000_000_000_000;

fn numbers() -> Vec<Row> {
    let row = |(i, (v, g)): (usize, (i64, &'static str))| {
        let attributes = vec![(Level::Record, "v", Value::Int(v)), (Level::Record, "g", Value::Text(g))];
        (i as i64, attributes)
    };
    let values =
        [(LARGE, "x"), (LARGE, "x"), (-LARGE, "x"), (7, "y"), (LARGE, "y"), (-LARGE, "z"), (-LARGE, "z")];
    values.into_iter().enumerate().map(row).collect()
}

#[tokio::test]
async fn sums_that_fit_are_right_though_parts_of_them_do_not() {
    for home in homes(&numbers()).await {
        for decoded_asks in [0, u32::MAX] {
            let (engine, _dir) = engine_that_decodes_after(decoded_asks);
            for (sql, wanted) in [
                ("SELECT sum(v) FROM events WHERE g <> 'z'", vec!["10000000000000000007"]),
                ("SELECT sum(v) FROM events", vec!["7"]),
                (
                    "SELECT g, sum(v) FROM events WHERE g IN ('x', 'y') GROUP BY g ORDER BY g",
                    vec!["x,5000000000000000000", "y,5000000000000000007"],
                ),
                ("SELECT sum(DISTINCT v) FROM events", vec!["7"]),
                (
                    "SELECT sum(cast(v AS decimal(38, 0))) FROM events WHERE g = 'z'",
                    vec!["-10000000000000000000"],
                ),
                ("SELECT avg(v) FROM events WHERE g = 'z'", vec!["-5e18"]),
                (
                    "SELECT sum(v) OVER (ORDER BY timestamp ROWS 1 PRECEDING) AS s FROM events WHERE g = 'y' ORDER BY s",
                    vec!["7", "5000000000000000007"],
                ),
            ] {
                if wanted == ["10000000000000000007"] {
                    let error = failure(&engine, &home, sql).await;
                    assert!(error.message().contains("10000000000000000007, which does not fit"), "{error}");
                } else {
                    assert_eq!(cells(&engine, &home, sql).await, wanted, "{sql}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_that_names_the_way_out() {
    let (engine, _dir) = engine();
    for home in homes(&numbers()).await {
        for sql in [
            "SELECT sum(v) FROM events WHERE g = 'z'",
            "SELECT g, sum(v) FROM events GROUP BY g",
            "SELECT sum(v) OVER () FROM events WHERE g = 'z'",
            "SELECT sum(v) OVER (ORDER BY timestamp ROWS 1 PRECEDING) FROM events WHERE g = 'z'",
            "SELECT sum(DISTINCT v + n) FROM (SELECT v, row_number() OVER () :: bigint AS n FROM events WHERE v > 0)",
            "SELECT sum(s) FROM (SELECT sum(v) AS s FROM events WHERE g = 'x' UNION ALL SELECT 5000000000000000000)",
            "SELECT v * 2 FROM events",
            "SELECT v + v FROM events WHERE g = 'z'",
            "SELECT v - 5000000000000000000 FROM events WHERE g = 'z'",
            "SELECT max(v) + 5000000000000000000 FROM events",
            "SELECT name FROM events WHERE v * 2 > 5",
            "SELECT -(v * 1 - 4223372036854775808) FROM events WHERE g = 'z'",
            "SELECT abs(min(v) - 4223372036854775808) FROM events",
            "SELECT 9223372036854775807 + 1",
            "SELECT -(-9223372036854775807 - 1)",
            "SELECT abs(-9223372036854775807 - 1)",
            "SELECT (-9223372036854775807 - 1) / -1",
            "SELECT cast(18446744073709551615 AS bigint unsigned) * cast(2 AS bigint unsigned)",
            "SELECT sum(x) FROM (VALUES (18446744073709551615), (18446744073709551615)) AS t(x)",
            "SELECT cast(2147483647 AS int) * cast(2 AS int)",
        ] {
            let error = failure(&engine, &home, sql).await;
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{sql}: {error}");
            let text = error.message();
            assert!(
                text.contains("does not fit") && text.contains("to double, or to decimal(38, 0)"),
                "{sql}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn arithmetic_that_fits_keeps_values_types_and_names() {
    let (engine, _dir) = engine();
    let home = &homes(&numbers()).await[2];
    for (sql, wanted) in [
        ("SELECT arrow_typeof(v + 1), v - 1, v * 2, -v, v % 4 FROM events WHERE v = 7", "Int64,6,14,-7,3"),
        ("SELECT sum(v + 1) FROM events WHERE v = 7", "8"),
        ("SELECT v + 1 AS n FROM events GROUP BY v + 1 HAVING v + 1 < 100 AND v + 1 > 0 ORDER BY v + 1", "8"),
        ("SELECT cast(v AS double) * 1e10 FROM events WHERE v = 7", "70000000000.0"),
        ("SELECT cast(v AS decimal(38, 0)) * 2 FROM events WHERE g = 'y' AND v > 7", "10000000000000000000"),
        ("SELECT v + (SELECT max(v) FROM events WHERE v < 10) FROM events WHERE v = 7", "14"),
        (
            "SELECT count(*) FROM events AS e WHERE EXISTS (SELECT 1 FROM events AS f WHERE f.v + 1 = e.v + 1 AND f.v = 7)",
            "1",
        ),
        ("SELECT sum(x) FROM (VALUES (18446744073709551615), (0)) AS t(x)", "18446744073709551615"),
        ("SELECT sum(x), sum(DISTINCT x) FROM (VALUES (1), (1), (NULL)) AS t(x)", "2,1"),
        ("SELECT sum(x), sum(DISTINCT x) FROM (VALUES (1), (2)) AS t(x) WHERE x > 5", ","),
        ("SELECT sum(x), sum(DISTINCT x) FROM (VALUES (0.5), (0.25)) AS t(x)", "0.75,0.75"),
        ("SELECT abs(-7), abs(-9223372036854775807)", "7,9223372036854775807"),
        ("SELECT 1 + 2 * 3 - 4", "3"),
        ("SELECT 1 + NULL", ""),
        ("SELECT cast(1 AS bigint unsigned) - cast(2 AS bigint unsigned)", "-1"),
        ("SELECT arrow_typeof(cast(1 AS tinyint unsigned) - cast(2 AS int unsigned))", "Int64"),
        (
            "SELECT min(r - s) FROM (SELECT row_number() OVER (ORDER BY x) AS r, row_number() OVER (ORDER BY -x) AS s FROM (VALUES (1), (2), (3)) AS t(x)) WHERE r - s > -100",
            "-2",
        ),
    ] {
        assert_eq!(cells(&engine, home, sql).await, [wanted], "{sql}");
    }
    let result = rows(&engine, home, "SELECT v + 1, -v, sum(v * 2) FROM events WHERE v = 7 GROUP BY v").await;
    let schema = result[0].schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["v + 1", "-v", "sum(v * 2)"]);
}

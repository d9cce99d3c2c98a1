//! An attribute with values of several types, compared with a naive model.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Value of the attribute in a row.
type Cell = Value<'static>;

const BIG: i64 = 1_161_888_007_138_312_192;

/// Text of a value; `None` for null.
fn spelled(cell: &Cell) -> Option<String> {
    match cell {
        Value::Int(i) => Some(i.to_string()),
        // The doubles here have few digits.
        Value::Double(d) if d.fract() == 0.0 => Some((*d as i64).to_string()),
        Value::Double(d) => Some(d.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        Value::Text(text) => Some((*text).to_owned()),
        Value::Bytes(_) | Value::Json("null") => None,
        Value::Json(json) => Some((*json).to_owned()),
    }
}

/// Twice the number that a text spells: exact, as the fractions here are halves.
fn doubled(text: &str) -> Option<i128> {
    if let Ok(integer) = text.parse::<i64>() {
        return (integer.to_string() == text).then_some(i128::from(integer) * 2);
    }
    let double =
        text.parse::<f64>().ok().filter(|d| d.is_finite() && d.fract() != 0.0 && d.to_string() == text)?;
    Some((double * 2.0) as i128)
}

/// Numbers, then texts.
fn order(a: &str, b: &str) -> Ordering {
    match (doubled(a), doubled(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (None, None) => a.cmp(b),
        (number, _) => {
            if number.is_some() {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

/// The same as `ORDER BY … DESC`: numbers from the greatest, then texts.
fn descending(a: &str, b: &str) -> Ordering {
    if doubled(a).is_some() == doubled(b).is_some() { order(b, a) } else { order(a, b) }
}

fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![
        4 => prop_oneof![Just(200), Just(7), Just(-7), Just(0), Just(BIG), Just(BIG + 1)].prop_map(Value::Int),
        3 => prop_oneof![Just(200.0), Just(200.5), Just(-0.0), Just(7.0), Just(1e6)].prop_map(Value::Double),
        2 => prop_oneof![Just("200"), Just("200.0"), Just("n/a"), Just(""), Just("1e3"), Just(" 7"), Just("NaN")]
            .prop_map(Value::Text),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => prop_oneof![Just("null"), Just("[200]")].prop_map(Value::Json),
    ]
}

/// A query, and the model's answer.
struct Asked {
    sql: String,
    expected: Vec<String>,
}

/// Ids of the rows for which `is_found` is true, null being false.
fn filter(cells: &[Cell], condition: &str, is_found: impl Fn(&str) -> bool) -> Asked {
    let ids = cells.iter().enumerate();
    let ids = ids.filter(|(_, cell)| spelled(cell).is_some_and(|text| is_found(&text)));
    Asked {
        sql: format!("SELECT id FROM events WHERE {condition} ORDER BY id"),
        expected: ids.map(|(id, _)| id.to_string()).collect(),
    }
}

fn comparisons(cells: &[Cell], literal: &str) -> Vec<Asked> {
    let number = doubled(literal).unwrap();
    let compares =
        |test: fn(Ordering) -> bool| move |text: &str| doubled(text).is_some_and(|n| test(n.cmp(&number)));
    let seven = |text: &str| doubled(text).is_some_and(|n| n >= 14);
    vec![
        filter(cells, &format!("x = {literal}"), |text| text == literal),
        filter(cells, &format!("x = '{literal}'"), |text| text == literal),
        filter(cells, &format!("x <> {literal}"), |text| text != literal),
        filter(cells, &format!("x IN ({literal}, 7.0)"), |text| text == literal || text == "7"),
        filter(cells, &format!("x NOT IN ({literal}, 'n/a')"), |text| text != literal && text != "n/a"),
        filter(cells, &format!("x > {literal}"), compares(Ordering::is_gt)),
        filter(cells, &format!("{literal} >= x"), compares(Ordering::is_le)),
        filter(cells, &format!("x < '{literal}'"), compares(Ordering::is_lt)),
        filter(cells, &format!("x BETWEEN 7 AND {literal}"), |text| {
            seven(text) && compares(Ordering::is_le)(text)
        }),
        filter(cells, &format!("x NOT BETWEEN 7 AND {literal}"), |text| {
            doubled(text).is_some_and(|n| n < 14 || n > number)
        }),
        filter(cells, &format!("CASE x WHEN {literal} THEN true ELSE false END"), |text| text == literal),
    ]
}

fn summaries(cells: &[Cell]) -> Vec<Asked> {
    let texts: Vec<String> = cells.iter().filter_map(spelled).collect();
    let numbers: Vec<&String> = texts.iter().filter(|text| doubled(text).is_some()).collect();
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for text in &texts {
        *groups.entry(text).or_default() += 1;
    }
    let mut ascending: Vec<&str> = texts.iter().map(String::as_str).collect();
    ascending.sort_by(|a, b| order(a, b));
    let mut falling = ascending.clone();
    falling.sort_by(|a, b| descending(a, b));
    let distinct: BTreeSet<&str> = ascending.iter().copied().collect();
    let mut sorted: Vec<&str> = distinct.iter().copied().collect();
    sorted.sort_by(|a, b| order(a, b));
    let trimmed = |texts: &[&str]| texts.iter().map(|text| text.trim().to_owned()).collect::<Vec<_>>();
    let extremes = format!("{},{}", ascending[0].trim(), falling[0].trim());
    let ask = |sql: &str, expected: Vec<String>| Asked { sql: sql.to_owned(), expected };
    vec![
        ask("SELECT x FROM events WHERE x IS NOT NULL ORDER BY x", trimmed(&ascending)),
        ask("SELECT x FROM events WHERE x IS NOT NULL ORDER BY x DESC", trimmed(&falling)),
        ask("SELECT x FROM events ORDER BY x DESC NULLS LAST LIMIT 2", trimmed(&falling[..2])),
        ask("SELECT DISTINCT x FROM events WHERE x IS NOT NULL ORDER BY x", trimmed(&sorted)),
        ask("SELECT min(x), max(x) FROM events", vec![extremes.clone()]),
        ask("SELECT max(y) FROM (SELECT x AS y FROM events) z GROUP BY y > 'zz' HAVING min(y) < 0", {
            let negative = doubled(ascending[0]).is_some_and(|n| n < 0);
            if negative { vec![falling[0].trim().to_owned()] } else { vec![] }
        }),
        ask("WITH c AS (SELECT x AS y FROM events) SELECT min(y), max(y) FROM c", vec![extremes]),
        ask(
            "SELECT count(x), count(DISTINCT x) FROM events",
            vec![format!("{},{}", texts.len(), distinct.len())],
        ),
        ask(
            "SELECT x, count(*) FROM events WHERE x IS NOT NULL GROUP BY x ORDER BY x",
            sorted.iter().map(|text| format!("{},{}", text.trim(), groups[text])).collect(),
        ),
        ask("SELECT count(abs(y) + y) FROM (SELECT x AS y FROM events) z", vec![numbers.len().to_string()]),
    ]
}

/// The rows stored in different ways: mostly in a column, in the overflow as the key is rare, in segments of
/// different types, in the buffer, in merged segments.
async fn places(cells: &[Cell]) -> Vec<ReadSnapshot> {
    let rows: Vec<Row> = cells.iter().enumerate().map(|(i, cell)| row(i, cell)).collect();
    let nothing: Vec<Row> = (0..2100).map(|i| (i % 200, vec![])).collect();
    let rare: Vec<Row> = rows.iter().take(1).cloned().chain(nothing).collect();
    let mut places = homes(&rows).await;
    places.push(snapshot(&[&rare, &rows[1..]], &[]).await);
    let apart = snapshot(&rows.chunks(2).collect::<Vec<_>>(), &[]).await;
    places.push(compacted(&apart, rows.len()).await);
    places.push(compacted(&apart, rows.len().div_ceil(2)).await);
    places.push(compacted(&places[5], 1 << 20).await);
    places
}

fn row(i: usize, cell: &Cell) -> Row {
    (i as i64, vec![(Level::Record, "x", *cell), (Level::Record, "id", Value::Int(i as i64))])
}

/// Places in which a case runs each query; other cases run it in the others.
const PLACES: usize = 2;

/// Runs each query in some of the places, from place `first` on for the first query.
async fn check(cells_of: &[Cell], first: usize) {
    let questions = [200, 7].map(|literal| comparisons(cells_of, &literal.to_string())).into_iter().flatten();
    let questions =
        questions.chain(comparisons(cells_of, "200.5")).chain(comparisons(cells_of, &BIG.to_string()));
    let questions: Vec<Asked> = questions.chain(summaries(cells_of)).collect();
    let engines = [engine(), engine_that_decodes_after(u32::MAX)];
    let places = places(cells_of).await;
    for (number, Asked { sql, expected }) in questions.iter().enumerate() {
        for i in (0..PLACES).map(|more| (first + number + more) % places.len()) {
            let (engine, _) = &engines[(first + i) % 2];
            assert_eq!(&cells(engine, &places[i], sql).await, expected, "{sql} in place {i} of {cells_of:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn one_attribute_of_many_types(
        mut cells in proptest::collection::vec(cell(), 3..14),
        first in 0_usize..18,
    ) {
        // So that it is mixed in every place.
        cells.extend([Value::Int(BIG), Value::Double(0.5), Value::Text("n/a")]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&cells, first));
    }
}

/// Queries on numbers keep their answers when a text and null values are added.
#[tokio::test]
async fn one_text_changes_no_answer_about_numbers() {
    let numbers = [Value::Int(200), Value::Double(200.0), Value::Double(9.5), Value::Int(10), Value::Int(-1)];
    let others = [Value::Text("n/a"), Value::Bool(true), Value::Json("null"), Value::Text("NaN")];
    let (engine, _dir) = engine();
    for sql in [
        "SELECT id FROM events WHERE x = 200 ORDER BY id",
        "SELECT id FROM events WHERE x = '200.0' ORDER BY id",
        "SELECT id FROM events WHERE x > '9' ORDER BY id",
        "SELECT id FROM events WHERE x BETWEEN 0 AND 10 ORDER BY id",
        "SELECT sum(x), avg(x), p50(x), p99(x), stddev(x), median(x), quantile(x, 0.75) FROM events",
        "SELECT sum(y), max(y)::double FROM (SELECT x AS y FROM spans UNION ALL SELECT x FROM logs) z",
        "SELECT max(x)::double, min(x)::double FROM events",
        "SELECT id, sum(x) OVER (ORDER BY id), round(x + 0.4) FROM events WHERE x > -5 ORDER BY id",
        "SELECT id FROM events WHERE x > -5 ORDER BY x DESC, id LIMIT 3",
        "SELECT id, rank() OVER (ORDER BY x DESC) FROM events WHERE x > -5 ORDER BY id",
        "SELECT id, (max(x) OVER (ORDER BY id ROWS 1 PRECEDING))::double FROM events WHERE x > -5 ORDER BY id",
        "SELECT id, sum(id) OVER (ORDER BY name, id) FROM events WHERE x > -5 ORDER BY id",
        "SELECT a.id FROM events a JOIN events b ON a.x = b.id + 200 WHERE b.id = 0 ORDER BY 1",
        "SELECT id FROM events WHERE x IN (SELECT id + 9 FROM events) ORDER BY id",
    ] {
        let mut answers = Vec::new();
        for others in [&[][..], &others] {
            let all: Vec<Row> =
                numbers.iter().chain(others).enumerate().map(|(i, cell)| row(i, cell)).collect();
            for place in homes(&all).await {
                answers.push(cells(&engine, &place, sql).await);
            }
        }
        for answer in &answers[1..] {
            assert_eq!(answer, &answers[0], "{sql}");
        }
    }
}

#[tokio::test]
async fn nulls_of_json_are_null_and_let_other_levels_through() {
    let (engine, _dir) = engine();
    let null = (Level::Record, "n", Value::Json("null"));
    let data: Vec<Row> = vec![
        (0, vec![null, (Level::Resource, "n", Value::Int(5))]),
        (1, vec![null]),
        (2, vec![(Level::Record, "n", Value::Json("[1]"))]),
    ];
    for home in &homes(&data).await {
        let sql = "SELECT n FROM events ORDER BY timestamp";
        assert_eq!(cells(&engine, home, sql).await, ["5", "", "[1]"]);
        let sql = "SELECT count(n), count(*) FILTER (WHERE n IS NULL) FROM events";
        assert_eq!(cells(&engine, home, sql).await, ["2,1"]);
        assert_eq!(cells(&engine, home, "SELECT count(*) FROM events WHERE n = 'null'").await, ["0"]);
        let sql = "SELECT attributes FROM events ORDER BY timestamp";
        assert_eq!(cells(&engine, home, sql).await, ["{n: 5}", "{}", "{n: [1]}"]);
    }
    let only: Vec<Row> = vec![(0, vec![null]), (1, vec![(Level::Record, "n", Value::Int(40))])];
    for home in &homes(&only).await {
        let result = engine.query(home, Question::sql("SELECT n, max(n) OVER () FROM events")).await.unwrap();
        assert_eq!(*result.schema.field(0).data_type(), arrow::datatypes::DataType::Int64);
    }
}

#[tokio::test]
async fn equality_with_a_number_prunes_where_a_segment_has_numbers() {
    let (engine, _dir) = engine();
    let data = [Value::Int(200), Value::Int(500), Value::Double(7.5), Value::Text("n/a")];
    let rows: Vec<Row> = data.iter().enumerate().map(|(i, cell)| row(i, cell)).collect();
    let home = snapshot(&rows.chunks(1).collect::<Vec<_>>(), &[]).await;
    for (filter, segments) in [("x = 200", 1), ("x = 200.0", 1), ("x = 7.5", 1), ("x IN (200, 500.0)", 2)] {
        let plan = text(&engine, &home, &format!("EXPLAIN SELECT id FROM events WHERE {filter}")).await;
        assert!(plan.contains(&format!("segments={segments}/4")), "{filter}: {plan}");
        assert!(!plan.contains("FilterExec"), "{plan}");
    }
}

//! Limits of a question: its rows and its time. Also its parameters.

use arrow::array::RecordBatch;

use super::{engine, shop, snapshot};
use crate::error::ErrorKind;
use crate::query::{Parameter, Question};

#[tokio::test]
async fn parameters_row_limits_and_timeouts() {
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    let mut question = Question::sql("SELECT name FROM events WHERE trace_id = $1 AND code = $2");
    question.params = vec![Parameter::Text("03".repeat(16)), Parameter::Double(404.5)];
    let found = engine.query(&home, question).await.unwrap().collect().await.unwrap();
    assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);

    let mut question = Question::sql("SELECT * FROM events");
    question.row_limit = Some(6);
    assert!(engine.query(&home, question.clone()).await.unwrap().collect().await.is_ok());
    question.row_limit = Some(5);
    let error = engine.query(&home, question).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(error.message().contains("5 rows"), "{error}");

    let mut question = Question::sql("SELECT count(*) FROM generate_series(1, 100000000000) a");
    question.timeout = Some(std::time::Duration::from_millis(1));
    let error = match engine.query(&home, question).await {
        Err(e) => e,
        Ok(result) => result.collect().await.unwrap_err(),
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn joins_without_end_let_other_tasks_run() {
    let (engine, _dir) = engine();
    let home = snapshot(&[&shop()], &[]).await;
    let pairs = "FROM generate_series(1, 3000000) AS a(x), generate_series(1, 3000000) AS b(y)";
    for sql in [
        format!("SELECT sum(x + y) {pairs}"),
        format!("SELECT count(*) {pairs} WHERE x + y < 0"),
        format!("SELECT count(*) {pairs} WHERE x % 1 = y % 1 AND x + y < 0"),
        "SELECT max(x) FROM (SELECT unnest(range(0, 100)) AS x FROM generate_series(1, 3000000000))"
            .to_owned(),
    ] {
        let mut question = Question::sql(&sql);
        question.timeout = Some(std::time::Duration::from_millis(20));
        let ended = match engine.query(&home, question).await {
            Err(error) => Err(error),
            Ok(result) => result.collect().await,
        };
        assert_eq!(ended.map_err(|e| e.kind()).err(), Some(ErrorKind::Cancelled), "{sql}");
    }
}

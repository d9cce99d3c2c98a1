//! Our table in another program's session, with DataFusion's defaults.

use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;

/// Large events, a few thousand per megabyte or more: DataFusion splits such files by bytes where allowed.
fn large() -> Vec<Row> {
    let noise = |i: i64| -> &'static str {
        let words: Vec<String> = (1..=80_u64)
            .map(|n| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ n).rotate_left(n as u32))
            .map(|word| format!("{word:016x}"))
            .collect();
        words.concat().leak()
    };
    let row =
        |i| (i, vec![(Level::Record, "n", Value::Int(i)), (Level::Record, "noise", Value::Text(noise(i)))]);
    (0..12_000).map(row).collect()
}

#[tokio::test]
async fn a_foreign_session_reads_each_row_once() {
    let data = large();
    let home = snapshot(&[&data[..4_000], &data[4_000..8_000], &data[8_000..]], &[]).await;
    for segment in &home.catalog.segments {
        assert!(segment.bytes > 1 << 20, "{}", segment.bytes);
    }
    let (engine, _dir) = engine();
    let keys = ["n".to_owned(), "noise".to_owned()];
    let config = SessionConfig::new().with_target_partitions(16);
    assert!(config.options().optimizer.repartition_file_scans, "this is what cuts files");
    let context = SessionContext::new_with_config(config);
    context.register_table("events", engine.table(&home, &keys)).unwrap();
    // Columns are in memory from the second time on.
    for time in 1..=3 {
        for (sql, wanted) in [
            ("SELECT count(*) FROM events", "12000"),
            ("SELECT count(\"attributes['noise']\") FROM events", "12000"),
            ("SELECT sum(\"attributes['n']\") FROM events", "71994000"),
            ("SELECT count(*) FROM events WHERE \"attributes['n']\" % 2 = 1", "6000"),
            (
                "SELECT count(distinct \"attributes['n']\") FROM events WHERE \"attributes['noise']\" > '8'",
                "",
            ),
        ] {
            let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
            let shown = pretty_format_batches(&batches).unwrap().to_string();
            assert!(shown.contains(&format!("| {wanted}")), "{sql}, time {time}:\n{shown}");
        }
    }
}

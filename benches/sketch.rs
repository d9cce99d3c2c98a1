//! What does a quantile cost? One sketch per group is filled, merged between partitions, and queried.
//!
//! `cargo bench --bench sketch`. Runs over a million numbers in 1, 1,000 and 100,000 groups, once with p99 and once
//! with sum: the difference is the cost of the sketches.

#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use broadloom::Database;
use broadloom::config::Settings;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const VALUES: u64 = 1_000_000;
const GROUPS: [u64; 3] = [1, 1_000, 100_000];

fn sketch(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let database = runtime.block_on(Database::open(Settings::new(dir.path()))).expect("a database");
    let mut group = c.benchmark_group("sketch");
    group.throughput(Throughput::Elements(VALUES));
    for groups in GROUPS {
        // Neighbouring rows are in different groups; the values span three orders of magnitude, like latencies.
        let measured = "1000 * exp(value * 2654435761 % 4294967296 / 4294967296.0 * 7)";
        for aggregate in ["sum", "p99"] {
            let sql = format!(
                "SELECT max(y) FROM (SELECT {aggregate}(x) AS y FROM (SELECT {measured} AS x, value % {groups} AS g \
                 FROM generate_series(1, {VALUES})) GROUP BY g)"
            );
            group.bench_function(format!("{aggregate}, {groups} groups"), |b| {
                b.iter(|| {
                    runtime
                        .block_on(async { database.sql(&sql).await.expect("a plan").collect().await })
                        .expect("an answer")
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = sketch
}
criterion_main!(benches);

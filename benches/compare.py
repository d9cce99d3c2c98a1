#!/usr/bin/env python3
"""Asks Broadloom, DuckDB and ClickHouse the same questions about the same events, and says how long each took.

The corpus is the demo's (made by `broadloom demo`) or any directory of OTLP protobuf files. The peers run in
process (Python packages duckdb and chdb) and are loaded with the same events out of Broadloom's segments.
Every engine runs in a process of its own, one at a time. Databases are kept and used again.

  compare.sh                                 2,000,000 events of the demo's shop
  compare.sh 50000000 --json figures.json    more of them
  compare.sh --only trace_by_id,heat_map     some queries
  compare.sh --otlp telemetry/               the events of these files

Exit codes: 0 all engines agree, 1 something failed, 2 wrong usage, 3 answers differ.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    from comparison import answers, report
    from comparison.corpus import Corpus, Failed, Source
    from comparison.engines import EngineError, Limits, Target, Worker
    from comparison.queries import ALL, VALUES, Query
except ImportError as error:
    sys.exit(f"{error}: use benches/compare.sh, which sees to it")

WARM_UPS = 2
SECONDS_MAX = 60.0
DIFFER = 3


def main() -> int:
    options = parse()
    try:
        return compare(options)
    except (Failed, EngineError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1


def parse() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [q.name for q in ALL]
    arguments.add_argument("events", nargs="?", type=int, default=2_000_000, help="default 2000000")
    arguments.add_argument("--broadloom", required=True, help="the program to measure")
    arguments.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "broadloom-compare")
    arguments.add_argument("--engines", default="broadloom,duckdb,clickhouse")
    arguments.add_argument("--only", default=",".join(names), help="queries, by name")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--runs", type=int, default=3, help="of each query in each round, after 2 to warm up")
    arguments.add_argument("--ids", type=int, default=200, help="traces that are looked up")
    arguments.add_argument("--no-cold", action="store_true")
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--otlp", type=Path)
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    options.engines = options.engines.split(",")
    options.queries = [q for q in ALL if q.name in options.only.split(",")]
    return options


def compare(options: argparse.Namespace) -> int:
    limits = Limits(options.threads, 8 << 30)
    minutes = min(max(30, options.events * 30 // 1_000_000), 1440)
    source = Source(options.events, minutes, options.seed, options.otlp)
    corpus = Corpus(options.work / source.name(), source, options.broadloom, limits)
    corpus.make(options.engines, compact=True, otlp_sample=min(options.events, 1_000_000))
    run = Run(options, corpus, limits)
    run.check()
    for number in range(options.rounds):
        run.warm_round(number)
    if not options.no_cold:
        for number in range(options.rounds):
            run.cold_round(number)
    figures = run.figures()
    print(report.markdown(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return DIFFER if run.differences else 0


class Run:
    def __init__(self, options: argparse.Namespace, corpus: Corpus, limits: Limits) -> None:
        self.options = options
        self.corpus = corpus
        self.queries: list[Query] = options.queries
        self.targets = {
            engine: Target(engine, corpus.data() if engine == "broadloom" else corpus.path(engine), limits, options.broadloom)
            for engine in options.engines
        }
        self.warm: dict[str, dict[str, list[float]]] = {q.name: {e: [] for e in self.targets} for q in self.queries}
        self.cold: dict[str, dict[str, list[float]]] = {q.name: {e: [] for e in self.targets} for q in self.queries}
        self.floor: dict[str, list[float]] = {e: [] for e in self.targets}
        self.peak: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self.failures: dict[str, str] = {}
        self.differences: dict[str, str] = {}

    def statements(self, query: Query, engine: str, count: int) -> list[str]:
        if not query.ids:
            return [query.sql(engine, VALUES)] * count
        ids = self.corpus.trace_ids(count) if query.ids == "stored" else self.corpus.absent_ids(count)
        return [query.sql(engine, VALUES | {"trace_id": i}) for i in ids]

    def check(self) -> None:
        """Asks every engine once, and holds the answers against each other."""
        given: dict[str, dict[str, list[Any]]] = {q.name: {} for q in self.queries}
        exact: dict[str, Any] = {}
        for engine, target in self.targets.items():
            with Worker(target) as worker:
                for query in self.queries:
                    try:
                        given[query.name][engine] = [worker.answer(s) for s in self.statements(query, engine, 5 if query.ids else 1)]
                        if query.quantile is not None and engine == "duckdb":
                            exact[query.name] = worker.answer(query.sql("exact", VALUES))
                    except EngineError as error:
                        self.failures[f"{query.name} {engine}"] = str(error)
        for query in self.queries:
            tables = given[query.name]
            reference = "duckdb" if "duckdb" in tables else next(iter(tables), None)
            if reference:
                self.rows[query.name] = tables[reference][0].num_rows
            for engine, got in tables.items():
                for position, table in enumerate(got):
                    if query.quantile is not None:
                        if query.name not in exact:
                            continue
                        found = answers.quantile_difference(query, exact[query.name], table, query.name.startswith("p99"))
                    elif engine == reference:
                        continue
                    elif query.attributes:
                        found = answers.trace_difference(table, tables[reference][position])
                    else:
                        found = answers.difference(query, tables[reference][position], table)
                    if found:
                        self.differences[f"{query.name} {engine}"] = found
        print("differences:", json.dumps(self.differences, indent=1))
        print("failures:", json.dumps(self.failures, indent=1))

    def warm_round(self, number: int) -> None:
        for engine, target in self.targets.items():
            print(f"warm round {number + 1}, {engine} …", flush=True)
            with Worker(target) as worker:
                self.floor[engine] += worker.time(["SELECT 1"] * 20).ms[10:]
                for query in self.queries:
                    if f"{query.name} {engine}" in self.failures:
                        continue
                    if query.ids:
                        statements = self.statements(query, engine, self.options.ids)
                        worker.time(statements, SECONDS_MAX)
                    else:
                        worker.time(self.statements(query, engine, WARM_UPS), SECONDS_MAX)
                        statements = self.statements(query, engine, self.options.runs)
                    self.warm[query.name][engine] += worker.time(statements, SECONDS_MAX).ms
                self.peak[engine] = max(self.peak.get(engine, 0), worker.peak_bytes())

    def cold_round(self, number: int) -> None:
        print(f"cold round {number + 1} …", flush=True)
        for query in self.queries:
            for engine, target in self.targets.items():
                if f"{query.name} {engine}" in self.failures:
                    continue
                drop_caches(target.data)
                with Worker(target) as worker:
                    statement = self.statements(query, engine, number + 1)[-1]
                    self.cold[query.name][engine] += worker.time([statement]).ms

    def figures(self) -> dict[str, Any]:
        steps = {name: {k: v for k, v in step.items() if k != "trace_ids"} for name, step in self.corpus.steps.items()}
        return {
            "engines": list(self.targets),
            "events": self.corpus.events(),
            "steps": steps,
            "floor_ms": self.floor,
            "peak_bytes": self.peak,
            "queries": [
                {
                    "name": q.name,
                    "title": q.title,
                    "rows": self.rows.get(q.name, 0),
                    "warm_ms": self.warm[q.name],
                    "cold_ms": self.cold[q.name],
                }
                for q in self.queries
            ],
            "failures": self.failures,
            "differences": self.differences,
        }


def drop_caches(data: Path) -> None:
    """Makes the kernel forget what files hold: all of them where that is allowed, else this engine's."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1")
        return
    except OSError:
        pass
    for file in data.rglob("*"):
        if file.is_file():
            with open(file, "rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())

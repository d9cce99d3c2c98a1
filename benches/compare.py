#!/usr/bin/env python3
"""Runs the same queries on Broadloom, DuckDB and ClickHouse, over the same events, and prints the times.

The corpus is the demo's (`broadloom demo`) or a directory of OTLP protobuf files. The peers run in process
(Python packages duckdb and chdb) and are loaded with the same events, from Broadloom's segments. Each engine
runs in a process of its own, one at a time. First the results of all engines are compared, then everything is
timed. Databases are kept in --work and reused.

  compare.sh                                 2,000,000 events of the demo's shop
  compare.sh 50000000 --json figures.json    a larger corpus
  compare.sh --only trace_by_id,heat_map     only these queries
  compare.sh --before old/broadloom          compare with another build of Broadloom, not with the peers
  compare.sh --otlp telemetry/ --set route=/api/cart --set text=timeout
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    from comparison import answers, report
    from comparison.corpus import Corpus, Failed, Source, say
    from comparison.engines import ENGINES, EngineError, Limits, Target, Timing, Usage, Worker
    from comparison.load import LOADS
    from comparison.queries import ALL, VALUES, Query
except ImportError as missing:
    sys.exit(f"{missing}; run benches/compare.sh, which installs the packages and calls this program")

PEERS = "broadloom,duckdb,clickhouse"
BUILDS = "broadloom,before"
WARM_UPS = 2
FLOOR_RUNS = 20
CHECKED_IDS = 10
MINUTES_MAX = 1440
EVENTS_PER_MINUTE = 33_333
SAMPLE_EVENTS_MAX = 1_000_000
SECONDS_PER_QUERY_MAX = 60.0
EXIT_FAILED = 1
EXIT_DIFFERENT = 3

EPILOGUE = """queries: {queries}

Exit codes: 0 success, all results agree; 1 failure; 2 wrong usage; 3 results differ.
Needs about 700 bytes of disk per event in --work, and 1.5 GB more while `broadloom import` is measured.
"""


def main() -> int:
    options = parse()
    try:
        return compare(options)
    except (Failed, EngineError) as error:
        say(f"compare: {error}")
        return EXIT_FAILED


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare.sh",
        description=__doc__,
        epilog=EPILOGUE.format(queries=", ".join(q.name for q in ALL)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = ["all", "broadloom", "before", "import", "export", "compact", *LOADS]
    parser.add_argument(
        "events", nargs="?", type=int, default=2_000_000,
        help="events in the demo's corpus; default 2000000",
    )
    parser.add_argument("--broadloom", metavar="PROGRAM", required=True, help="path of Broadloom; set by compare.sh")
    parser.add_argument("--before", metavar="PROGRAM", default="", help="path of another build to compare with")
    parser.add_argument(
        "--engines",
        help=f"engines to run, of {','.join(ENGINES)}; default {PEERS}, or {BUILDS} with --before",
    )
    parser.add_argument("--only", metavar="QUERIES", default="", help="run only these queries, separated by commas")
    parser.add_argument(
        "--otlp", metavar="DIR", type=Path,
        help="use the OTLP files in this directory instead of the demo's corpus",
    )
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help=described(VALUES))
    parser.add_argument(
        "--minutes", type=int,
        help="minutes that the corpus spans; default: one per 33,333 events, 30 to 1440",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the demo's generator; default 1")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which every engine gets a turn; default 3")
    parser.add_argument(
        "--runs", type=int, default=3,
        help="timed runs of each query per round, after warming up; default 3",
    )
    parser.add_argument("--ids", type=int, default=200, help="traces to look up per round; default 200")
    parser.add_argument("--no-cold", action="store_true", help="skip the cold runs (new process, page cache dropped)")
    parser.add_argument("--no-compact", action="store_true", help="do not compact Broadloom's data before measuring")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(),
        help="threads of each engine; default: the number of CPUs",
    )
    parser.add_argument(
        "--memory", metavar="GIB", type=int, default=8,
        help="memory for each engine's queries, in GiB; default 8",
    )
    parser.add_argument(
        "--work", metavar="DIR", type=Path,
        help="directory of the databases; default broadloom-compare in $TMPDIR",
    )
    parser.add_argument(
        "--reload", metavar="STEPS", nargs="?", const="all", default="",
        help=f"repeat these steps, separated by commas; default all: {', '.join(steps)}",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all measurements to this file")
    options = parser.parse_args()
    engines = options.engines or (BUILDS if options.before else PEERS)
    options.engines = chosen(parser, "--engines", engines, list(ENGINES))
    if ("before" in options.engines) != bool(options.before):
        parser.error("the engine `before` is the program that --before names: give both")
    names = chosen(parser, "--only", options.only, [q.name for q in ALL]) if options.only else [q.name for q in ALL]
    options.queries = [q for q in ALL if q.name in names]
    options.reload = chosen(parser, "--reload", options.reload, steps) if options.reload else []
    options.values = VALUES | dict(setting(parser, text) for text in options.set)
    options.work = options.work or Path(tempfile.gettempdir()) / "broadloom-compare"
    if options.otlp and not options.otlp.is_dir():
        parser.error(f"--otlp: {options.otlp} is not a directory")
    if options.json and not options.json.resolve().parent.is_dir():
        parser.error(f"--json: {options.json.resolve().parent} is not a directory")
    for name in ("events", "rounds", "runs", "ids", "threads", "memory"):
        if getattr(options, name) < 1:
            parser.error(f"{name} must be at least 1")
    return options


def described(values: dict[str, str]) -> str:
    defaults = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"value of a placeholder in the queries; default {defaults}"


def chosen(parser: argparse.ArgumentParser, option: str, text: str, known: list[str]) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            parser.error(f"{option}: there is no {name!r}; write one of {', '.join(known)}")
    return names


def setting(parser: argparse.ArgumentParser, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in VALUES:
        parser.error(f"--set: {text!r} is not NAME=VALUE, where NAME is one of {', '.join(VALUES)}")
    return name, value


def compare(options: argparse.Namespace) -> int:
    limits = Limits(options.threads, options.memory << 30)
    minutes = options.minutes or min(max(30, options.events // EVENTS_PER_MINUTE), MINUTES_MAX)
    source = Source(options.events, minutes, options.seed, options.otlp)
    corpus = Corpus(options.work / source.name(), source, options.broadloom, options.before, limits)
    corpus.forget(steps_of(options.reload))
    peers = [e for e in options.engines if e != "broadloom"]
    corpus.make(peers, not options.no_compact, min(options.events, SAMPLE_EVENTS_MAX))
    run = Run(options, corpus, limits)
    run.check()
    for number in range(options.rounds):
        run.warm_round(number)
    for number in range(0 if options.no_cold else options.rounds):
        run.cold_round(number)
    figures = run.figures()
    print(report.markdown(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if run.failures:
        return EXIT_FAILED
    return EXIT_DIFFERENT if run.differences else 0


def steps_of(names: list[str]) -> list[str]:
    if "all" in names:
        return ["broadloom", "before", "import"]
    return [f"load {name}" if name in LOADS else name for name in names]


class Run:
    """Measurements so far, by query and engine."""

    def __init__(self, options: argparse.Namespace, corpus: Corpus, limits: Limits) -> None:
        self.options = options
        self.corpus = corpus
        self.queries: list[Query] = options.queries
        programs = {"before": options.before}
        self.targets = {
            e: Target(e, corpus.data(e), limits, programs.get(e, options.broadloom)) for e in options.engines
        }
        self.versions: dict[str, str] = {}
        self.warm = self._by_query_and_engine()
        self.warm_cpu = self._by_query_and_engine()
        self.cold = self._by_query_and_engine()
        self.first: dict[str, list[float]] = {e: [] for e in self.targets}
        self.floor: dict[str, list[float]] = {e: [] for e in self.targets}
        self.opened_bytes: dict[str, int] = {}
        self.peak_bytes: dict[str, int] = {}
        self.others_cpu: dict[str, list[float]] = {e: [] for e in self.targets}
        self.rows: dict[str, int] = {}
        self.failures: dict[str, dict[str, str]] = {}
        self.differences: dict[str, dict[str, str]] = {}
        self.loads = [os.getloadavg()[0]]

    def _by_query_and_engine(self) -> dict[str, dict[str, list[float]]]:
        return {q.name: {e: [] for e in self.targets} for q in self.queries}

    def statements(self, query: Query, engine: str, ids: int) -> list[str]:
        """The query's statement, or one for each of `ids` trace ids."""
        if not query.ids:
            return [query.sql(engine, self.options.values)]
        known = self.corpus.trace_ids(ids) if query.ids == "stored" else self.corpus.absent_ids(ids)
        return [query.sql(engine, self.options.values | {"trace_id": i}) for i in known]

    def answered(self, engine: str) -> list[Query]:
        """The queries that did not fail on the engine."""
        return [q for q in self.queries if engine not in self.failures.get(q.name, {})]

    def check(self) -> None:
        """Runs every query once on every engine, and compares the results."""
        given: dict[str, dict[str, list[Any]]] = {q.name: {} for q in self.queries}
        exact: dict[str, Any] = {}
        for engine, target in self.targets.items():
            say(f"checking the results of {engine} …")
            with Worker(target) as worker:
                self.versions[engine] = worker.version
                for query in self.queries:
                    try:
                        statements = self.statements(query, engine, CHECKED_IDS)
                        given[query.name][engine] = [worker.answer(s) for s in statements]
                        if query.quantile and engine == "duckdb":
                            exact[query.name] = worker.answer(query.sql("exact", self.options.values))
                    except EngineError as error:
                        self.failures.setdefault(query.name, {})[engine] = str(error)
                        say(f"{query.name}: {engine} fails: {error}")
        for query in self.queries:
            self._check(query, given[query.name], exact.get(query.name))

    def _check(self, query: Query, given: dict[str, list[Any]], exact: Any) -> None:
        reference = "duckdb" if "duckdb" in given else next(iter(given), "")
        self.rows[query.name] = max((t.num_rows for t in given.get(reference, [])), default=0)
        if self.rows[query.name] == 0 and query.ids != "absent":
            say(f"{query.name}: no rows; choose values that the corpus contains with --set")
        for engine, tables in given.items():
            for position, table in enumerate(tables):
                expected = given[reference][position]
                if query.quantile:
                    found = answers.quantile_difference(query, exact, table) if exact is not None else None
                elif query.attributes:
                    found = answers.trace_difference(expected, table)
                else:
                    found = answers.difference(query, expected, table)
                found = found or answers.disorder(query, table)
                if found:
                    self.differences.setdefault(query.name, {})[engine] = found
                    say(f"{query.name}: {engine} differs: {found}")
                    break

    def warm_round(self, number: int) -> None:
        for engine in rotated(list(self.targets), number):
            say(f"warm round {number + 1} of {self.options.rounds}, {engine} …")
            with Worker(self.targets[engine]) as worker:
                opened = worker.usage()
                first, *floor = worker.time(["SELECT 1"] * FLOOR_RUNS).ms
                self.first[engine].append(first)
                self.floor[engine] += floor[FLOOR_RUNS // 2 :]
                clock, busy, used = time.perf_counter(), busy_seconds(), worker.usage()
                for query in self.answered(engine):
                    timing = self._warm(worker, query, engine)
                    self.warm[query.name][engine] += timing.ms
                    self.warm_cpu[query.name][engine] += timing.cpu_ms
                elapsed, busy, usage = time.perf_counter() - clock, busy_seconds() - busy, worker.usage()
                others = max(0.0, busy - (usage.cpu_seconds - used.cpu_seconds))
                self._note(engine, opened, usage, others / elapsed / (os.cpu_count() or 1))
        self.loads.append(os.getloadavg()[0])

    def _warm(self, worker: Worker, query: Query, engine: str) -> Timing:
        statements = self.statements(query, engine, self.options.ids)
        worker.time(statements if query.ids else statements * WARM_UPS, SECONDS_PER_QUERY_MAX)
        return worker.time(statements if query.ids else statements * self.options.runs, SECONDS_PER_QUERY_MAX)

    def _note(self, engine: str, opened: Usage, usage: Usage, others: float) -> None:
        self.opened_bytes[engine] = opened.memory_bytes
        self.peak_bytes[engine] = max(self.peak_bytes.get(engine, 0), usage.peak_bytes)
        self.others_cpu[engine].append(others)

    def cold_round(self, number: int) -> None:
        """Times every query in a new process whose data are not in memory; traces by other ids in each round."""
        say(f"cold round {number + 1} of {self.options.rounds} …")
        for position, query in enumerate(self.queries):
            for engine in rotated(list(self.targets), number + position):
                if query not in self.answered(engine):
                    continue
                statement = self.statements(query, engine, number + 1)[-1]
                drop_caches(self.targets[engine].data)
                with Worker(self.targets[engine]) as worker:
                    worker.load_program()
                    self.cold[query.name][engine] += worker.time([statement]).ms

    def figures(self) -> dict[str, Any]:
        options = self.options
        return {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "load_average": self.loads,
            "corpus": self.corpus.directory.name,
            "events": self.corpus.events(),
            "settings": {
                "threads": options.threads,
                "memory_gib": options.memory,
                "rounds": options.rounds,
                "runs": options.runs,
                "ids": options.ids,
                "values": options.values,
                "compacted": self.corpus.data("broadloom").name == "compacted",
            },
            "steps": self.corpus.figures(),
            "engines": {
                engine: {
                    "version": self.versions[engine],
                    "first_ms": self.first[engine],
                    "floor_ms": self.floor[engine],
                    "opened_bytes": self.opened_bytes[engine],
                    "peak_bytes": self.peak_bytes[engine],
                    "others_cpu": self.others_cpu[engine],
                }
                for engine in self.targets
            },
            "queries": [
                {
                    "name": q.name,
                    "title": q.title,
                    "rows": self.rows[q.name],
                    "lookups": bool(q.ids),
                    "warm_ms": self.warm[q.name],
                    "warm_cpu_ms": self.warm_cpu[q.name],
                    "cold_ms": self.cold[q.name],
                    "failures": self.failures.get(q.name, {}),
                    "differences": self.differences.get(q.name, {}),
                }
                for q in self.queries
            ],
        }


def rotated(engines: list[str], by: int) -> list[str]:
    """The engines in another order for each `by`, so that none always comes first."""
    by %= len(engines)
    return engines[by:] + engines[:by]


def busy_seconds() -> float:
    """Busy time of all CPUs since the machine started, for all processes, in seconds."""
    user, nice, system, _, _, interrupts, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupts + soft + steal) / os.sysconf("SC_CLK_TCK")


def drop_caches(data: Path) -> None:
    """Drops the page cache: of all files where that is allowed, else of this engine's files."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        for file in data.rglob("*"):
            if file.is_file():
                with open(file, "rb") as opened:
                    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def machine() -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }


if __name__ == "__main__":
    sys.exit(main())

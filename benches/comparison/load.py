"""How the peers get the events: out of Broadloom's segments into one Parquet table, and from there.

The export has one column per attribute, named without its level where that is unambiguous
(`resource.service.name` becomes `service.name`), with ids as lower-case hexadecimal text, lists and
structures as JSON text, and the rare attributes that have no column in the text column `overflow`, as Broadloom keeps them.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .engines import ClickHouse, DuckDb, Limits, Target, memory_bytes

CORE_WITH_LEVEL = {
    "scope.name",
    "scope.version",
    "scope.schema_url",
    "scope.dropped_attributes_count",
    "resource.schema_url",
    "resource.dropped_attributes_count",
    "resource.entity_refs",
}
LOW_CARDINALITY = 5000
FILE = "events.parquet"


def in_process(do: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Runs a load in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, do, arguments))
    process.start()
    theirs.close()
    try:
        figures = ours.recv()
    except EOFError:
        figures = None
    process.join()
    if figures is None:
        raise RuntimeError(f"`{do.__name__}` failed, see above")
    return figures


def _run(pipe: Any, do: Callable[..., dict[str, Any]], arguments: tuple) -> None:
    began = time.perf_counter()
    figures = do(*arguments)
    seconds = time.perf_counter() - began
    pipe.send({"seconds": seconds, "peak_bytes": memory_bytes(os.getpid(), "VmHWM")} | figures)


def export(data: Path, directory: Path, limits: Limits, trace_ids: int) -> dict[str, Any]:
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {limits.threads}")
    connection.execute("SET TimeZone = 'UTC'")
    files = sorted(str(f) for f in (data / "segments").rglob("*.parquet"))
    source = f"read_parquet([{', '.join(quote(f) for f in files)}], union_by_name = true)"
    columns = [(name, kind) for name, kind, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    names = bare_names([name for name, _ in columns])
    selected = ", ".join(f"{expression(name, kind)} AS {ident(names[name])}" for name, kind in columns)
    target = directory / FILE
    connection.execute(f"COPY (SELECT {selected} FROM {source}) TO {quote(str(target))} (FORMAT parquet, COMPRESSION zstd)")
    table = f"read_parquet({quote(str(target))})"
    (events,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    ids = connection.execute(
        f"SELECT trace_id FROM {table} WHERE signal = 'span' AND parent_span_id IS NULL"
        f" GROUP BY 1 ORDER BY hash(trace_id) LIMIT {trace_ids}"
    ).fetchall()
    return {"events": events, "columns": len(columns), "trace_ids": [i for (i,) in ids]}


def bare_names(physical: list[str]) -> dict[str, str]:
    """Names without the level, for those attributes that no other level has."""
    bare = {name: name for name in physical}
    stripped = {
        name: name.split(".", 1)[1]
        for name in physical
        if name.startswith(("resource.", "scope.")) and name not in CORE_WITH_LEVEL
    }
    for name, short in stripped.items():
        if short not in bare and list(stripped.values()).count(short) == 1:
            bare[name] = short
    return bare


def expression(name: str, kind: str) -> str:
    column = ident(name)
    if kind == "BLOB":
        return f"lower(hex({column}))"
    if kind.startswith("TIMESTAMP"):
        return f"CAST({column} AS TIMESTAMP_NS)"
    if kind.startswith("STRUCT") or kind.endswith("[]"):
        return f"CAST(to_json({column}) AS VARCHAR)"
    if kind == "JSON":
        return f"CAST({column} AS VARCHAR)"
    return column


def load_duckdb(export: Path, database: Path, limits: Limits) -> dict[str, Any]:
    engine = DuckDb(Target("duckdb", database, limits))
    began = time.perf_counter()
    engine.connection.execute(f"CREATE TABLE events AS SELECT * FROM read_parquet({quote(str(export / FILE))})")
    engine.connection.execute("CHECKPOINT")
    seconds = time.perf_counter() - began
    (events,) = engine.connection.execute("SELECT count(*) FROM events").fetchone()
    engine.close()
    return {"events": events, "seconds": seconds, "bytes": (database / "events.duckdb").stat().st_size}


def load_clickhouse(export: Path, database: Path, limits: Limits) -> dict[str, Any]:
    engine = ClickHouse(Target("clickhouse", database, limits))
    source = f"file({quote(str((export / FILE).resolve()))}, Parquet)"
    described = [line.split("\t")[:2] for line in engine.execute(f"DESCRIBE {source}").splitlines()]
    low = low_cardinality(export / FILE, [name for name, kind in described if "String" in kind])
    columns = ", ".join(f"{backquote(name)} {column_type(name, kind, low)}" for name, kind in described)
    engine.execute(
        f"CREATE TABLE events ({columns},"
        " INDEX idx_trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,"
        " INDEX idx_user `user.id` TYPE bloom_filter(0.01) GRANULARITY 1,"
        " INDEX idx_duration duration_ns TYPE minmax GRANULARITY 1)"
        " ENGINE = MergeTree PARTITION BY toDate(timestamp)"
        " ORDER BY (`service.name`, name, toDateTime(timestamp)) SETTINGS index_granularity = 8192"
    )
    selected = ", ".join(value(name, kind) for name, kind in described)
    began = time.perf_counter()
    engine.execute(
        f"INSERT INTO events SELECT {selected} FROM {source}"
        f" SETTINGS max_threads = {limits.threads}, max_insert_threads = 1"
    )
    inserted = time.perf_counter() - began
    engine.execute("OPTIMIZE TABLE events FINAL")
    seconds = time.perf_counter() - began
    events = int(engine.execute("SELECT count() FROM events"))
    active = "FROM system.parts WHERE active AND table = 'events' AND database = 'comparison'"
    stored = int(engine.execute(f"SELECT sum(bytes_on_disk) {active}"))
    engine.close()
    return {"events": events, "seconds": seconds, "insert_seconds": inserted, "bytes": stored}


def low_cardinality(file: Path, names: list[str]) -> set[str]:
    """The text columns with few values in the middle of the table."""
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    reader = parquet.ParquetFile(file)
    groups = reader.metadata.num_row_groups
    middle = list(range(max(0, groups // 2 - 4), min(groups, groups // 2 + 4)))
    low = set()
    for name in names:
        column = reader.read_row_groups(middle, columns=[name]).column(0)
        if compute.count_distinct(column).as_py() < LOW_CARDINALITY:
            low.add(name)
    return low


def column_type(name: str, kind: str, low: set[str]) -> str:
    if name == "timestamp":
        return "DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1))"
    if "DateTime64" in kind:
        return "Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1))"
    if "String" in kind:
        return ("LowCardinality(String)" if name in low else "String") + " CODEC(ZSTD(1))"
    if name == "duration_ns":
        return "Int64 CODEC(ZSTD(1))"
    return (kind if kind.startswith("Nullable") else f"Nullable({kind})") + " CODEC(ZSTD(1))"


def value(name: str, kind: str) -> str:
    """Text that is missing is empty, as usual in ClickHouse; likewise durations of what has none."""
    if "String" in kind:
        return f"ifNull({backquote(name)}, '')"
    if name == "duration_ns":
        return f"ifNull({backquote(name)}, 0)"
    if name == "timestamp":
        return f"assumeNotNull({backquote(name)})"
    return backquote(name)


def quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def backquote(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


LOADS: dict[str, Callable[..., dict[str, Any]]] = {"duckdb": load_duckdb, "clickhouse": load_clickhouse}

"""Loads the peers: exports Broadloom's segments to one Parquet table, and loads the peers from that.

The export has one column per attribute, named without its level where that is unambiguous
(`resource.service.name` becomes `service.name`). Ids are lower-case hexadecimal text, lists and structures JSON
text; rare attributes without a column are in the text column `overflow`, as in Broadloom.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .engines import ClickHouse, DuckDb, Limits, Target, memory_bytes

# Columns that are not attributes: docs/format.md.
CORE = set(
    """
    timestamp signal trace_id span_id parent_span_id name kind status status_message duration_ns severity_number
    severity severity_text severity_origin body value sample_weight observed_timestamp start_timestamp timestamp_origin
    body_type trace_state flags
    dropped_attributes_count dropped_events_count dropped_links_count links scope.name scope.version scope.schema_url
    scope.dropped_attributes_count resource.schema_url resource.dropped_attributes_count resource.entity_refs value_int
    metric.type metric.unit metric.description metric.temporality metric.monotonic metric.metadata histogram.count
    histogram.sum histogram.min histogram.max histogram.bounds histogram.bucket_counts exponential.scale
    exponential.zero_count exponential.zero_threshold exponential.positive_offset exponential.positive_counts
    exponential.negative_offset exponential.negative_counts summary.quantiles exemplars overflow
    """.split()
)
LOW_CARDINALITY = 5000
FILE = "events.parquet"
LEVELS = "levels.json"


def in_process(do: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Runs a load in a process of its own, so that its memory is measured alone."""
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
        raise RuntimeError(f"`{do.__name__}` failed; its output above says why")
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
    connection.execute(f"SET memory_limit = '{limits.memory_bytes}B'")
    connection.execute(f"SET temp_directory = {quote(str(directory / 'spill'))}")
    connection.execute("SET TimeZone = 'UTC'")
    files = sorted(str(f) for f in (data / "segments").rglob("*.parquet"))
    source = f"read_parquet([{', '.join(quote(f) for f in files)}], union_by_name = true)"
    described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    columns = [(name, kind) for name, kind, *_ in described]
    names = bare_names([name for name, _ in columns])
    selected = ", ".join(f"{expression(name, kind)} AS {ident(names[name])}" for name, kind in columns)
    target = directory / FILE
    connection.execute(
        f"COPY (SELECT {selected} FROM {source}) TO {quote(str(target))} (FORMAT parquet, COMPRESSION zstd)"
    )
    levels = {names[name]: "resource" if name.startswith("resource.") else "record" for name, _ in columns}
    (directory / LEVELS).write_text(json.dumps(levels))
    table = f"read_parquet({quote(str(target))})"
    (events,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    ids = connection.execute(
        f"SELECT trace_id FROM {table} WHERE signal = 'span' AND parent_span_id IS NULL"
        f" GROUP BY 1 ORDER BY hash(trace_id) LIMIT {trace_ids}"
    ).fetchall()
    figures = {"events": events, "columns": len(columns), "bytes": target.stat().st_size}
    return figures | {"trace_ids": [i for (i,) in ids]}


def bare_names(physical: list[str]) -> dict[str, str]:
    """Names without the level, for attributes that exist on one level only."""
    bare = {name: name for name in physical}
    stripped = {
        name: name.split(".", 1)[1]
        for name in physical
        if name.startswith(("resource.", "scope.")) and name not in CORE
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
    """Loads one table in the order of the export, which is nearly that of time."""
    engine = DuckDb(Target("duckdb", database, limits))
    began = time.perf_counter()
    engine.connection.execute(f"CREATE TABLE events AS SELECT * FROM read_parquet({quote(str(export / FILE))})")
    engine.connection.execute("CHECKPOINT")
    seconds = time.perf_counter() - began
    (events,) = engine.connection.execute("SELECT count(*) FROM events").fetchone()
    engine.close()
    return {"events": events, "seconds": seconds, "bytes": (database / "events.duckdb").stat().st_size}


def load_clickhouse(export: Path, database: Path, limits: Limits) -> dict[str, Any]:
    """Loads one table with a column per attribute, sorted by service, name and second."""
    engine = ClickHouse(Target("clickhouse", database, limits))
    described = describe(engine, export)
    low = low_cardinality(export / FILE, [name for name, kind in described if "String" in kind])
    columns = ", ".join(f"{backquote(name)} {column_type(name, kind, low)}" for name, kind in described)
    engine.execute(
        f"""CREATE TABLE events ({columns},
        INDEX idx_trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
        INDEX idx_user `user.id` TYPE bloom_filter(0.01) GRANULARITY 1,
        INDEX idx_duration duration_ns TYPE minmax GRANULARITY 1)
        ENGINE = MergeTree PARTITION BY toDate(timestamp)
        ORDER BY (`service.name`, name, toDateTime(timestamp)) SETTINGS index_granularity = 8192"""
    )
    return insert(engine, export, limits, [value(name, kind) for name, kind in described], block_rows=65_409)


def load_clickhouse_map(export: Path, database: Path, limits: Limits) -> dict[str, Any]:
    """Loads one table like that of the OpenTelemetry Collector's exporter: attributes in maps of text."""
    engine = ClickHouse(Target("clickhouse-map", database, limits))
    levels = json.loads((export / LEVELS).read_text())
    core = {name: column for name, column, _ in MAP_COLUMNS}
    attributes: dict[str, list[str]] = {"resource": [], "record": []}
    for name, _ in describe(engine, export):
        if name not in core:
            attributes[levels[name]].append(f"{quote(name)}, ifNull(toString({backquote(name)}), '')")
    maps = {level: f"mapFilter((k, v) -> v != '', map({', '.join(pairs)}))" for level, pairs in attributes.items()}
    columns = ", ".join(f"{column} {kind} CODEC(ZSTD(1))" for _, column, kind in MAP_COLUMNS)
    engine.execute(
        f"""CREATE TABLE events ({columns},
        ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
        Attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
        INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
        INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
        INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
        INDEX idx_attr_key mapKeys(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
        INDEX idx_attr_value mapValues(Attributes) TYPE bloom_filter(0.01) GRANULARITY 1,
        INDEX idx_duration Duration TYPE minmax GRANULARITY 1)
        ENGINE = MergeTree PARTITION BY toDate(Timestamp)
        ORDER BY (ServiceName, SpanName, toDateTime(Timestamp)) SETTINGS index_granularity = 8192"""
    )
    selected = [map_value(name, kind) for name, _, kind in MAP_COLUMNS] + [maps["resource"], maps["record"]]
    return insert(engine, export, limits, selected, block_rows=16_384)


# Name in the export; name and type in the table with maps.
MAP_COLUMNS = [
    ("timestamp", "Timestamp", "DateTime64(9, 'UTC')"),
    ("signal", "Signal", "LowCardinality(String)"),
    ("trace_id", "TraceId", "String"),
    ("span_id", "SpanId", "String"),
    ("parent_span_id", "ParentSpanId", "String"),
    ("trace_state", "TraceState", "String"),
    ("name", "SpanName", "LowCardinality(String)"),
    ("kind", "SpanKind", "LowCardinality(String)"),
    ("service.name", "ServiceName", "LowCardinality(String)"),
    ("scope.name", "ScopeName", "String"),
    ("scope.version", "ScopeVersion", "String"),
    ("duration_ns", "Duration", "Int64"),
    ("status", "StatusCode", "LowCardinality(String)"),
    ("status_message", "StatusMessage", "String"),
    ("sample_weight", "SampleWeight", "Float64"),
    ("severity_number", "SeverityNumber", "Int64"),
    ("severity", "SeverityText", "LowCardinality(String)"),
    ("body", "Body", "String"),
]


def map_value(name: str, kind: str) -> str:
    if name == "timestamp":
        return "assumeNotNull(timestamp)"
    return f"ifNull({backquote(name)}, {quote('') if 'String' in kind else '0'})"


def describe(engine: ClickHouse, export: Path) -> list[tuple[str, str]]:
    """Names and types of the export's columns, as ClickHouse reads them."""
    lines = engine.execute(f"DESCRIBE {exported(export)}").splitlines()
    return [(fields[0], fields[1]) for fields in (line.split("\t") for line in lines)]


def exported(export: Path) -> str:
    return f"file({quote(str((export / FILE).resolve()))}, Parquet)"


def insert(engine: ClickHouse, export: Path, limits: Limits, selected: list[str], block_rows: int) -> dict[str, Any]:
    began = time.perf_counter()
    engine.execute(
        f"INSERT INTO events SELECT {', '.join(selected)} FROM {exported(export)} SETTINGS"
        f" max_threads = {limits.threads}, max_insert_threads = 1, max_block_size = {block_rows}"
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
    """Text columns with few distinct values in the middle of the table."""
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
    """Expression of a column; missing text becomes empty, as usual in ClickHouse, and a missing duration 0."""
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


LOADS: dict[str, Callable[..., dict[str, Any]]] = {
    "duckdb": load_duckdb,
    "clickhouse": load_clickhouse,
    "clickhouse-map": load_clickhouse_map,
}

"""Whether two engines gave the same answer."""

import datetime
import math
from typing import Any

import pyarrow as pa

from .queries import Query

RELATIVE = 1e-9
QUANTILE = 0.02
TEXT_LENGTH = 80

Row = tuple[Any, ...]


def rows(table: pa.Table) -> list[Row]:
    """The rows in an order of their own, with values as all engines can express them."""
    columns = [[value(v) for v in plain(column).to_pylist()] for column in table.columns]
    if "minute" in table.column_names and pa.types.is_uint32(table["minute"].type):  # ClickHouse's DateTime
        at = table.column_names.index("minute")
        columns[at] = [v * 1_000_000_000 for v in columns[at]]
    if "duration_ns" in table.column_names:  # in ClickHouse what has none has 0
        at = table.column_names.index("duration_ns")
        columns[at] = [v or None for v in columns[at]]
    return sorted(zip(*columns), key=lambda row: [sortable(v) for v in row])


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as nanoseconds since the epoch, so that nothing is rounded."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def value(v: Any) -> Any:
    if isinstance(v, datetime.datetime):
        return int(v.timestamp() * 1_000_000_000)
    if isinstance(v, bytes):
        try:
            text = v.decode()
        except UnicodeDecodeError:
            return v.hex()
        return v.hex() if len(v) in (8, 16) else text or None
    if isinstance(v, float) and v.is_integer() and abs(v) < 2**53:
        return int(v)
    return None if v == "" else v


def sortable(v: Any) -> tuple:
    if v is None:
        return (0,)
    if isinstance(v, bool | int | float):
        return (1, float(f"{v:.6g}"))  # two that are equal but for rounding sort alike
    return (2, str(v))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=1e-12)
    return a == b


def difference(query: Query, expected: pa.Table, got: pa.Table) -> str | None:
    """What is different, in a line, or None."""
    a, b = rows(expected), rows(got)
    if len(a) != len(b):
        return f"{len(a)} rows and {len(b)}"
    if query.order is not None and a:
        a, b = above_the_cut(a, query.order), above_the_cut(b, query.order)
        if len(a) != len(b):
            return f"{len(a)} rows above the cut and {len(b)}"
    for x, y in zip(a, b):
        if len(x) != len(y) or not all(same(v, w) for v, w in zip(x, y)):
            return f"{short(x)} and {short(y)}"
    return None


def above_the_cut(sorted_rows: list[Row], column: int) -> list[Row]:
    """Without the rows that are level with the last one."""
    last = min(row[column] for row in sorted_rows)
    return [row for row in sorted_rows if row[column] != last]


def quantile_difference(query: Query, exact: pa.Table, got: pa.Table, whole: bool) -> str | None:
    """Holds an answer (group, quantile, count) against the exact (group, count, low, high)."""
    assert query.quantile == 1
    bounds = {row[0]: row[1:] for row in rows(exact)}
    answer = {row[0]: row[1:] for row in rows(got)}
    for group, (quantile, count) in answer.items():
        if group not in bounds:
            return f"{group!r} is no group"
        exact_count, low, high = bounds[group]
        if count != exact_count:
            return f"{group!r} has {exact_count} rows, not {count}"
        if not low * (1 - QUANTILE) <= quantile <= high * (1 + QUANTILE):
            return f"{group!r} is {quantile:.1f} where {low:.1f} to {high:.1f} is exact"
    missing = bounds.keys() - answer.keys()
    if whole:
        return f"{len(missing)} groups are missing" if missing else None
    least = min(quantile for quantile, _ in answer.values()) if answer else math.inf
    for group in missing:
        if bounds[group][1] * (1 - QUANTILE) > least * (1 + QUANTILE):
            return f"{group!r} is missing with {bounds[group][1]:.1f}, the least is {least:.1f}"
    return None


def trace_difference(ours: pa.Table, theirs: pa.Table) -> str | None:
    """All columns of a trace: ours has a map `attributes`, theirs a column per attribute."""
    if ours.num_rows != theirs.num_rows:
        return f"{theirs.num_rows} rows and {ours.num_rows}"
    core = [name for name in ours.column_names if name in theirs.column_names and name != "overflow"]
    known = rows(theirs.select(core))
    for x, y in zip(known, rows(ours.select(core))):
        for name, v, w in zip(core, x, y):
            if not same(v, w):
                return f"{name}: {short((v,))} and {short((w,))}"
    return None


def short(row: Row) -> str:
    text = ", ".join(str(v) for v in row)
    return f"({text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + '…'})"

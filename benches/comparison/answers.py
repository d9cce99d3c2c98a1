"""Compares the results of two engines.

Rows are compared regardless of their order, because engines break ties differently; a separate check tests
the order of each result. Empty text and durations of 0 count as missing, because ClickHouse stores missing
values like that. Exact numbers may differ by rounding, quantiles by 2 %.
"""

import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute

from .load import CORE
from .queries import Query

ROUNDING = 1e-9
QUANTILE_ERROR = 0.02
TEXT_LENGTH = 120

Row = tuple[Any, ...]


def difference(query: Query, expected: pa.Table, got: pa.Table) -> str | None:
    """Describes the first difference in a line; None without one."""
    a, b = rows(expected), rows(got)
    if len(a) != len(b):
        return f"{len(b)} rows instead of {len(a)}"
    if query.cut:
        a, b = above_the_cut(a, query.order), above_the_cut(b, query.order)
    for expected_row, row in zip(a, b):
        if len(expected_row) != len(row) or not all(map(same, expected_row, row)):
            return f"{short(row)} instead of {short(expected_row)}"
    return None if len(a) == len(b) else f"{len(b)} rows above the last instead of {len(a)}"


def disorder(query: Query, table: pa.Table) -> str | None:
    """Describes the first pair of rows that is not in the query's order; None if all are."""
    column, down = query.order
    if query.attributes:
        column = next((i for i, name in enumerate(table.column_names) if name.lower() == "timestamp"), column)
    values = [v for v in values_of(table, column) if v is not None]
    pairs = zip(values[1:], values) if down else zip(values, values[1:])
    wrong = next((i for i, (low, high) in enumerate(pairs) if low > high), None)
    return None if wrong is None else f"rows {wrong + 1} and {wrong + 2} are out of order"


def quantile_difference(query: Query, exact: pa.Table, got: pa.Table) -> str | None:
    """Compares a result (group, quantile, count) with the exact one (group, count, low, high)."""
    bounds = {row[0]: row[1:] for row in rows(exact)}
    answer = {row[0]: row[1:] for row in rows(got)}
    for group, (quantile, count) in answer.items():
        if group not in bounds:
            return f"{group!r} is not a group of the exact result"
        exact_count, low, high = bounds[group]
        if count != exact_count:
            return f"{group!r} has {count} rows instead of {exact_count}"
        if not low * (1 - QUANTILE_ERROR) <= quantile <= high * (1 + QUANTILE_ERROR):
            return f"{group!r} is {quantile:.1f}, the exact value is {low:.1f} to {high:.1f}"
    missing = bounds.keys() - answer.keys()
    if not query.cut:
        return f"{len(missing)} groups are missing" if missing else None
    least = min((quantile for quantile, _ in answer.values()), default=0.0)
    for group in missing:
        if bounds[group][1] * (1 - QUANTILE_ERROR) > least * (1 + QUANTILE_ERROR):
            return f"{group!r} with {bounds[group][1]:.1f} is missing, although a group with {least:.1f} is there"
    return None


def trace_difference(expected: pa.Table, got: pa.Table) -> str | None:
    """Compares all columns of a trace; the attributes may be a map on one side."""
    if expected.num_rows != got.num_rows:
        return f"{got.num_rows} rows instead of {expected.num_rows}"
    if "trace_id" not in got.column_names:  # the table with maps has other names
        return None
    common = [n for n in got.column_names if n in expected.column_names and n != "overflow"]
    a, b = in_order(expected), in_order(got)
    columns_a, columns_b = plain_columns(a.select(common)), plain_columns(b.select(common))
    for name, of_a, of_b in zip(common, columns_a, columns_b):
        for v, w in zip(of_a, of_b):
            if not same(v, w):
                return f"{name} is {short((w,))} instead of {short((v,))}"
    if "attributes" not in got.column_names:
        return None
    for row, attributes in zip(a.to_pylist(), b["attributes"].to_pylist()):
        if found := attributes_difference(row, dict(attributes)):
            return found
    return None


def in_order(table: pa.Table) -> pa.Table:
    """Sorts by time and ids; events of one span in the same nanosecond are ordered by name."""
    keys = [values_of(table, table.column_names.index(n)) for n in ("timestamp", "span_id", "signal", "name", "body")]
    order = sorted(range(table.num_rows), key=lambda i: [sortable(key[i]) for key in keys])
    return table.take(order)


def attributes_difference(row: dict[str, Any], attributes: dict[str, str]) -> str | None:
    """Compares a map of texts with the columns of a row and the attributes in its overflow."""
    overflow = json.loads(row["overflow"]) if row.get("overflow") else {}
    expected = {k: v for k, v in row.items() if k not in CORE and v is not None and v != ""}
    for key, v in overflow.items():
        expected[key.removeprefix("resource.").removeprefix("scope.")] = v
    for key, v in expected.items():
        if key not in attributes:
            return f"attribute {key} is missing"
        if not means(attributes[key], v):
            return f"attribute {key} is {attributes[key]!r} instead of {v!r}"
    more = [key for key in attributes if key not in expected and attributes[key]]
    return f"attribute {more[0]} is unexpected" if more else None


def means(text: str, v: Any) -> bool:
    """True if `text` is the value `v` written as text."""
    if isinstance(v, bool):
        return text == str(v).lower()
    if isinstance(v, int | float):
        return float(text) == v
    return text == v


def rows(table: pa.Table) -> list[Row]:
    """Sorts the rows, with values in a form that all engines can express."""
    return sorted(zip(*plain_columns(table)), key=lambda row: [sortable(v) for v in row])


def plain_columns(table: pa.Table) -> list[list[Any]]:
    return [values_of(table, i) for i in range(table.num_columns)]


def values_of(table: pa.Table, column: int) -> list[Any]:
    name, array = table.column_names[column], table.column(column)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if name == "minute" and pa.types.is_uint32(array.type):  # ClickHouse's DateTime is seconds
        array = compute.multiply(array.cast(pa.int64()), 1_000_000_000)
    if pa.types.is_timestamp(array.type):  # nanoseconds since the epoch, so that nothing is rounded
        array = array.cast(pa.timestamp("ns", tz=array.type.tz)).cast(pa.int64())
    if pa.types.is_map(array.type):
        return [str(v) for v in array.to_pylist()]
    values = [plain(v) for v in array.to_pylist()]
    return [v or None for v in values] if name == "duration_ns" else values


def plain(v: Any) -> Any:
    if isinstance(v, bytes):  # an id
        return v.hex()
    return None if v == "" else v


def sortable(v: Any) -> tuple[Any, ...]:
    if v is None:
        return (0,)
    if isinstance(v, float):
        return (1, float(f"{v:.6g}"))  # numbers that differ only by rounding sort alike
    if isinstance(v, int):
        return (1, v)
    return (2, str(v))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(a, b, rel_tol=ROUNDING, abs_tol=1e-12)
    return a == b


def above_the_cut(sorted_rows: list[Row], order: tuple[int, bool]) -> list[Row]:
    """Removes the rows that tie with the last one."""
    column, down = order
    if not sorted_rows:
        return []
    values = [row[column] for row in sorted_rows]
    last = min(values) if down else max(values)
    return [row for row in sorted_rows if row[column] != last]


def short(row: Row) -> str:
    text = ", ".join(str(v) for v in row)
    return f"({text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH] + '…'})"

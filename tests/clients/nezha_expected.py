#!/usr/bin/env python3
"""What the Nezha traces and logs say, computed by DuckDB from the CSV files alone.

    pip install duckdb
    tests/clients/nezha_expected.py DIRECTORY > tests/it/nezha_expected/NAME.json

DIRECTORY holds `trainticket-2023-01-30-{trace,log}.csv` and `onlineboutique-2022-08-22-{trace,log}.csv`,
plain or `.zst`, and the lists of faults. The test `tests/it/nezha.rs` asks the same of Broadloom and
compares. Two sets are checked in: `excerpt` is of `testdata/nezha`, `full` of the whole files.

Definitions, so that there is one answer:
- A service is the pod's name without the ReplicaSet's hash and the pod's suffix.
- A span lasts EndTimeUnixNano - StartTimeUnixNano; `Duration` is the same in microseconds, truncated.
- The time of a log line is TimeUnixNano; where that is Go's zero time (79 lines), it is Timestamp.
- A minute is that of the start, UTC.
- p99 is given as two neighbours: the values at the ranks floor(0.99 (n - 1)) and ceil(0.99 (n - 1)), counted
  from 0, between which every definition of the quantile lies. Operations with fewer than `SPANS_MIN` spans in the
  minute are left out, of the full set also most others: every `KEEP`th group is kept.
- The slowest service of a fault window, the two minutes from an injection, is the one with the largest
  mean duration of its spans; the mean is given as sum and count, which are exact.
"""

import glob
import json
import os
import sys

import duckdb

SPANS_MIN = 5
KEEP = 25
WINDOW_S = 120
SERVICE = r"regexp_replace(PodName, '-[bcdfghjklmnpqrstvwxz2456789]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}$', '')"

FILES = {
    "trainticket": ("trainticket-2023-01-30", "2023-01-30-fault_list.json"),
    "onlineboutique": ("onlineboutique-2022-08-22", "2022-08-22-fault_list.json"),
}


def rows(db, sql):
    cursor = db.sql(sql)
    return [dict(zip(cursor.columns, row)) for row in cursor.fetchall()]


def expected(directory):
    db = duckdb.connect()
    out = {}
    for name, (stem, faults) in FILES.items():
        for kind in ("trace", "log"):
            (path,) = glob.glob(os.path.join(directory, f"{stem}-{kind}.csv*"))
            db.sql(f"create or replace table {kind} as from read_csv('{path}', header=true, all_varchar=true)")
        db.sql(f"""create or replace table span as select *, {SERVICE} as service,
                   StartTimeUnixNano::bigint as start_ns, EndTimeUnixNano::bigint - StartTimeUnixNano::bigint as duration_ns
                   from trace""")
        spans = db.sql("select count(*) from span").fetchall()[0][0]
        logs = db.sql("select count(*) from log").fetchall()[0][0]
        keep = 1 if spans < 1000 else KEEP
        services = rows(db, "select service, count(*) as spans from span group by 1 order by 1")
        p99 = rows(db, f"""
            with groups as (
                select OperationName as operation, start_ns // 60000000000 * 60 as minute, count(*) as n,
                       list_sort(list(duration_ns)) as d
                from span group by all having count(*) >= {SPANS_MIN}),
            numbered as (select *, row_number() over (order by operation, minute) as i from groups)
            select operation, minute, n as spans,
                   d[1 + floor(0.99 * (n - 1))::bigint] as low_ns,
                   d[1 + ceil(0.99 * (n - 1))::bigint] as high_ns
            from numbered where (i - 1) % {keep} = 0 order by 1, 2""")
        trace_id = db.sql("select TraceID from log group by 1 order by count(*) desc, 1 limit 1").fetchall()[0][0]
        lines = rows(db, f"""
            select if(TimeUnixNano::bigint > 0, TimeUnixNano::bigint, epoch_ns(Timestamp::timestamp)) as time_ns, {SERVICE} as service, SpanID as span_id, md5(Log) as body_md5
            from log where TraceID = '{trace_id}' order by 1, 3, 4""")
        windows = []
        with open(os.path.join(directory, faults)) as file:
            injections = [fault for hour in json.load(file).values() for fault in hour]
        for fault in injections:
            start = int(fault["inject_timestamp"])
            slowest = rows(db, f"""
                select service, count(*) as spans, sum(duration_ns)::bigint as sum_ns from span
                where start_ns >= {start * 10**9} and start_ns < {(start + WINDOW_S) * 10**9}
                group by 1 order by sum(duration_ns)::hugeint / count(*) desc, 1 limit 1""")
            if slowest:
                windows.append({"start": start, "pod": fault["inject_pod"], "kind": fault["inject_type"], **slowest[0]})
        out[name] = {
            "spans": spans, "logs": logs, "services": services, "p99": p99,
            "trace": {"id": trace_id, "lines": lines}, "windows": windows,
        }
    return out


def compact(value, indent=0):
    """JSON with one row a line."""
    pad = " " * indent
    if isinstance(value, dict) and any(isinstance(v, (dict, list)) for v in value.values()):
        items = [f'{pad} {json.dumps(k)}: {compact(v, indent + 1)}' for k, v in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{pad}}}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"{pad} {json.dumps(v)}" for v in value) + f"\n{pad}]"
    return json.dumps(value)


if __name__ == "__main__":
    print(compact(expected(sys.argv[1])))

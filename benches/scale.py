#!/usr/bin/env python3
"""Does a query take longer if there are more events that it does not need?

Runs queries on several data directories: traces by id, and the last hour of events in several ways. In each
round every directory gets a turn, with a server of its own. The directories must have about the same number of
events per hour, like corpora of `broadloom demo` with --minutes in proportion to --events.

  BROADLOOM=PROGRAM benches/scale.py DIR DIR…
"""

import argparse
import datetime
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

try:
    from comparison.engines import Broadloom, Limits, Target
except ImportError as missing:
    sys.exit(f"{missing}; run this with the Python environment that benches/compare.sh installs")

HOUR = datetime.timedelta(hours=1)
MEMORY_BYTES = 8 << 30

# {time} is the condition for the hour, {id} a trace id, {absent} a trace id that does not exist.
QUESTIONS = {
    "a trace by id, all columns": "SELECT * FROM trace('{id}')",
    "a trace by id, 8 columns": "SELECT timestamp, duration_ns, span_id, parent_span_id, service.name, name, kind, status "
    "FROM trace('{id}')",
    "a trace id that does not exist": "SELECT * FROM trace('{absent}')",
    "events by minute": "SELECT date_trunc('minute', timestamp) AS m, count(*) FROM events WHERE {time} GROUP BY 1",
    "p99 by os.version of a route in a region": "SELECT os.version, p99(duration_ns), count(*) FROM spans WHERE {time} "
    "AND cloud.region = 'eu-west' AND http.request.method = 'POST' AND http.route = '/checkout' GROUP BY 1",
    "error rate by service": "SELECT service.name, count(*) FILTER (WHERE status = 'error') * 1.0 / count(*) "
    "FROM spans WHERE {time} GROUP BY 1",
    "users with the worst p99": "SELECT user.id, p99(duration_ns) AS p FROM spans WHERE {time} GROUP BY 1 ORDER BY p DESC LIMIT 20",
    "logs that contain a text": "SELECT timestamp, service.name, body FROM logs WHERE {time} "
    "AND body LIKE '%could not serialize access%' ORDER BY timestamp LIMIT 200",
    "logs with a rare word": "SELECT timestamp, service.name, body FROM logs WHERE search('payment_methods_wallet_token_idx') "
    "ORDER BY timestamp LIMIT 200",
    "the same by a scan": "SELECT timestamp, service.name, body FROM logs WHERE body ILIKE '%payment_methods_wallet_token_idx%' "
    "ORDER BY timestamp LIMIT 200",
    "a word that no log has": "SELECT count(*) FROM logs WHERE search('zzyzx')",
    "the same by a scan of all": "SELECT count(*) FROM logs WHERE body ILIKE '%zzyzx%'",
    "patterns of logs": "SELECT * FROM log_patterns((SELECT * FROM logs WHERE {time}))",
    "calls by service": "SELECT service.name, count(*), avg(duration_ns), p99(duration_ns) FROM spans WHERE {time} GROUP BY 1",
    "the same, weighted": "SET weighted = on; SELECT service.name, count(*), avg(duration_ns), p99(duration_ns) FROM spans "
    "WHERE {time} GROUP BY 1",
    "the same with bounds": "SELECT service.name, estimate(count(*)), estimate(avg(duration_ns)), estimate(p99(duration_ns)) "
    "FROM spans WHERE {time} GROUP BY 1",
    "objectives by service": "SELECT * FROM slo_status((SELECT * FROM spans WHERE kind = 'server'), 0.999, "
    "period => INTERVAL '36500 days')",
    "rate of a counter by service": "SELECT * FROM rate((SELECT * FROM metrics WHERE {time} AND name = 'process.cpu.time'), "
    "by => service.name, fill => true)",
    "p99 of a histogram by route": "SELECT * FROM histogram_quantile((SELECT * FROM metrics WHERE {time} "
    "AND name = 'http.server.request.duration'), 0.99, by => http.route)",
    "golden signals by service": "SELECT * FROM golden_signals((SELECT * FROM events WHERE {time}), calls => kind = 'server', "
    "saturation => 'process.cpu.utilization', fill => true)",
    "all attributes": "SELECT key, level, types, events, share, first_seen, last_seen FROM attributes",
    "all attributes with values": "SELECT * FROM attributes",
    "values of an attribute": "SELECT * FROM attribute_values(http.route, '/c')",
    "keys of the errors": "SELECT * FROM keys_of((SELECT * FROM spans WHERE {time} AND status = 'error'))",
    "a trace as a tree": "SELECT * FROM trace_rows('{id}')",
    "a critical path": "SELECT * FROM critical_path('{id}')",
    "traces with an error below the gateway": "SELECT * FROM find_traces((SELECT * FROM spans WHERE {time}), 'a >> b', "
    "service.name = 'gateway', status = 'error')",
    "who calls whom": "SELECT * FROM service_graph",
    "the newest 100 events": "SELECT timestamp, name, service.name FROM events ORDER BY timestamp DESC LIMIT 100",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path, metavar="DIR", help="data directories; ratios are to the first")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which every directory gets a turn; default 3")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each query per round, after two more; default 20")
    options = parser.parse_args()
    program = os.environ.get("BROADLOOM") or parser.error("set the variable BROADLOOM to the program's path")
    times: dict[str, list[list[float]]] = {name: [[] for _ in options.data] for name in QUESTIONS}
    events = [0] * len(options.data)
    for _ in range(options.rounds):
        for i, data in enumerate(options.data):
            events[i] = ask(program, data, options.runs, {name: all_of[i] for name, all_of in times.items()})
    report(events, times)


def ask(program: str, data: Path, runs: int, times: dict[str, list[float]]) -> int:
    """Runs every query `runs` times; returns the number of events."""
    engine = Broadloom(Target("broadloom", data, Limits(os.cpu_count() or 1, MEMORY_BYTES), program))
    try:
        last = engine.sql("SELECT max(timestamp) AS t FROM events")["t"][0].as_py()
        hour = [(last - n * HOUR).isoformat() for n in (1, 0)]
        where = f"timestamp >= '{hour[0]}' AND timestamp <= '{hour[1]}'"
        found = engine.sql(f"SELECT DISTINCT trace_id FROM spans WHERE {where} AND trace_id IS NOT NULL LIMIT {runs + 2}")
        ids = [str(id) if not isinstance(id, bytes) else id.hex() for id in found["trace_id"].to_pylist()]
        for name, question in QUESTIONS.items():
            for run in range(runs + 2):
                sql = question.replace("{time}", where).replace("{id}", ids[run % len(ids)])
                sql = sql.replace("{absent}", f"{run + 1:032x}")
                began = time.perf_counter()
                engine.sql(sql)
                if run >= 2:
                    times[name].append((time.perf_counter() - began) * 1e3)
        return engine.sql("SELECT count(*) AS n FROM events")["n"][0].as_py()
    finally:
        engine.close()


def report(events: list[int], times: dict[str, list[list[float]]]) -> None:
    """Prints medians in milliseconds, best runs in brackets, and ratios of both to those of the first directory."""
    print("| milliseconds: median (best) | " + " | ".join(f"{n:,} events" for n in events) + " | ratio |")
    print("|---|" + "--:|" * (len(events) + 1))
    for name, all_of in times.items():
        middle, best = [statistics.median(of) for of in all_of], [min(of) for of in all_of]
        cells = [f"{m:.1f} ({b:.1f})" for m, b in zip(middle, best)]
        ratios = [f"{m / middle[0]:.2f} ({b / best[0]:.2f})" for m, b in zip(middle[1:], best[1:])]
        print(f"| {name} | " + " | ".join(cells) + " | " + ", ".join(ratios) + " |")


if __name__ == "__main__":
    main()

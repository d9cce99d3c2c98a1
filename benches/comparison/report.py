"""The figures as a table for people."""

import math
import statistics
from typing import Any


def markdown(figures: dict[str, Any]) -> str:
    engines = figures["engines"]
    peers = [e for e in engines if e != "broadloom"]
    lines = ["| query | rows | " + " | ".join(f"{e} ms" for e in engines) + " | ratio | " + " | ".join(f"{e} cold ms" for e in engines) + " | cold ratio |"]
    lines.append("|---|" + "---:|" * (2 * len(engines) + 3))
    ratios: dict[str, list[float]] = {"warm": [], "cold": []}
    for query in figures["queries"]:
        cells = [query["title"], str(query["rows"])]
        for which in ("warm", "cold"):
            medians = {e: statistics.median(ms) for e, ms in query[f"{which}_ms"].items() if ms}
            cells += [milliseconds(medians.get(e)) for e in engines]
            known = [medians[e] for e in peers if e in medians]
            if "broadloom" in medians and known:
                ratios[which].append(medians["broadloom"] / min(known))
                cells.append(f"{ratios[which][-1]:.2f}")
            else:
                cells.append("–")
        lines.append("| " + " | ".join(cells) + " |")
    mean = {which: f"{math.exp(statistics.fmean(map(math.log, r))):.2f}" if r else "–" for which, r in ratios.items()}
    lines.append("| **geometric mean** | | " + " | ".join("" for _ in engines) + f" | **{mean['warm']}** | " + " | ".join("" for _ in engines) + f" | **{mean['cold']}** |")
    lines.append("")
    for engine in engines:
        floor = statistics.median(figures["floor_ms"][engine])
        peak = figures["peak_bytes"][engine] / 2**20
        lines.append(f"- {engine}: `select 1` {floor:.2f} ms, peak memory {peak:,.0f} MiB")
    for query in figures["queries"]:
        if query["name"].startswith("trace"):
            for e, ms in query["warm_ms"].items():
                if ms:
                    s = sorted(ms)
                    lines.append(f"- {query['name']} {e}: p50 {statistics.median(s):.2f}, p99 {s[int(len(s) * 0.99)]:.2f}, max {s[-1]:.2f} ms, n={len(s)}")
    for name, step in figures["steps"].items():
        lines.append(f"- {name}: " + ", ".join(f"{k} {v:,.1f}" if isinstance(v, float) else f"{k} {v:,}" for k, v in step.items()) + (f", {step['bytes'] / figures['events']:.1f} B/event" if "bytes" in step else ""))
    return "\n".join(lines)


def milliseconds(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"

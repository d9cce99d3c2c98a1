"""The figures as tables for people."""

import math
import statistics
from typing import Any

MIB = 2**20
Cells = list[str]


def markdown(figures: dict[str, Any]) -> str:
    parts = [heading(figures), queries(figures), lookups(figures), loads(figures), engines(figures), problems(figures)]
    return "\n\n".join(part for part in parts if part)


def heading(figures: dict[str, Any]) -> str:
    machine, settings = figures["machine"], figures["settings"]
    compacted = "compacted" if settings["compacted"] else "not compacted"
    return (
        f"{figures['events']:,} events ({figures['corpus']}, {compacted}); {settings['threads']} threads of"
        f" {machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_bytes'] / 2**30:.0f} GiB; medians in ms of"
        f" {settings['rounds']} round{'s' if settings['rounds'] > 1 else ''}; ratio = Broadloom / the faster peer"
    )


def table(head: Cells, lines: list[Cells], text_columns: int = 1) -> str:
    rule = ["---"] * text_columns + ["---:"] * (len(head) - text_columns)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])


def queries(figures: dict[str, Any]) -> str:
    names = list(figures["engines"])
    cold = any(any(ms for ms in q["cold_ms"].values()) for q in figures["queries"])
    phases = ["warm", "cold"] if cold else ["warm"]
    head = ["query", "rows"]
    for phase in phases:
        head += [f"{name} {phase}".removesuffix(" warm") for name in names] + [f"{phase} ratio".removeprefix("warm ")]
    lines = []
    for query in figures["queries"]:
        cells = [query["title"], f"{query['rows']:,}"]
        for phase in phases:
            cells += [milliseconds(median(query[f"{phase}_ms"][name])) for name in names] + [two(ratio(query, phase))]
        lines.append(cells)
    last = ["**geometric mean of ratios**", ""]
    for phase in phases:
        mean = geometric_mean([r for q in figures["queries"] if (r := ratio(q, phase)) is not None])
        last += [""] * len(names) + [f"**{two(mean)}**"]
    return table(head, [*lines, last])


def lookups(figures: dict[str, Any]) -> str:
    names = list(figures["engines"])
    lines = []
    for query in figures["queries"]:
        if query["lookups"]:
            times = [query["warm_ms"][name] for name in names]
            lines.append([query["title"], *(f"{spread(ms)}" for ms in times)])
    return table(["lookups, p50 / p99 / max ms", *names], lines) if lines else ""


def loads(figures: dict[str, Any]) -> str:
    lines = []
    for name, step in figures["steps"].items():
        seconds, events = step["seconds"], step.get("events", figures["events"])
        stored = step.get("bytes")
        lines.append(
            [
                LOAD_TITLES.get(name, name.removeprefix("load ") + " from the export"),
                f"{events:,}",
                f"{seconds:.1f}",
                f"{events / seconds:,.0f}",
                f"{step['peak_bytes'] / MIB:,.0f}",
                f"{stored / 1e6:,.0f}" if stored else "–",
                f"{stored / events:.1f}" if stored else "–",
            ]
        )
    head = ["load", "events", "s", "events/s", "peak MiB", "MB stored", "bytes/event"]
    return table(head, lines)


LOAD_TITLES = {
    "broadloom": "broadloom, the corpus",
    "import": "broadloom from OTLP files",
    "export": "export to one Parquet file",
    "compact": "broadloom compact",
}


def engines(figures: dict[str, Any]) -> str:
    lines = []
    for name, engine in figures["engines"].items():
        lines.append(
            [
                name,
                engine["version"],
                milliseconds(median(engine["first_ms"])),
                milliseconds(median(engine["floor_ms"])),
                f"{engine['opened_bytes'] / MIB:,.0f}",
                f"{engine['peak_bytes'] / MIB:,.0f}",
                f"{statistics.fmean(engine['others_cpu']):.0%}",
            ]
        )
    head = ["engine", "version", "first `SELECT 1` ms", "`SELECT 1` ms", "MiB opened", "peak MiB", "CPU taken by others"]
    return table(head, lines, text_columns=2)


def problems(figures: dict[str, Any]) -> str:
    lines = []
    for query in figures["queries"]:
        lines += [f"- {query['name']}: {engine} fails: {text}" for engine, text in query["failures"].items()]
        lines += [f"- {query['name']}: {engine} differs: {text}" for engine, text in query["differences"].items()]
    return "\n".join(lines) if lines else "All answers agree."


def median(ms: list[float]) -> float | None:
    return statistics.median(ms) if ms else None


def ratio(query: dict[str, Any], phase: str) -> float | None:
    medians = {name: statistics.median(ms) for name, ms in query[f"{phase}_ms"].items() if ms}
    ours = medians.pop("broadloom", None)
    return ours / min(medians.values()) if ours is not None and medians else None


def geometric_mean(values: list[float]) -> float | None:
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def two(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"


def milliseconds(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def spread(ms: list[float]) -> str:
    if not ms:
        return "–"
    ordered = sorted(ms)
    picked = (statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])
    return " / ".join(milliseconds(v) for v in picked)

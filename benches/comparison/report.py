"""Prints the measurements as Markdown tables."""

import statistics
from collections.abc import Callable
from typing import Any

MIB = 2**20
Cells = list[str]


def markdown(figures: dict[str, Any]) -> str:
    parts = [queries(figures), lookups(figures), effort(figures), loads(figures), engines(figures), problems(figures)]
    parts = [heading(figures), *parts]
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
    """The main table: medians of warm and cold runs."""
    cold = any(any(ms for ms in q["cold_ms"].values()) for q in figures["queries"])
    phases = [("", "warm_ms", median)] + ([(" cold", "cold_ms", median)] if cold else [])
    return by_query(figures, "query", phases)


def effort(figures: dict[str, Any]) -> str:
    """Table of best runs and CPU times, which other programs disturb less than medians."""
    phases = [(" best", "warm_ms", min), (" CPU", "warm_cpu_ms", median)]
    return by_query(figures, "warm, best run and CPU time", phases)


Phase = tuple[str, str, Callable[[list[float]], float]]


def by_query(figures: dict[str, Any], title: str, phases: list[Phase]) -> str:
    names = list(figures["engines"])
    head = [title, "rows"]
    for suffix, _, _ in phases:
        head += [f"{name}{suffix}" for name in names] + [f"ratio{suffix}"]
    lines = []
    ratios: list[list[float]] = [[] for _ in phases]
    for query in figures["queries"]:
        cells = [query["title"], f"{query['rows']:,}"]
        for (_, key, statistic), of_phase in zip(phases, ratios):
            times = {name: statistic(ms) for name, ms in query[key].items() if ms}
            cells += [milliseconds(times.get(name)) for name in names]
            quotient = ratio(times)
            cells.append("–" if quotient is None else f"{quotient:.2f}")
            of_phase += [] if quotient is None else [quotient]
        lines.append(cells)
    last = ["**geometric mean of ratios**", ""]
    for of_phase in ratios:
        mean = f"**{statistics.geometric_mean(of_phase):.2f}**" if of_phase else "–"
        last += [""] * len(names) + [mean]
    return table(head, [*lines, last])


def ratio(times: dict[str, float]) -> float | None:
    """Broadloom's time divided by that of the fastest peer; None without both."""
    peers = [time for name, time in times.items() if name != "broadloom"]
    return times["broadloom"] / min(peers) if "broadloom" in times and peers else None


def lookups(figures: dict[str, Any]) -> str:
    names = list(figures["engines"])
    asked = [query for query in figures["queries"] if query["lookups"]]
    lines = [[query["title"], *(spread(query["warm_ms"][name]) for name in names)] for query in asked]
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
    "before": "the other build, the corpus",
    "compact before": "the other build's compact",
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
    return "\n".join(lines) if lines else "All results agree."


def median(ms: list[float]) -> float:
    return statistics.median(ms)


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

"""The corpus and its databases: made once per size, kept in the work directory, and reused.

```text
DIR/steps.json      finished steps, with their measurements
DIR/broadloom/      data directory
DIR/compacted/      data directory after `broadloom compact`
DIR/before/, DIR/before-compacted/      the same, stored by the program of --before
DIR/export/         the same events as one Parquet table, from which the peers are loaded
DIR/duckdb/, DIR/clickhouse/, DIR/clickhouse-map/
```
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import load
from .engines import Limits

START = "2026-01-05T08:00:00Z"
TRACE_IDS = 1000
REJECTED = 3

Figures = dict[str, Any]


class Failed(Exception):
    """A program or file outside of this one failed; the text is for the user."""


@dataclass(frozen=True)
class Source:
    """Source of the events: the demo's generator, or OTLP files."""

    events: int
    minutes: int
    seed: int
    otlp: Path | None

    def name(self) -> str:
        if self.otlp is None:
            return f"demo-{self.events}-{self.minutes}m-s{self.seed}"
        names = "\n".join(f"{f.relative_to(self.otlp)} {f.stat().st_size}" for f in sorted(self.otlp.rglob("*")))
        return f"otlp-{self.otlp.resolve().name}-{hashlib.sha256(names.encode()).hexdigest()[:8]}"


def say(text: str) -> None:
    """Prints progress on stderr; stdout is for the result."""
    print(text, file=sys.stderr, flush=True)


def bytes_below(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.is_symlink())


def segments(data: Path) -> int:
    return sum(1 for _ in (data / "segments").rglob("*.parquet"))


def run(command: list[str], allowed: tuple[int, ...] = (0,)) -> Figures:
    """Runs a program to its end; returns seconds, peak memory and exit code."""
    began = time.perf_counter()
    try:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    except OSError as error:
        raise Failed(f"cannot start {command[0]}: {error}") from error
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in allowed:
        raise Failed(f"`{' '.join(command)}` ended with exit code {process.returncode}; its output above says why")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024, "exit": process.returncode}


class Corpus:
    def __init__(self, directory: Path, source: Source, broadloom: str, before: str, limits: Limits) -> None:
        self.directory = directory
        self.source = source
        self.broadloom = broadloom
        self.before = before
        self.limits = limits
        directory.mkdir(parents=True, exist_ok=True)
        self.steps: dict[str, Figures] = {}
        self._compacted = False
        if self._file().exists():
            self.steps = json.loads(self._file().read_text())

    def make(self, peers: list[str], compact: bool, otlp_sample: int) -> None:
        """Runs the steps that are not finished."""
        programs = {"broadloom": self.broadloom} | ({"before": self.before} if "before" in peers else {})
        for name, program in programs.items():
            self._step(name, lambda name=name, program=program: self._make_broadloom(name, program))
            if self.steps[name]["program"] != stamp(program):
                say(f"note: another build stored the data of {name}; --reload stores them again")
        if otlp_sample and self.source.otlp is None:
            self._step("import", lambda: self._measure_import(otlp_sample))
        self._step("export", self._export)
        for peer in peers:
            if peer in load.LOADS:
                self._step(f"load {peer}", lambda peer=peer: self._load(peer))
        if compact and all(can_compact(program) for program in programs.values()):
            self._step("compact", lambda: self._compact("broadloom", "compacted", self.broadloom))
            if "before" in programs:
                self._step("compact before", lambda: self._compact("before", "before-compacted", self.before))
            self._compacted = True

    def forget(self, what: list[str]) -> None:
        """Marks these steps, and those that depend on them, as not finished."""
        after = {
            "broadloom": ["export", "compact"],
            "before": ["compact before"],
            "export": [f"load {peer}" for peer in load.LOADS],
        }
        for step in what:
            self.steps.pop(step, None)
            self.forget(after.get(step, []))

    def data(self, engine: str) -> Path:
        """Directory that is measured."""
        compacted = {"broadloom": "compacted", "before": "before-compacted"} if self._compacted else {}
        return self._path(compacted.get(engine, engine))

    def events(self) -> int:
        return self.steps["export"]["events"]

    def trace_ids(self, count: int) -> list[str]:
        return self.steps["export"]["trace_ids"][:count]

    def absent_ids(self, count: int) -> list[str]:
        dice = random.Random(self.source.seed)
        return [f"{dice.getrandbits(128):032x}" for _ in range(count)]

    def figures(self) -> dict[str, Figures]:
        hidden = ("trace_ids", "program", "exit")
        return {name: {k: v for k, v in step.items() if k not in hidden} for name, step in self.steps.items()}

    def _file(self) -> Path:
        return self.directory / "steps.json"

    def _path(self, name: str) -> Path:
        return self.directory / name

    def _step(self, name: str, do: Callable[[], Figures]) -> None:
        """Runs a step unless it is finished, and saves its measurements."""
        if name in self.steps:
            return
        say(f"{name} …")
        try:
            self.steps[name] = do()
        except RuntimeError as error:
            raise Failed(f"{name}: {error}") from error
        self._file().write_text(json.dumps(self.steps, indent=1))

    def _fresh(self, name: str) -> Path:
        path = self._path(name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def _make_broadloom(self, name: str, program: str) -> Figures:
        data = self._fresh(name)
        command = [program, "--data", str(data)]
        if self.source.otlp is not None:
            figures = run(command + ["import", str(self.source.otlp)], allowed=(0, REJECTED))
        else:
            demo = ["demo", "--events", str(self.source.events), "--minutes", str(self.source.minutes)]
            # Without compaction: the export reads all files, and merged ones are kept for the grace period.
            figures = run(command + demo + ["--seed", str(self.source.seed), "--start", START, "--compaction", "off"])
        figures["program"] = stamp(program)
        return figures | {"bytes": bytes_below(data), "files": segments(data)}

    def _measure_import(self, events: int) -> Figures:
        """Measures the import of OTLP files, with a smaller corpus: files of the whole one would be large."""
        otlp, data = self._fresh("otlp-sample"), self._fresh("import-sample")
        try:
            demo = ["demo", "--write-otlp", str(otlp), "--events", str(events), "--seed", str(self.source.seed)]
            run([self.broadloom, *demo, "--start", START])
            manifest = json.loads((otlp / "manifest.json").read_text())
            files = [str(otlp / f["name"]) for f in manifest["files"]]
            figures = run([self.broadloom, "import", "--data", str(data), *files])
            of_otlp = {"events": manifest["events"], "otlp_bytes": manifest["bytes"]}
            return figures | of_otlp | {"bytes": bytes_below(data)}
        finally:
            shutil.rmtree(otlp, ignore_errors=True)
            shutil.rmtree(data, ignore_errors=True)

    def _compact(self, name: str, into: str, program: str) -> Figures:
        data = self._fresh(into)
        shutil.copytree(self._path(name), data, copy_function=link_segment)
        figures = run([program, "compact", "--data", str(data), "--grace", "0s"])
        return figures | {"bytes": bytes_below(data), "files": segments(data)}

    def _export(self) -> Figures:
        directory = self._fresh("export")
        directory.mkdir()
        data = self._path("broadloom")
        figures = load.in_process(load.export, data, directory, self.limits, TRACE_IDS)
        ask = [self.broadloom, "query", "select count(*) from events", "--data", str(data), "--format", "csv"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        if int(answer.split()[-1]) != figures["events"]:
            raise Failed(f"{figures['events']} of {answer.split()[-1]} events were exported; repeat with --reload")
        return figures

    def _load(self, peer: str) -> Figures:
        database = self._fresh(peer)
        database.mkdir()
        figures = load.in_process(load.LOADS[peer], self._path("export"), database, self.limits)
        if figures["events"] != self.events():
            raise Failed(f"{peer} has {figures['events']} of {self.events()} events; repeat with --reload {peer}")
        return figures


def stamp(program: str) -> str:
    """Tells builds of a program apart."""
    stat = os.stat(program)
    return f"{stat.st_size} {stat.st_mtime_ns}"


def can_compact(program: str) -> bool:
    probe = subprocess.run([program, "compact", "--help"], capture_output=True)
    if probe.returncode != 0:
        say(f"not compacted: {program} has no `compact`")
    return probe.returncode == 0


def link_segment(source: str, target: str) -> None:
    """Copies a file, or links a segment: segments never change, so a copied data directory can share them."""
    if source.endswith(".parquet"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)

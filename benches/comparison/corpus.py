"""The corpus and its databases: made once per size, kept in the work directory, used again.

```text
DIR/steps.json      what has been done, with its figures
DIR/broadloom/      a data directory
DIR/compacted/      the same after `broadloom compact`
DIR/export/         the same events as one table in Parquet, from which the peers are loaded
DIR/duckdb/, DIR/clickhouse/
```
"""

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import load
from .engines import Limits

START = "2026-01-05T08:00:00Z"
TRACE_IDS = 1000


class Failed(Exception):
    """Something outside went wrong; the text is for the user."""


@dataclass(frozen=True)
class Source:
    """Where events come from: the demo's generator, or OTLP files."""

    events: int
    minutes: int
    seed: int
    otlp: Path | None

    def name(self) -> str:
        if self.otlp is None:
            return f"demo-{self.events}-{self.minutes}m-s{self.seed}"
        return "otlp-" + self.otlp.resolve().name


def bytes_below(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file() and not f.is_symlink())


def run(command: list[str]) -> tuple[float, int, str]:
    """Seconds, peak memory in bytes, standard output."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"`{' '.join(command)}` ended with {process.returncode}\n{output}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024, output


class Corpus:
    def __init__(self, directory: Path, source: Source, broadloom: str, limits: Limits) -> None:
        self.directory = directory
        self.source = source
        self.broadloom = broadloom
        self.limits = limits
        directory.mkdir(parents=True, exist_ok=True)
        self.steps: dict[str, Any] = {}
        if self._file().exists():
            self.steps = json.loads(self._file().read_text())

    def _file(self) -> Path:
        return self.directory / "steps.json"

    def step(self, name: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Does a step unless it has been done; its figures are kept."""
        if name not in self.steps:
            print(f"{name} …", flush=True)
            try:
                self.steps[name] = do()
            except RuntimeError as error:
                raise Failed(f"{name}: {error}") from error
            self._file().write_text(json.dumps(self.steps, indent=1))
        return self.steps[name]

    def path(self, name: str) -> Path:
        return self.directory / name

    def data(self) -> Path:
        """The data directory that is measured."""
        return self.path("compacted" if self.steps.get("compact") else "broadloom")

    def make(self, engines: list[str], compact: bool, otlp_sample: int) -> None:
        self.step("broadloom", lambda: self._make_broadloom())
        if otlp_sample and self.source.otlp is None:
            self.step("import", lambda: self._measure_import(otlp_sample))
        peers = [e for e in engines if e != "broadloom"]
        if any(f"load {e}" not in self.steps for e in peers) or "export" not in self.steps:
            self.steps.pop("export", None)
            self.step("export", self._export)
        for engine in peers:
            self.step(f"load {engine}", lambda engine=engine: self._load(engine))
        if compact and self._can_compact():
            self.step("compact", self._compact)

    def _make_broadloom(self) -> dict[str, Any]:
        data = self.path("broadloom")
        shutil.rmtree(data, ignore_errors=True)
        source = self.source
        if source.otlp is not None:
            seconds, peak, _ = run([self.broadloom, "import", "--data", str(data), str(source.otlp)])
        else:
            command = [self.broadloom, "demo", "--data", str(data), "--events", str(source.events)]
            command += ["--minutes", str(source.minutes), "--seed", str(source.seed), "--start", START]
            seconds, peak, _ = run(command)
        return {"seconds": seconds, "peak_bytes": peak, "bytes": bytes_below(data), "files": segments(data)}

    def _measure_import(self, events: int) -> dict[str, Any]:
        """How fast OTLP files get in, on a corpus of its own, for files of the whole would be large."""
        otlp, data = self.path("otlp-sample"), self.path("import-sample")
        shutil.rmtree(otlp, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)
        try:
            command = [self.broadloom, "demo", "--write-otlp", str(otlp), "--events", str(events)]
            run(command + ["--seed", str(self.source.seed), "--start", START])
            manifest = json.loads((otlp / "manifest.json").read_text())
            files = [str(otlp / f["name"]) for f in manifest["files"]]
            seconds, peak, _ = run([self.broadloom, "import", "--data", str(data), *files])
            return {
                "events": manifest["events"],
                "otlp_bytes": manifest["bytes"],
                "seconds": seconds,
                "peak_bytes": peak,
                "bytes": bytes_below(data),
            }
        finally:
            shutil.rmtree(otlp, ignore_errors=True)
            shutil.rmtree(data, ignore_errors=True)

    def _can_compact(self) -> bool:
        probe = subprocess.run([self.broadloom, "compact", "--help"], capture_output=True)
        if probe.returncode != 0:
            print("no compaction: this program has no `compact`", flush=True)
        return probe.returncode == 0

    def _compact(self) -> dict[str, Any]:
        data = self.path("compacted")
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self.path("broadloom"), data)
        seconds, peak, _ = run([self.broadloom, "compact", "--data", str(data)])
        return {"seconds": seconds, "peak_bytes": peak, "bytes": bytes_below(data), "files": segments(data)}

    def _export(self) -> dict[str, Any]:
        export = self.path("export")
        shutil.rmtree(export, ignore_errors=True)
        export.mkdir()
        figures = load.in_process(load.export, self.path("broadloom"), export, self.limits, TRACE_IDS)
        return figures | {"bytes": bytes_below(export)}

    def _load(self, engine: str) -> dict[str, Any]:
        database = self.path(engine)
        shutil.rmtree(database, ignore_errors=True)
        database.mkdir()
        return load.in_process(load.LOADS[engine], self.path("export"), database, self.limits)

    def trace_ids(self, count: int) -> list[str]:
        return self.steps["export"]["trace_ids"][:count]

    def absent_ids(self, count: int) -> list[str]:
        dice = random.Random(self.source.seed)
        return [f"{dice.getrandbits(128):032x}" for _ in range(count)]

    def events(self) -> int:
        return self.steps["export"]["events"]


def segments(data: Path) -> int:
    return sum(1 for _ in (data / "segments").rglob("*.parquet"))

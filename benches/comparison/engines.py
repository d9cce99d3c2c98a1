"""The engines: each runs in a process of its own, and returns the result of SQL as an Arrow table.

`Worker` is the parent's handle on that process. For Broadloom it is a small client that talks to a server
over one connection; DuckDB and ClickHouse are libraries inside their process.
"""

import http.client
import multiprocessing
import os
import re
import select
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 120
ANSWER_SECONDS_MAX = 1800
MARGIN_SECONDS = 60


@dataclass(frozen=True)
class Limits:
    """Resources that every engine may use."""

    threads: int
    memory_bytes: int


@dataclass(frozen=True)
class Target:
    """An engine, and the directory with its data."""

    engine: str
    data: Path
    limits: Limits
    broadloom: str = ""


class Engine(Protocol):
    version: str

    def sql(self, statement: str) -> pa.Table: ...

    def pid(self) -> int:
        """Id of the process that does the work."""
        ...

    def close(self) -> None: ...


class Broadloom:
    """`broadloom serve`, queried for Arrow over one connection that stays open."""

    def __init__(self, target: Target) -> None:
        self.version = subprocess.run([target.broadloom, "--version"], capture_output=True, text=True).stdout.strip()
        command = [target.broadloom, "serve", "--data", str(target.data), "--http", "127.0.0.1:0"]
        command += ["--otlp-grpc", "off", "--otlp-http", "off", "--log", "warn"]
        command += ["--query-memory", str(target.limits.memory_bytes)]
        command += ["--query-timeout", f"{ANSWER_SECONDS_MAX}s"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            port = self._port()
            self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
            self.http.connect()
        except BaseException:
            self.server.kill()
            raise

    def _port(self) -> int:
        """Port from the line in which the server prints its addresses."""
        assert self.server.stdout is not None
        ready, _, _ = select.select([self.server.stdout], [], [], START_SECONDS_MAX)
        found = re.search(r"\bhttp=\S*?:(\d+)", self.server.stdout.readline()) if ready else None
        if not found:
            raise RuntimeError(f"the server did not print its addresses within {START_SECONDS_MAX} s")
        return int(found.group(1))

    def sql(self, statement: str) -> pa.Table:
        self.http.request("POST", "/v1/sql?format=arrow", statement.encode())
        answer = self.http.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {body[:1000].decode(errors='replace')}")
        return pa.ipc.open_stream(body).read_all()

    def pid(self) -> int:
        return self.server.pid

    def close(self) -> None:
        self.http.close()
        self.server.send_signal(signal.SIGTERM)
        try:
            self.server.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.server.kill()


class DuckDb:
    def __init__(self, target: Target) -> None:
        import duckdb

        self.version = f"duckdb {duckdb.__version__}"
        self.connection = duckdb.connect(str(target.data / "events.duckdb"))
        self.connection.execute(f"SET threads = {target.limits.threads}")
        self.connection.execute(f"SET memory_limit = '{target.limits.memory_bytes}B'")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(f"SET temp_directory = '{target.data / 'spill'}'")
        # DuckDB recommends `sql()` for Arrow, but that binds the statement twice, which costs more than the copy.
        warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")

    def sql(self, statement: str) -> pa.Table:
        return self.connection.execute(statement).to_arrow_table()

    def pid(self) -> int:
        return os.getpid()

    def close(self) -> None:
        self.connection.close()


class ClickHouse:
    def __init__(self, target: Target) -> None:
        import chdb
        from chdb.session import Session

        self.version = f"chdb {chdb.__version__}"
        self.session = Session(str(target.data))
        self.settings = f"max_threads = {target.limits.threads}, max_memory_usage = {target.limits.memory_bytes}"
        self.version += f", ClickHouse {self.execute('SELECT version()').strip()}"
        self.execute("CREATE DATABASE IF NOT EXISTS comparison ENGINE = Atomic")
        self.execute("USE comparison")

    def execute(self, statement: str) -> str:
        return str(self.session.query(statement, "TabSeparated"))

    def sql(self, statement: str) -> pa.Table:
        answer = self.session.query(f"{statement} SETTINGS {self.settings}", "ArrowStream")
        return pa.ipc.open_stream(answer.bytes()).read_all()

    def pid(self) -> int:
        return os.getpid()

    def close(self) -> None:
        self.session.close()


ENGINES: dict[str, type] = {
    "broadloom": Broadloom,
    "before": Broadloom,
    "duckdb": DuckDb,
    "clickhouse": ClickHouse,
    "clickhouse-map": ClickHouse,
}


def open_engine(target: Target) -> Engine:
    return ENGINES[target.engine](target)


def memory_bytes(pid: int, what: str) -> int:
    """Resident memory of a process: `VmHWM` its peak, `VmRSS` its current size."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process: the clock of clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


@dataclass
class Timing:
    """Times of statements, in milliseconds, in the order of the runs."""

    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    """CPU time of the engine's process."""


@dataclass(frozen=True)
class Usage:
    """Resources that the engine's process has used so far."""

    memory_bytes: int
    peak_bytes: int
    cpu_seconds: float
    """Includes the client's, where it is another process."""


class EngineError(Exception):
    """An engine failed to run a statement; the text says why."""


class Worker:
    """An engine in a process of its own."""

    def __init__(self, target: Target) -> None:
        self.target = target
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, target))
        self.process.start()
        theirs.close()
        self.version: str = self._answer()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.pipe.send(("stop", ()))
        except OSError:
            pass
        self.process.join(STOP_SECONDS_MAX + MARGIN_SECONDS)
        if self.process.is_alive():
            self.process.kill()

    def answer(self, statement: str) -> pa.Table:
        return self._ask("answer", statement)

    def time(self, statements: list[str], seconds_max: float = float("inf")) -> Timing:
        """Runs the statements one after the other; stops after `seconds_max`."""
        return self._ask("time", statements, seconds_max)

    def usage(self) -> Usage:
        return self._ask("usage")

    def load_program(self) -> None:
        """Reads the engine's program files, so that they are in the page cache."""
        self._ask("load_program")

    def _ask(self, what: str, *arguments: Any) -> Any:
        try:
            self.pipe.send((what, arguments))
        except OSError:
            raise EngineError(f"the process of {self.target.engine} ended") from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            if not self.pipe.poll(ANSWER_SECONDS_MAX + MARGIN_SECONDS):
                self.process.terminate()
                raise EngineError(f"{self.target.engine} did not answer within {ANSWER_SECONDS_MAX + MARGIN_SECONDS} s")
            status, value = self.pipe.recv()
        except (EOFError, OSError):
            raise EngineError(f"the process of {self.target.engine} ended") from None
        if status == "error":
            raise EngineError(value)
        return value


def _serve(pipe: Connection, target: Target) -> None:
    """Main function of the worker's process: opens the engine, then serves requests until "stop"."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: target.limits.threads])
    try:
        engine = open_engine(target)
    except Exception as error:
        pipe.send(("error", f"{target.engine} cannot open {target.data}: {type(error).__name__}: {error}"))
        return
    pipe.send(("ok", engine.version))
    try:
        while True:
            what, arguments = pipe.recv()
            if what == "stop":
                break
            try:
                pipe.send(("ok", DO[what](engine, *arguments)))
            except Exception as error:
                pipe.send(("error", f"{type(error).__name__}: {error}"))
    except (EOFError, OSError):
        pass  # the parent is gone
    finally:
        engine.close()


def _answer(engine: Engine, statement: str) -> pa.Table:
    return engine.sql(statement)


def _time(engine: Engine, statements: list[str], seconds_max: float) -> Timing:
    timing, pid = Timing(), engine.pid()
    deadline = time.perf_counter() + seconds_max
    for statement in statements:
        used = cpu_seconds(pid)
        began = time.perf_counter()
        engine.sql(statement)
        ended = time.perf_counter()
        timing.ms.append((ended - began) * 1e3)
        timing.cpu_ms.append((cpu_seconds(pid) - used) * 1e3)
        if ended > deadline:
            break
    return timing


def _usage(engine: Engine) -> Usage:
    pid = engine.pid()
    cpu = sum(cpu_seconds(p) for p in {pid, os.getpid()})
    return Usage(memory_bytes(pid, "VmRSS"), memory_bytes(pid, "VmHWM"), cpu)


def _load_program(engine: Engine) -> None:
    maps = [line.split(maxsplit=5) for line in Path(f"/proc/{engine.pid()}/maps").read_text().splitlines()]
    for file in {fields[5] for fields in maps if "x" in fields[1] and fields[5:] and fields[5].startswith("/")}:
        with open(file, "rb", buffering=0) as program:
            while program.read(1 << 22):
                pass


DO: dict[str, Callable[..., Any]] = {
    "answer": _answer,
    "time": _time,
    "usage": _usage,
    "load_program": _load_program,
}

#!/usr/bin/env python3
"""Loads the demo corpus into Broadloom in two ways and prints how fast each is.

import  `broadloom import DIR`: OTLP protobuf files, as in a backfill
http    `broadloom serve`, and every request of the corpus by POST over 4 connections, as from
        collectors; the clients are separate processes on the same machine

Uses only the standard library, talks only to 127.0.0.1, and every wait has a time limit.
Memory is the peak resident set of the program (wait4, /proc/PID/status).
"""

import argparse
import http.client
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONNECTIONS = 4
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 120
ANSWER_SECONDS_MAX = 60
ATTEMPTS_MAX = 200


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broadloom", required=True, help="path of the program to measure")
    arguments.add_argument("--events", type=int, default=1_000_000, help="size of the corpus; default 1000000")
    arguments.add_argument("--corpus", type=Path, help="directory of `demo --write-otlp`; created if it does not exist")
    arguments.add_argument("--only", choices=["import", "http"], help="measure only this way; default both")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="broadloom-load-") as scratch:
        scratch = Path(scratch)
        corpus = options.corpus or scratch / "corpus"
        if not (corpus / "manifest.json").exists():
            command = [options.broadloom, "demo", "--write-otlp", str(corpus), "--events", str(options.events)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        manifest = json.loads((corpus / "manifest.json").read_text())
        print(f"corpus  {manifest['events']:,} events, {manifest['bytes'] / 1e6:,.0f} MB of OTLP protobuf")
        if options.only != "http":
            measure_import(options.broadloom, corpus, manifest, scratch / "import")
        if options.only != "import":
            measure_http(options.broadloom, corpus, manifest, scratch / "http")


def report(way, manifest, seconds, memory_kib, data):
    stored = sum(f.stat().st_size for f in data.rglob("*") if f.is_file())
    print(
        f"{way:7} {manifest['events'] / seconds:,.0f} events/s, {manifest['bytes'] / 1e6 / seconds:,.1f} MB/s, "
        f"{seconds:.1f} s, peak memory {memory_kib / 1024:,.0f} MiB, {stored / 1e6:,.0f} MB stored"
    )


def measure_import(broadloom, corpus, manifest, data):
    files = [str(corpus / f["name"]) for f in manifest["files"]]
    began = time.monotonic()
    importer = subprocess.Popen([broadloom, "import", "--data", str(data), *files], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(importer.pid, 0)
    seconds = time.monotonic() - began
    importer.returncode = os.waitstatus_to_exitcode(status)
    if importer.returncode != 0:
        sys.exit(f"`broadloom import` ended with exit code {importer.returncode}")
    check(broadloom, data, manifest)
    report("import", manifest, seconds, usage.ru_maxrss, data)


def measure_http(broadloom, corpus, manifest, data):
    log = open(data.with_suffix(".log"), "wb")
    command = [broadloom, "serve", "--data", str(data), "--http", "127.0.0.1:0", "--otlp-grpc", "off"]
    command += ["--otlp-http", "127.0.0.1:0", "--log", "warn"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        port = listening(server)
        requests = read_requests(corpus, manifest)
        context = multiprocessing.get_context("fork")
        ready = context.Barrier(CONNECTIONS + 1)
        failed = context.Queue()
        clients = [
            context.Process(target=client, args=(port, requests[i::CONNECTIONS], ready, failed))
            for i in range(CONNECTIONS)
        ]
        for process in clients:
            process.start()
        ready.wait(START_SECONDS_MAX)
        began = time.monotonic()
        for process in clients:
            process.join()
        seconds = time.monotonic() - began
        if any(process.exitcode for process in clients):
            sys.exit(f"a client failed: {failed.get(timeout=1)}; see {log.name}")
        memory = peak_kib(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(STOP_SECONDS_MAX)
    check(broadloom, data, manifest)
    report("http", manifest, seconds, memory, data)


def listening(server):
    """Port of OTLP/HTTP, from the line in which the server prints its addresses."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        line = server.stdout.readline()
        if not line:
            break
        found = re.search(r"otlp-http=\S*?:(\d+)", line)
        if found:
            return int(found.group(1))
    sys.exit(f"the server ended, or did not print its addresses within {START_SECONDS_MAX} s")


def read_requests(corpus, manifest):
    """(path, body) of every request, with the signals interleaved as they would arrive."""
    mixed = []
    for signal_name in ("traces", "logs", "metrics"):
        of_signal = []
        for file in manifest["files"]:
            if file["signal"] == signal_name:
                of_signal += split((corpus / file["name"]).read_bytes())
        mixed += [(i / len(of_signal), f"/v1/{signal_name}", body) for i, body in enumerate(of_signal)]
    mixed.sort(key=lambda r: r[0])
    return [(path, body) for _, path, body in mixed]


def split(data):
    """Splits a length-delimited file into its messages."""
    messages, at = [], 0
    while at < len(data):
        length, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        messages.append(data[at : at + length])
        at += length
    return messages


def client(port, requests, ready, failed):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
    connection.connect()
    ready.wait(START_SECONDS_MAX)
    for path, body in requests:
        for _ in range(ATTEMPTS_MAX):
            connection.request("POST", path, body, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status not in (429, 503):
                break
            time.sleep(min(float(answer.headers.get("Retry-After", "1")), 1.0))
        if answer.status != 200 or text:  # a full success is an empty message
            failed.put(f"{path}: {answer.status} {text[:300]!r}")
            sys.exit(1)


def peak_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def check(broadloom, data, manifest):
    """Exits with an error unless every event is stored once."""
    command = [broadloom, "query", "--data", str(data), "--format", "csv", "select count(*) as n from events"]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    count = int(answer.split()[-1])
    if count != manifest["events"]:
        sys.exit(f"{count} events are stored, {manifest['events']} were sent")


if __name__ == "__main__":
    main()

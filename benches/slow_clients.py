#!/usr/bin/env python3
"""How much do slow clients slow down the others?

Sends the demo corpus over OTLP/HTTP with 4 connections, as load.py does, to a server that has nothing else to do, and
to one that has idle clients: 1,000 connections each on OTLP/HTTP and OTLP/gRPC that have announced 64 MiB and sent
three bytes. Prints both rates, and asks a query meanwhile. Exit code 3 when the second rate is below 90 % of the
first.

    benches/slow_clients.py --broadloom target/release/broadloom --events 200000

Standard library only. A rate is the best of three runs, which take turns.
"""

import argparse
import json
import multiprocessing
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import load

IDLE = 1_000
ANNOUNCED = 64 << 20
ROUNDS = 3
SHARE_MIN = 0.9


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--broadloom", required=True, help="the program to measure")
    arguments.add_argument("--events", type=int, default=200_000)
    options = arguments.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the server inherits it
    rates = {0: [], IDLE: []}
    with tempfile.TemporaryDirectory(prefix="broadloom-slow-") as scratch:
        corpus = Path(scratch) / "corpus"
        command = [options.broadloom, "demo", "--write-otlp", str(corpus), "--events", str(options.events)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        manifest = json.loads((corpus / "manifest.json").read_text())
        requests = load.read_requests(corpus, manifest)
        for round_number in range(ROUNDS):
            for idle in rates:
                data = Path(scratch) / f"data-{round_number}-{idle}"
                seconds, memory_kib = measure(options.broadloom, data, requests, manifest, idle)
                rates[idle].append(manifest["events"] / seconds)
                print(f"{idle:5} idle of each kind: {rates[idle][-1]:,.0f} events/s, {memory_kib / 1024:,.0f} MiB")
    alone, beside = max(rates[0]), max(rates[IDLE])
    print(f"alone {alone:,.0f} events/s, beside {2 * IDLE:,} idle clients {beside:,.0f}: {beside / alone:.0%}")
    if beside < alone * SHARE_MIN:
        sys.exit(3)


def measure(broadloom, data, requests, manifest, idle):
    """Seconds for all requests, and the server's peak memory in KiB."""
    command = [broadloom, "serve", "--data", str(data), "--log", "warn"]
    for port in ("--http", "--otlp-grpc", "--otlp-http"):
        command += [port, "127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    connections = []
    try:
        line = server.stdout.readline()
        ports = {name: int(port) for name, port in re.findall(r"(\S+)=\S*?:(\d+)", line)}
        for _ in range(idle):
            connections.append(connect(ports["otlp-http"], begun_http()))
            connections.append(connect(ports["otlp-grpc"], begun_grpc()))
        seconds = send(ports["otlp-http"], requests)
        url = f"http://127.0.0.1:{ports['http']}/v1/sql"
        answer = urllib.request.urlopen(url, data=b"select count(*) as n from events", timeout=60)
        count = json.loads(answer.read())[0]["n"]
        if count != manifest["events"]:
            sys.exit(f"{count} events are stored, {manifest['events']} were sent")
        return seconds, load.peak_kib(server.pid)
    finally:
        for connection in connections:
            connection.close()
        server.send_signal(signal.SIGTERM)
        server.wait(load.STOP_SECONDS_MAX)


def send(port, requests):
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(load.CONNECTIONS + 1)
    failed = context.Queue()
    shares = [requests[i :: load.CONNECTIONS] for i in range(load.CONNECTIONS)]
    clients = [context.Process(target=load.client, args=(port, share, ready, failed)) for share in shares]
    for process in clients:
        process.start()
    ready.wait(load.START_SECONDS_MAX)
    began = time.monotonic()
    for process in clients:
        process.join()
    seconds = time.monotonic() - began
    if any(process.exitcode for process in clients):
        sys.exit(f"a client failed: {failed.get(timeout=1)}")
    return seconds


def connect(port, sent):
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(sent)
    return connection


def begun_http():
    """An OTLP/HTTP request whose body does not come."""
    return (
        "POST /v1/traces HTTP/1.1\r\nHost: collector:4318\r\nContent-Type: application/x-protobuf\r\n"
        f"Content-Length: {ANNOUNCED}\r\n\r\nabc"
    ).encode()


def begun_grpc():
    """A gRPC call whose message does not come: frames of HTTP/2 by hand."""

    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    head = b"\x83\x86"  # POST and http of HPACK's static table, then literals by index of their name
    for name, value in (
        (b"\x04", b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        (b"\x01", b"collector:4317"),
        (b"\x0f\x10", b"application/grpc"),
    ):
        head += name + bytes([len(value)]) + value
    announced = b"\x00" + struct.pack(">I", ANNOUNCED)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    return preface + frame(4, 0, 0, b"") + frame(1, 4, 1, head) + frame(0, 0, 1, announced)


if __name__ == "__main__":
    main()

"""Looks at what commands draw in a terminal: trace, logs, tail, diff, heatmap, top, doctor.

pictures.py PROGRAM URL TRACE   with a server that has the events of tests/it/terminal.rs
"""

import json
import os
import sys
import time
import urllib.request

from terminal import Terminal

program, url, trace = sys.argv[1:]


def check(condition, what, lines):
    if not condition:
        sys.exit(f"{what}:\n" + "\n".join(lines))


def drawn(*command, status=0, **options):
    """The screen after a command has ended, and its colours."""
    terminal = Terminal([program, *command, "--url", url], **options)
    ended = terminal.ended()
    lines, colours = terminal.picture()
    if os.environ.get("BROADLOOM_PICTURES"):
        print("$", *command, *(f"{k}={v}" for k, v in options.items()), f"-> {colours}", *lines, sep="\n")
    check(ended == status, f"{command} ended with {ended}", lines)
    wide = [line for line in terminal.text().splitlines() if len(line.rstrip()) > terminal.size[0]]
    return lines, colours, wide


def has(lines, *words):
    for word in words:
        check(any(word in line for line in lines), f"{word!r} is not there", lines)


# A trace: a line per span, the error in red, the scale, the critical path. Nothing is wider than the terminal.
for columns in (60, 100, 160):
    lines, colours, wide = drawn("trace", trace, columns=columns)
    has(lines, "Trace " + trace, "POST /checkout", "├ ", "└ ", "✗", "█", "Critical path", "UTC", "◆")
    check("red" in colours and len(colours) > 1 and not wide, f"colours {colours} and widths", lines + wide)
lines, colours, _ = drawn("trace", trace, "--spans", "1")
has(lines, "⋯ 2 spans", "--all draws them")
lines, colours, _ = drawn("trace", trace, "--zone", "Asia/Tokyo", NO_COLOR="1")
has(lines, "+09:00 Asia/Tokyo")
check(not colours, f"NO_COLOR is not obeyed: {colours}", lines)
lines, *_ = drawn("trace", "ffffffffffffffffffffffffffffffff", status=1)
has(lines, "has no span of the trace")

# Log records, and their patterns.
lines, colours, _ = drawn("logs", "--last", "1h")
has(lines, "WARN", "request 7 took 7", "times are UTC")
check({"brown", "red"} & colours, f"severities have colours: {colours}", lines)
lines, *_ = drawn("logs", "--search", "REQUEST 7")
has(lines, "request 7 took 7", "1 record;")
lines, *_ = drawn("logs", "--patterns")
has(lines, "7 WARN   request <n> took <n> ms", "worker; last ")

# Differences, with a bar for each side.
lines, colours, wide = drawn("diff", "--selection", "duration_ns > 100000000", "--where", "name = 'work'")
has(lines, "40 selected events, compared with 200", "zone = b", "selected ▕█", "others   ▕")
check(not wide, "widths", wide)

# A heat map: blocks with colours, other signs without.
lines, colours, wide = drawn("heatmap", "--where", "name = 'work'")
has(lines, "ms│", "└┴─", "times are UTC", "240 events", "greatest: broadloom trace")
check(len(colours) > 2 and not wide, f"colours {colours}", lines + wide)
lines, colours, _ = drawn("heatmap", "--where", "name = 'work'", NO_COLOR="1")
check(not colours and any("×" in line for line in lines), "cells of errors have a sign", lines)

# Doctor.
lines, colours, _ = drawn("doctor", "--send")
has(lines, "ok   server", "ok   otlp")

# Tail shows what is there, then what comes, also late; Ctrl-C ends it.
terminal = Terminal([program, "tail", "--url", url, "--late", "1h", "-n", "2", "--interval", "200ms"])
terminal.expect("Ctrl-C ends")


def send(body, age_s):
    at = str(time.time_ns() - age_s * 1_000_000_000)
    record = {"timeUnixNano": at, "severityNumber": 17, "body": {"stringValue": body}}
    message = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    request = urllib.request.Request(
        url + "/v1/logs", json.dumps(message).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).read()


send("a new one", 0)
terminal.expect("a new one")
send("a late one", 600)
terminal.expect("a late one")
time.sleep(0.5)
terminal.type("\x03")
check(terminal.ended() == 0, "tail ends with Ctrl-C", terminal.picture()[0])
lines, _ = terminal.picture()
check(sum("a new one" in line for line in lines) == 1, "an event is shown once", lines)

# Top refreshes in place, sorts by keys, and gives the screen back.
terminal = Terminal([program, "top", "--url", url, "--window", "1h", "--interval", "300ms"])
terminal.expect("q leave")
terminal.expect("q leave")
lines, colours = terminal.picture()
has(lines, "calls of the last 1h, by errors", "worker", "p99")
terminal.type("p")
terminal.expect("by p99")
terminal.expect("q leave")
lines, colours = terminal.picture()
check(sum("calls of the last" in line for line in lines) == 1, "it refreshes in place", lines)
if os.environ.get("BROADLOOM_PICTURES"):
    print(*lines, sep="\n")
terminal.type("q")
check(terminal.ended() == 0, "top ends with q", lines)
check(b"\x1b[?1049l" in terminal.all, "it gives the screen back", lines)

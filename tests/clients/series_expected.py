#!/usr/bin/env python3
"""What counters and histograms counted, computed from points alone, with nothing but Python's standard library.

    tests/clients/series_expected.py STATUS.ndjson POINTS.ndjson > EXPECTED.json

STATUS has samples of cumulative counters, as NGINX Plus writes them (testdata/nginxplus). POINTS has delta points of
histograms, one JSON object a line, as `broadloom query` writes them. `tests/it/series.rs` asks the same of Broadloom.

Definitions, so that there is one answer:
- A point belongs to the step that ends with it: step < time <= step + length.
- A cumulative point counts its difference to the one before; the first counts nothing that is known.
- Histograms are added bucket by bucket, exponential ones as values at their own scale.
- A quantile is in the first bucket at which q × count values are reached; inside, explicit buckets are linear, and
  exponential ones linear in the logarithm. The first explicit bucket begins at the least value, the last ends at the
  greatest. The result is not outside of the least and the greatest value.
"""

import json
import math
import sys
from collections import defaultdict
from fractions import Fraction

STEP_NS = 30 * 10**9
COUNTERS = ["requests.total", "connections.accepted", "ssl.handshakes"]
QUANTILES = [0.0, 0.25, 0.5, 0.9, 0.99, 1.0]


def step(ns):
    return -(-ns // STEP_NS) * STEP_NS - STEP_NS


def increases(lines):
    found = {}
    for counter in COUNTERS:
        first, second = counter.split(".")
        points = sorted((line["timestamp"] * 10**6, line[first][second]) for line in lines)
        steps = defaultdict(int)
        for (_, before), (ns, now) in zip(points, points[1:]):
            assert now >= before, "a reset, which this does not know"
            steps[step(ns)] += now - before
        found[counter] = sorted(steps.items())
    return found


def explicit(points):
    """Buckets as (low, high, count) of the sum of explicit histograms."""
    bounds = points[0]["bounds"]
    assert all(point["bounds"] == bounds for point in points)
    counts = [sum(column) for column in zip(*(point["bucket_counts"] for point in points))]
    least, greatest = min(point["min"] for point in points), max(point["max"] for point in points)
    edges = [least, *bounds, greatest]
    # Buckets wholly outside of the least and greatest value are empty.
    return [(low, max(low, high), count) for low, high, count in zip(edges, edges[1:], counts)], linear


def exponential(points):
    """The same of exponential histograms, of which the demo has positive values only."""
    assert len({point["scale"] for point in points}) == 1
    base = 2.0 ** (2.0 ** -points[0]["scale"])
    counts = defaultdict(int)
    for point in points:
        assert point["zero_count"] == 0 and not point["negative_counts"]
        for place, count in enumerate(point["positive_counts"]):
            counts[point["positive_offset"] + place] += count
    return [(base**i, base ** (i + 1), counts[i]) for i in sorted(counts)], logarithmic


def linear(low, high, part):
    return low + (high - low) * part


def logarithmic(low, high, part):
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * part)


def quantile(points, q):
    buckets, between = (exponential if points[0]["scale"] is not None else explicit)(points)
    rank, below, found = Fraction(q) * sum(count for _, _, count in buckets), 0, None
    for low, high, count in buckets:
        if count > 0:
            found = between(low, high, min(max(float((rank - below) / count), 0.0), 1.0))
            below += count
            if below >= rank:
                break
    least, greatest = min(point["min"] for point in points), max(point["max"] for point in points)
    return min(max(found, least), greatest)


def histograms(points):
    groups = defaultdict(list)
    for point in points:
        assert point["temporality"] == "delta"
        groups[(point["name"], step(point["ns"]))].append(point)
    return [
        {
            "name": name,
            "step": begin,
            "count": sum(point["count"] for point in group),
            "sum": math.fsum(point["sum"] for point in group),
            "quantiles": [quantile(group, q) for q in QUANTILES],
        }
        for (name, begin), group in sorted(groups.items())
    ]


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


status, points = (read(path) for path in sys.argv[1:3])
json.dump({"increases": increases(status), "quantiles": QUANTILES, "histograms": histograms(points)}, sys.stdout)

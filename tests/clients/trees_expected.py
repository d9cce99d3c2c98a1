#!/usr/bin/env python3
"""Where the spans of traces stand, and how long each itself took, from their ids and times alone.

    tests/clients/trees_expected.py SPANS.ndjson > EXPECTED.json

SPANS has one JSON object a line, as `broadloom query` writes them. `tests/it/trees.rs` asks the same of Broadloom.

Definitions, so that there is one answer:
- A span is below the earliest span of its trace whose id it names as its parent; without one it is at depth 0.
- Its own time is that in which it runs and no span right below it does: here, nanosecond intervals are cut out of it
  one by one.
- Spans below it are counted one by one, by walking up from each.
The traces may have spans sent twice, but no circles and no shared ids.
"""

import json
import sys
from collections import defaultdict


def end(span):
    return span["start"] + max(span["duration"] or 0, 0)


def own_time(span, children):
    left = [(span["start"], end(span))]
    for child in children:
        cut = []
        for begin, stop in left:
            cut += [(begin, min(stop, child["start"])), (max(begin, end(child)), stop)]
        left = [(begin, stop) for begin, stop in cut if begin < stop]
    return sum(stop - begin for begin, stop in left)


def places(spans):
    by_id = {}
    for place, span in sorted(enumerate(spans), key=lambda one: (one[1]["start"], one[0])):
        by_id.setdefault(span["span"], place)
    parents = [by_id.get(span["parent"]) if span["parent"] else None for span in spans]
    children = defaultdict(list)
    depths, below = [0] * len(spans), [0] * len(spans)
    for place, parent in enumerate(parents):
        if parent is not None:
            children[parent].append(spans[place])
        while parent is not None:
            depths[place] += 1
            below[parent] += 1
            assert depths[place] <= len(spans), "a circle"
            parent = parents[parent]
    rows = zip(spans, depths, below, (own_time(span, children[place]) for place, span in enumerate(spans)))
    return sorted([span["span"], depth, count, own] for span, depth, count, own in rows)


traces = defaultdict(list)
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        traces[json.loads(line)["trace"]].append(json.loads(line))
json.dump({trace: places(spans) for trace, spans in traces.items()}, sys.stdout)

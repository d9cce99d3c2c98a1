// Two traces of one operation, laid over each other: spans belong together that have the same place in the tree, by
// service, name and kind of all spans above them. Spans of one place, such as the calls of a loop, are one entry.

import { literalOf } from "./where.js";
import { isoOf } from "./time.js";

/** @typedef {import("../pages/trace-model.js").TraceModel} TraceModel */
/**
 * Spans of a place in one trace. `total` is the sum of their durations, `critical` their part of the critical path,
 * `row` the longest of them, -1 where there is none; times are nanoseconds.
 * @typedef {{count: number, total: number, critical: number, errors: number, row: number, start: number, duration: number}} Side
 * @typedef {{service: string, name: string, kind: number, depth: number, parent: number, a: Side, b: Side}} Entry
 */

/** @returns {Side} */
const nothing = () => ({ count: 0, total: 0, critical: 0, errors: 0, row: -1, start: Infinity, duration: 0 });

/** Places of both traces, parents before children, siblings by their start. @param {TraceModel} a @param {TraceModel} b @returns {Entry[]} */
export function align(a, b) {
  const root = { entry: /** @type {Entry | null} */ (null), children: new Map() };
  place(root, a, "a");
  place(root, b, "b");
  /** @type {Entry[]} */
  const entries = [];
  /** An explicit stack: traces may be thousands of levels deep. @type {{node: any, depth: number, parent: number}[]} */
  const stack = [{ node: root, depth: -1, parent: -1 }];
  while (stack.length > 0) {
    const { node, depth, parent } = /** @type {any} */ (stack.pop());
    let at = parent;
    if (node.entry !== null) at = entries.push({ ...node.entry, depth, parent }) - 1;
    const children = [...node.children.values()].sort((one, other) => startOf(other.entry) - startOf(one.entry));
    for (const child of children) stack.push({ node: child, depth: depth + 1, parent: at });
  }
  return entries;
}

/** @param {any} root @param {TraceModel} model @param {"a" | "b"} which */
function place(root, model, which) {
  const path = [root];
  for (let row = 0; row < model.loaded; row += 1) {
    const depth = model.depth[row];
    const above = path[depth];
    const [service, name, kind] = [model.serviceOf(row), model.nameOf(row), model.kind[row]];
    const key = `${service}\u0000${name}\u0000${kind}`;
    let node = above.children.get(key);
    if (node === undefined) {
      node = { entry: { service, name, kind, a: nothing(), b: nothing() }, children: new Map() };
      above.children.set(key, node);
    }
    path[depth + 1] = node;
    add(node.entry[which], model, row);
  }
}

/** @param {Side} side @param {TraceModel} model @param {number} row */
function add(side, model, row) {
  const duration = Number.isFinite(model.duration[row]) ? Math.max(0, model.duration[row]) : 0;
  side.count += 1;
  side.total += duration;
  side.critical += model.criticalTime(row);
  side.errors += model.status[row] === 2 ? 1 : 0;
  if (side.row >= 0 && duration <= side.duration) return;
  [side.row, side.start, side.duration] = [row, model.start[row], duration];
}

/** @param {Entry} entry */
function startOf({ a, b }) {
  return a.row >= 0 ? a.start : b.start;
}

/** Which side has it? @param {Entry} entry @returns {"both" | "a" | "b"} */
export function sidesOf({ a, b }) {
  return a.count === 0 ? "b" : b.count === 0 ? "a" : "both";
}

/** Entries that differ by at least that much, or that one side alone has, with the way down to them. @param {Entry[]} entries @param {number} least nanoseconds */
export function different(entries, least) {
  const kept = new Set();
  entries.forEach((entry, i) => {
    const isDifferent = sidesOf(entry) !== "both" || Math.abs(entry.a.total - entry.b.total) >= least || entry.a.errors !== entry.b.errors;
    for (let at = isDifferent ? i : -1; at >= 0 && !kept.has(at); at = entries[at].parent) kept.add(at);
  });
  return entries.filter((_, i) => kept.has(i));
}

/**
 * Where the difference is: entries by the time that is more, or less, of the critical path, the largest first.
 * @param {Entry[]} entries @param {1 | -1} which 1 is more in `a` @returns {{entry: Entry, part: number}[]}
 */
export function partsOfDifference(entries, which) {
  return entries
    .map((entry) => ({ entry, part: entry.a.critical - entry.b.critical }))
    .filter(({ part }) => part * which > 0)
    .sort((one, other) => (other.part - one.part) * which);
}

const HOUR_NS = 3_600_000_000_000n;

/**
 * Traces of the same operation to compare with: the one of median duration, the fastest, the slowest, and the last one
 * before it; of the calls that did not fail.
 * @param {{trace: string, service: string | null, name: string | null, start: bigint}} of @param {boolean} isFar at all times, not only within an hour
 */
export function comparable({ trace, service, name, start }, isFar) {
  const is = (/** @type {string} */ key, /** @type {string | null} */ value) => (value === null ? `${key} is null` : `${key} = ${literalOf(value)}`);
  const near = `timestamp >= '${isoOf(start - HOUR_NS)}' and timestamp < '${isoOf(start + HOUR_NS)}'\n    and `;
  return `with calls as (
  select trace_id, timestamp, duration_ns,
    row_number() over (order by duration_ns, trace_id) as place,
    row_number() over (order by timestamp >= '${isoOf(start)}', timestamp desc, trace_id) as before,
    timestamp < '${isoOf(start)}' as is_before,
    count(*) over () as calls
  from spans
  where ${isFar ? "" : near}${is("name", name)} and ${is("service.name", service)}
    and parent_span_id is null and duration_ns is not null
    and (status is distinct from 'error') and trace_id <> '${trace}'
)
select trace_id, timestamp, duration_ns, calls,
  place = (calls + 1) / 2 as is_median, place = 1 as is_fastest, place = calls as is_slowest, before = 1 and is_before as is_last
from calls
where place = (calls + 1) / 2 or place = 1 or place = calls or (before = 1 and is_before)
order by abs(place * 2 - calls)`;
}

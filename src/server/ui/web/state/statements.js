// The SQL of every panel. Pure: the address's range and condition in, a statement out that runs anywhere.

import { isoOf } from "./time.js";

/** @typedef {import("./range.js").Range} Range */

/** @param {Range} range @param {string} [column] */
export function within(range, column = "timestamp") {
  return `${column} >= '${isoOf(range.from)}' and ${column} < '${isoOf(range.to)}'`;
}

/** `and (condition)`, or nothing. @param {string} where @param {string} [indent] */
export function also(where, indent = "") {
  return where.trim() === "" ? "" : `\n${indent}  and (${where.trim()}${/--|\/\*/.test(where) ? "\n" : ""})`;
}

// Calls that a service answers: requests, messages, and whatever begins a trace.
const ENTRIES = "(kind in ('server', 'consumer') or parent_span_id is null)";

const FIGURES = `sum(sample_weight) as calls,
  coalesce(sum(sample_weight) filter (where status = 'error'), 0.0) as errors,
  p50(duration_ns, sample_weight) as p50_ns,
  p99(duration_ns, sample_weight) as p99_ns`;

/**
 * Calls, errors and latency of every service: in the range, in the same time before it, and by time step.
 * @param {Range} range @param {bigint} step nanoseconds
 */
export function services(range, step) {
  const both = { ...range, from: range.from - (range.to - range.from) };
  return `select service, is_now, step,
  ${FIGURES}
from (
  select attributes['service.name'] as service, duration_ns, status, sample_weight,
    timestamp >= '${isoOf(range.from)}' as is_now,
    date_bin(interval '${step / 1_000_000_000n} seconds', timestamp, timestamp '${isoOf(range.from)}') as step
  from spans
  where ${within(both)}
    and ${ENTRIES}
)
group by grouping sets ((service, is_now), (service, step))`;
}

/** Calls, errors and latency of what services do, in the range and in the same time before it. @param {Range} range */
export function operations(range) {
  const both = { ...range, from: range.from - (range.to - range.from) };
  return `select attributes['service.name'] as service, name, timestamp >= '${isoOf(range.from)}' as is_now,
  ${FIGURES}
from spans
where ${within(both)}
  and ${ENTRIES}
group by 1, 2, 3
order by calls desc
limit 1000`;
}

/** Which service calls which, the slowest first. @param {Range} range */
export function serviceGraph(range) {
  return `select caller.attributes['service.name'] as caller, callee.attributes['service.name'] as callee,
  sum(callee.sample_weight) as calls,
  coalesce(sum(callee.sample_weight) filter (where callee.status = 'error'), 0.0) as errors,
  p50(callee.duration_ns, callee.sample_weight) as p50_ns,
  p99(callee.duration_ns, callee.sample_weight) as p99_ns
from spans callee
join spans caller on caller.trace_id = callee.trace_id and caller.span_id = callee.parent_span_id
where ${within(range, "callee.timestamp")}
  and ${within(range, "caller.timestamp")}
  and caller.attributes['service.name'] <> callee.attributes['service.name']
group by 1, 2
order by p99_ns desc
limit 200`;
}

/** Orders of `GET /v1/traces`, and of which lists they are. */
export const ORDERS = /** @type {const} */ ({
  newest: { words: "Newest first", traces: true, spans: true },
  slowest: { words: "Slowest first", traces: true, spans: true },
  fastest: { words: "Fastest first", traces: true, spans: true },
  errors: { words: "Most errors first", traces: true, spans: true },
  largest: { words: "Most spans first", traces: true, spans: false },
});
/** @typedef {keyof typeof ORDERS} Order */

/** Spans by time, and how many of them failed. @param {Range} range @param {string} where @param {bigint} step */
export function spansByTime(range, where, step) {
  return `select ${bin(range, step)} as step,
  count(*) filter (where status = 'error') as errors, count(*) as spans
from spans
where ${within(range)}${also(where)}
group by 1`;
}

/** @param {Range} range @param {bigint} step */
export function bin(range, step) {
  return `date_bin(interval '${step / 1_000_000_000n} seconds', timestamp, timestamp '${isoOf(range.from)}')`;
}

/** Log records, newest first. @param {Range} range @param {string} where @param {number} limit */
export function logs(range, where, limit) {
  return `select timestamp, severity, attributes['service.name'] as service, body, trace_id, span_id
from logs
where ${within(range)}${also(where)}
order by timestamp desc, trace_id, span_id
limit ${limit}`;
}

/**
 * The log records of an instant with everything they say: that of a row of `logs` is the one of its service and body.
 * @param {string} timestamp
 */
export function logDetail(timestamp) {
  return `select timestamp, severity, severity_text, attributes['service.name'] as service, body, trace_id, span_id, name,
  scope.name as scope, attributes
from logs
where timestamp = '${timestamp}'
limit 1000`;
}

/** Log records by time and severity. @param {Range} range @param {string} where @param {bigint} step */
export function logsByTime(range, where, step) {
  return `select ${bin(range, step)} as step,
  severity, count(*) as records
from logs
where ${within(range)}${also(where)}
group by 1, 2`;
}

/** Log records by severity and by service. @param {Range} range @param {string} where */
export function logFacets(range, where) {
  return `select severity, attributes['service.name'] as service, count(*) as records
from logs
where ${within(range)}${also(where)}
group by grouping sets ((severity), (attributes['service.name']))
order by records desc`;
}

/** The last event before a range, for "go there". @param {"spans" | "logs" | "events"} source @param {Range} range @param {string} where */
export function lastBefore(source, range, where) {
  return `select max(timestamp) as last from ${source} where timestamp < '${isoOf(range.from)}'${also(where)}`;
}

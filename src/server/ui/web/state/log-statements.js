// The SQL of the log page's views: records around one, and patterns. Pure, like statements.js.

import { also, bin, within } from "./statements.js";
import { isoOf, parseInstant } from "./time.js";

/** @typedef {import("./range.js").Range} Range */

const DAY_NS = 86_400_000_000_000n;
/** Columns by which lists show a record, and tell it from others. */
export const RECORD = "timestamp, severity, attributes['service.name'] as service, body, trace_id, span_id";

/**
 * Records before and after an instant, oldest first; those of the instant itself are among the first half.
 * @param {string} timestamp @param {string} where which records are neighbours
 * @param {{before: number, after: number, isFar: boolean}} reach numbers of records; within a day unless it `isFar`
 */
export function logContext(timestamp, where, { before, after, isFar }) {
  const at = parseInstant(timestamp) ?? 0n;
  const from = isFar ? "" : ` and timestamp >= '${isoOf(at - DAY_NS)}'`;
  const to = isFar ? "" : ` and timestamp < '${isoOf(at + DAY_NS)}'`;
  return `select * from (
  select ${RECORD}
  from logs
  where timestamp <= '${timestamp}'${from}${also(where, "  ")}
  order by timestamp desc, trace_id desc, span_id desc
  limit ${before + 1}
) as before
union all
select * from (
  select ${RECORD}
  from logs
  where timestamp > '${timestamp}'${to}${also(where, "  ")}
  order by timestamp, trace_id, span_id
  limit ${after}
) as after
order by timestamp, trace_id, span_id`;
}

/** Signs that stand for what was replaced. */
export const SIGN = /<(?:uuid|time|hex|n)>/g;

/** Records with their patterns. @param {Range} range @param {string} where @param {string} columns */
function patterned(range, where, columns) {
  return `(
  select ${columns},
    log_pattern(body) as pattern
  from logs
  where ${within(range)}${also(where, "  ")}
) as by_record`;
}

/**
 * Kinds of messages: how many records each has, when, of which services, and one of them.
 * @param {Range} range @param {string} where @param {number} limit
 */
export function logPatterns(range, where, limit) {
  return `select pattern, severity, count(*) as records, min(timestamp) as first, max(timestamp) as last,
  array_sort(array_agg(distinct service)) as services,
  first_value(body order by timestamp desc) as example,
  count(*) over () as all_patterns, sum(count(*)) over () as all_records
from ${patterned(range, where, "timestamp, severity, attributes['service.name'] as service, body")}
group by pattern, severity
order by records desc, pattern, severity
limit ${limit}`;
}

/** Records of each kind by time step. @param {Range} range @param {string} where @param {bigint} step */
export function patternsByTime(range, where, step) {
  return `select pattern, severity, step, count(*) as records
from ${patterned(range, where, `severity, ${bin(range, step)} as step`)}
group by pattern, severity, step
order by records desc
limit 20000`;
}

/** The condition that records of a pattern meet, and few others. @param {string} pattern */
export function patternCondition(pattern) {
  const like = pattern.replace(/[\\%_]/g, "\\$&").replace(/(?:<(?:uuid|time|hex|n)>)+/g, "%");
  // A pattern is of the first 1,000 characters.
  const rest = pattern.length >= 900 ? "%" : "";
  return `body like '${like.replaceAll("'", "''")}${rest}'`;
}

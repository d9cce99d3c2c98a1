// The SQL of what comes while one watches: rows of the last seconds, newest first. Pure, like statements.js.

import { RECORD } from "./log-statements.js";
import { also } from "./statements.js";

/** Records of the last seconds, newest first. @param {string} where @param {number} seconds @param {number} limit */
export function lastLogs(where, seconds, limit) {
  return `select ${RECORD}, count(*) over () as total
from logs
where ${since(seconds)}${also(where)}
order by timestamp desc, trace_id, span_id
limit ${limit}`;
}

/** Spans of the last seconds, newest first. @param {string} where @param {number} seconds @param {number} limit */
export function lastSpans(where, seconds, limit) {
  return `select trace_id, span_id, attributes['service.name'] as service, name, kind, status, timestamp, duration_ns,
  count(*) over () as total
from spans
where ${since(seconds)}${also(where)}
order by timestamp desc, trace_id, span_id
limit ${limit}`;
}

/** Traces with a span of the last seconds, newest first. @param {string} where @param {number} seconds @param {number} limit */
export function lastTraces(where, seconds, limit) {
  return `select trace_id, root_service, root_name, start, duration_ns, spans, errors, services, notes,
  count(*) over () as total
from traces
where trace_id in (
  select trace_id from spans
  where ${since(seconds)}${also(where, "  ")}
)
order by start desc, trace_id
limit ${limit}`;
}

/** By the server's clock, so that a browser's may be wrong. @param {number} seconds */
function since(seconds) {
  return `timestamp >= now() - interval '${seconds} seconds'`;
}

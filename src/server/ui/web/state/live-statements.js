// The SQL of the traces that come while one watches, newest first. Pure, like statements.js.

import { also } from "./statements.js";

/** How long before the last seconds spans of a trace are looked for. */
const TRACE_SECONDS = 600;

/**
 * Traces with a span of the last seconds, newest first. The view `traces` reads every span there is, which is too much
 * to be asked again and again: here a trace is what came of it in the last ten minutes.
 * @param {string} where @param {number} seconds @param {number} limit
 */
export function lastTraces(where, seconds, limit) {
  const first = (/** @type {string} */ what) => `coalesce(
    first_value(${what} order by timestamp) filter (where parent_span_id is null),
    first_value(${what} order by timestamp))`;
  return `select trace_id, ${first("attributes['service.name']")} as root_service,
  ${first("name")} as root_name,
  min(timestamp) as start,
  max(cast(timestamp as bigint) + coalesce(duration_ns, 0)) - cast(min(timestamp) as bigint) as duration_ns,
  count(*) as spans, count(*) filter (where status = 'error') as errors,
  array_sort(array_agg(distinct attributes['service.name'])) as services,
  count(*) over () as total
from spans
where ${since(seconds + TRACE_SECONDS)}
  and trace_id in (
    select trace_id from spans
    where ${since(seconds)}${also(where, "    ")}
  )
group by trace_id
order by start desc, trace_id
limit ${limit}`;
}

/** By the server's clock, so that a browser's may be wrong. @param {number} seconds */
function since(seconds) {
  return `timestamp >= now() - interval '${seconds} seconds'`;
}

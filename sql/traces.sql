-- traces: one row per trace that has a span.
--
-- A trace is never final: late spans appear in the next query. The query does not follow parents, so cycles,
-- missing parents and traces of 100,000 spans cost no more than a scan.
--
-- Columns:
--   trace_id
--   root_service  service of the earliest span without a parent; if there is none, of the earliest span
--   root_name     name of the same span
--   start         earliest start of a span; if no span has one, the earliest timestamp
--   duration_ns   from the earliest start to the latest end of a span, nanoseconds; across hosts it is only
--                 as exact as their clocks; null if no start or no end is known
--   spans         number of spans
--   errors        number of spans with status error
--   services      names of the services, sorted
--   complete      true if exactly one span has no parent, no span starts before it, and every span has a start
--                 and an end, in this order
--   notes         reasons why it is not complete, separated by '; '; null if it is
SELECT
  trace_id,
  coalesce(first_root_service, first_service) AS root_service,
  coalesce(first_root_name, first_name) AS root_name,
  coalesce(known_start, any_time) AS start,
  end_ns - CAST(known_start AS BIGINT) AS duration_ns,
  spans,
  errors,
  services,
  roots = 1 AND known_start >= root_start AND unstarted = 0 AND unended = 0 AND backward = 0 AS complete,
  nullif(concat_ws('; ',
    CASE WHEN roots = 0 THEN 'the root span is missing' WHEN roots > 1 THEN 'more than one span has no parent' END,
    CASE WHEN roots = 1 AND known_start < root_start THEN 'spans start before the root: clocks differ' END,
    CASE WHEN unstarted > 0 THEN 'the start of a span is unknown' END,
    CASE WHEN unended > 0 THEN 'the end of a span is unknown' END,
    CASE WHEN backward > 0 THEN 'a span ends before it starts: its clock was set back' END
  ), '') AS notes
FROM (
  SELECT
    trace_id,
    first_value(attributes['service.name'] ORDER BY timestamp) FILTER (WHERE parent_span_id IS NULL)
      AS first_root_service,
    first_value(attributes['service.name'] ORDER BY timestamp) AS first_service,
    first_value(name ORDER BY timestamp) FILTER (WHERE parent_span_id IS NULL) AS first_root_name,
    first_value(name ORDER BY timestamp) AS first_name,
    min(timestamp) FILTER (WHERE parent_span_id IS NULL AND timestamp_origin IS NULL) AS root_start,
    min(timestamp) FILTER (WHERE timestamp_origin IS NULL) AS known_start,
    min(timestamp) AS any_time,
    max(CASE
      WHEN timestamp_origin IS NULL THEN CAST(timestamp AS BIGINT) + duration_ns
      WHEN timestamp_origin = 'end' THEN CAST(timestamp AS BIGINT)
    END) AS end_ns,
    count(*) AS spans,
    count(*) FILTER (WHERE parent_span_id IS NULL) AS roots,
    count(*) FILTER (WHERE timestamp_origin IS NOT NULL) AS unstarted,
    count(*) FILTER (WHERE duration_ns IS NULL AND coalesce(timestamp_origin, '') <> 'end') AS unended,
    count(*) FILTER (WHERE duration_ns < 0) AS backward,
    count(*) FILTER (WHERE status = 'error') AS errors,
    array_sort(array_agg(DISTINCT attributes['service.name'])) AS services
  FROM events
  WHERE signal = 'span' AND trace_id IS NOT NULL
  GROUP BY trace_id
) AS by_trace

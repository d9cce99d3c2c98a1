-- traces: one row per trace that has a span.
--
-- A trace is never complete: late spans appear in the next query. Nothing here follows parents, so cycles,
-- missing parents and traces of 100,000 spans cost no more than a scan.
--
-- Columns:
--   trace_id
--   root_service  of the earliest span without a parent; if there is none, of the earliest span
--   root_name     likewise
--   start         earliest start of a span
--   duration_ns   from the earliest start to the latest end of a span, nanoseconds; across hosts it is only
--                 as good as their clocks
--   spans         number of spans
--   errors        number of spans with status error
--   services      names of the services, sorted
--   complete      exactly one span has no parent, and no span starts before it
--   notes         why it is not complete; null if it is
SELECT
  trace_id,
  coalesce(first_root_service, first_service) AS root_service,
  coalesce(first_root_name, first_name) AS root_name,
  start,
  end_ns - CAST(start AS BIGINT) AS duration_ns,
  spans,
  errors,
  services,
  roots = 1 AND start >= root_start AS complete,
  CASE
    WHEN roots = 0 THEN 'the root span is missing'
    WHEN roots > 1 THEN 'more than one span has no parent'
    WHEN start < root_start THEN 'spans start before the root: clocks differ'
  END AS notes
FROM (
  SELECT
    trace_id,
    first_value(attributes['service.name'] ORDER BY timestamp) FILTER (WHERE parent_span_id IS NULL)
      AS first_root_service,
    first_value(attributes['service.name'] ORDER BY timestamp) AS first_service,
    first_value(name ORDER BY timestamp) FILTER (WHERE parent_span_id IS NULL) AS first_root_name,
    first_value(name ORDER BY timestamp) AS first_name,
    min(timestamp) FILTER (WHERE parent_span_id IS NULL) AS root_start,
    min(timestamp) AS start,
    max(CAST(timestamp AS BIGINT) + coalesce(duration_ns, 0)) AS end_ns,
    count(*) AS spans,
    count(*) FILTER (WHERE parent_span_id IS NULL) AS roots,
    count(*) FILTER (WHERE status = 'error') AS errors,
    array_sort(array_agg(DISTINCT attributes['service.name'])) AS services
  FROM events
  WHERE signal = 'span' AND trace_id IS NOT NULL
  GROUP BY trace_id
) AS by_trace

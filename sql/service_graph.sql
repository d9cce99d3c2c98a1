-- service_graph: which service calls which, one row per pair of services where a span of one is the parent of a
-- span of the other.
--
-- Columns:
--   caller, callee  service names
--   calls           number of calls: the sum of the callees' sample_weight
--   errors          number of failed calls (status error of the callee's span)
--   p50_ns, p99_ns  approximate percentiles of the duration of the callee's span, nanoseconds
SELECT
  parent.attributes['service.name'] AS caller,
  child.attributes['service.name'] AS callee,
  sum(child.sample_weight) AS calls,
  coalesce(sum(child.sample_weight) FILTER (WHERE child.status = 'error'), 0.0) AS errors,
  p50(child.duration_ns, child.sample_weight) AS p50_ns,
  p99(child.duration_ns, child.sample_weight) AS p99_ns
FROM events AS child
JOIN events AS parent ON parent.trace_id = child.trace_id AND parent.span_id = child.parent_span_id
WHERE child.signal = 'span'
  AND parent.signal = 'span'
  AND parent.attributes['service.name'] <> child.attributes['service.name']
GROUP BY parent.attributes['service.name'], child.attributes['service.name']

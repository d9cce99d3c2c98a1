-- operations: calls, errors and latencies, one row per service and span name.
--
-- Columns:
--   service.name, name
--   spans         number of spans stored
--   calls         number of calls that the spans stand for: the sum of sample_weight
--   errors        number of those calls that failed (status error)
--   error_rate    errors / calls, 0 to 1
--   p50_ns, p95_ns, p99_ns  percentiles of the duration of the calls, within 1 %, nanoseconds
--   max_ns        longest duration, nanoseconds
--   first_seen, last_seen   earliest and latest start
SELECT
  attributes['service.name'] AS "service.name",
  name,
  count(*) AS spans,
  sum(sample_weight) AS calls,
  coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) AS errors,
  coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) / sum(sample_weight) AS error_rate,
  p50(duration_ns, sample_weight) AS p50_ns,
  p95(duration_ns, sample_weight) AS p95_ns,
  p99(duration_ns, sample_weight) AS p99_ns,
  max(duration_ns) AS max_ns,
  min(timestamp) AS first_seen,
  max(timestamp) AS last_seen
FROM events
WHERE signal = 'span'
GROUP BY attributes['service.name'], name

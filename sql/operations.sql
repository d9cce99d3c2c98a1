-- operations: what services do, one row per service and span name.
--
-- Columns:
--   service.name, name
--   spans         number of spans stored
--   calls         how many calls they stand for: the sum of sample_weight
--   errors        how many of those calls failed (status error)
--   error_rate    errors / calls, 0 to 1
--   p50_ns, p95_ns, p99_ns  approximate percentiles of the duration of the spans stored, nanoseconds
--   max_ns        the longest
--   first_seen, last_seen   earliest and latest start
SELECT
  attributes['service.name'] AS "service.name",
  name,
  count(*) AS spans,
  sum(sample_weight) AS calls,
  coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) AS errors,
  coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) / sum(sample_weight) AS error_rate,
  approx_percentile_cont(duration_ns, 0.5) AS p50_ns,
  approx_percentile_cont(duration_ns, 0.95) AS p95_ns,
  approx_percentile_cont(duration_ns, 0.99) AS p99_ns,
  max(duration_ns) AS max_ns,
  min(timestamp) AS first_seen,
  max(timestamp) AS last_seen
FROM events
WHERE signal = 'span'
GROUP BY attributes['service.name'], name

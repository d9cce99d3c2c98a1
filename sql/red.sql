-- red(source, by, step): rate, errors and duration of calls over time, one row per group and step that has a call.
--
-- Parameters:
--   source  spans, or a query in parentheses
--   by      an attribute or expression, or several in parentheses; default: service.name
--   step    length of a step; default: interval '1 minute'
-- Columns:
--   time           start of the step, a multiple of step
--   one per expression of by
--   calls          number of calls that the spans stand for: the sum of sample_weight
--   rate           calls per second
--   errors         number of those calls that failed (status error)
--   error_rate     errors / calls, 0 to 1
--   p50_ns, p95_ns, p99_ns  percentiles of the duration of the calls, within 1 %, nanoseconds
--   trace_id       trace of the slowest call
SELECT
  date_bin($step, timestamp) AS time,
  $by,
  sum(sample_weight) AS calls,
  sum(sample_weight) / date_part('epoch', $step) AS rate,
  coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) AS errors,
  coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) / sum(sample_weight) AS error_rate,
  p50(duration_ns, sample_weight) AS p50_ns,
  p95(duration_ns, sample_weight) AS p95_ns,
  p99(duration_ns, sample_weight) AS p99_ns,
  exemplar(trace_id, duration_ns) AS trace_id
FROM source
GROUP BY date_bin($step, timestamp), $by

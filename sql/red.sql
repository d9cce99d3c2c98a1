-- red(source, by, step, fill): rate, errors and duration of calls over time, one row per group and step that has a call.
--
-- Parameters:
--   source  spans, or a query in parentheses
--   by      an attribute or expression, or several in parentheses; default: service.name
--   step    length of a step; default: interval '1 minute'
--   fill    true adds a row for each step of a group without a call: none of zero calls is left out; default: false
-- Columns:
--   time           start of the step, a multiple of step
--   one per expression of by
--   calls          number of calls that the spans stand for: the sum of sample_weight
--   rate           calls per second
--   errors         number of those calls that failed (status error)
--   error_rate     errors / calls, 0 to 1; null without calls
--   p50_ns, p95_ns, p99_ns  percentiles of the duration of the calls, within 1 %, nanoseconds
--   trace_id       trace of the slowest call
SELECT
  filled AS time,
  $by_named,
  CASE WHEN filled = time THEN calls ELSE 0.0 END AS calls,
  CASE WHEN filled = time THEN calls ELSE 0.0 END / date_part('epoch', $step) AS rate,
  CASE WHEN filled = time THEN errors ELSE 0.0 END AS errors,
  CASE WHEN filled = time THEN errors / calls END AS error_rate,
  CASE WHEN filled = time THEN p50_ns END AS p50_ns,
  CASE WHEN filled = time THEN p95_ns END AS p95_ns,
  CASE WHEN filled = time THEN p99_ns END AS p99_ns,
  CASE WHEN filled = time THEN trace_id END AS trace_id
FROM (
  SELECT time, $by_numbered, calls, errors, p50_ns, p95_ns, p99_ns, trace_id,
    unnest(filled_steps(time, previous, next, first, last, $step, $fill)) AS filled
  FROM (
    SELECT *,
      lag(time) OVER (PARTITION BY $by_numbered ORDER BY time) AS previous,
      lead(time) OVER (PARTITION BY $by_numbered ORDER BY time) AS next,
      min(time) OVER () AS first,
      max(time) OVER () AS last
    FROM (
      SELECT
        date_bin($step, timestamp) AS time,
        $by_as,
        sum(sample_weight) AS calls,
        coalesce(sum(sample_weight) FILTER (WHERE status = 'error'), 0.0) AS errors,
        p50(duration_ns, sample_weight) AS p50_ns,
        p95(duration_ns, sample_weight) AS p95_ns,
        p99(duration_ns, sample_weight) AS p99_ns,
        exemplar(trace_id, duration_ns) AS trace_id
      FROM source
      GROUP BY date_bin($step, timestamp), $by
    ) AS groups
  ) AS placed
) AS steps

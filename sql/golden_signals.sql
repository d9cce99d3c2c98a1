-- golden_signals(source, by, step, calls, saturation, fill): latency, traffic, errors and saturation over time, one row
-- per group and step that has a call or a measurement.
--
-- Parameters:
--   source      events, or a query in parentheses, with spans and, for the saturation, metric points
--   by          an attribute or expression that spans and points have, or several in parentheses; default: service.name
--   step        length of a step; default: interval '1 minute'
--   calls       a condition: the spans that are calls, such as kind = 'server'; default: all spans
--   saturation  name of a metric that says how full the service is, such as 'process.cpu.utilization'; default: null,
--               none
--   fill        true adds a row for each step of a group with neither; default: false
-- Columns: those of red, and
--   saturation  greatest value of the metric in the step, in the metric's unit; null if there is none
SELECT
  filled AS time,
  $by_named,
  CASE WHEN filled = time THEN calls ELSE 0.0 END AS calls,
  CASE WHEN filled = time THEN calls ELSE 0.0 END / date_part('epoch', $step) AS rate,
  CASE WHEN filled = time THEN errors ELSE 0.0 END AS errors,
  CASE WHEN filled = time AND calls > 0 THEN errors / calls END AS error_rate,
  CASE WHEN filled = time THEN p50_ns END AS p50_ns,
  CASE WHEN filled = time THEN p95_ns END AS p95_ns,
  CASE WHEN filled = time THEN p99_ns END AS p99_ns,
  CASE WHEN filled = time THEN saturation END AS saturation,
  CASE WHEN filled = time THEN trace_id END AS trace_id
FROM (
  SELECT time, $by_numbered, calls, errors, p50_ns, p95_ns, p99_ns, saturation, trace_id,
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
        coalesce(sum(sample_weight) FILTER (WHERE signal = 'span'), 0.0) AS calls,
        coalesce(sum(sample_weight) FILTER (WHERE signal = 'span' AND status = 'error'), 0.0) AS errors,
        p50(duration_ns, sample_weight) FILTER (WHERE signal = 'span') AS p50_ns,
        p95(duration_ns, sample_weight) FILTER (WHERE signal = 'span') AS p95_ns,
        p99(duration_ns, sample_weight) FILTER (WHERE signal = 'span') AS p99_ns,
        max(value) FILTER (WHERE signal = 'metric') AS saturation,
        exemplar(trace_id, duration_ns) FILTER (WHERE signal = 'span') AS trace_id
      FROM source
      WHERE signal = 'span' AND $calls OR signal = 'metric' AND name = $saturation
      GROUP BY date_bin($step, timestamp), $by
    ) AS groups
  ) AS placed
) AS steps

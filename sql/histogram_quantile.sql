-- histogram_quantile(source, q, by, step, series, fill): quantiles of what histograms counted, one row per group and
-- step that has a point.
--
-- Explicit and exponential histograms of both temporalities. Those of a group are added: explicit ones over the bounds
-- that all have, exponential ones at the smallest scale. In the bucket with the quantile, values are taken to be
-- spread evenly, in an exponential one evenly on a logarithmic scale.
--
-- Parameters:
--   source  metrics, or a query in parentheses: points of histograms
--   q       the quantile, 0 to 1; default: 0.99
--   by      an attribute or expression, or several in parentheses; default: name, the metric
--   step    length of a step; default: interval '1 minute'
--   series  see rate
--   fill    see rate
-- Columns:
--   time    begin of the step, a multiple of step: time < timestamp <= time + step
--   one per expression of by
--   value   the quantile, in the metric's unit; null if nothing was counted, or it is not known when
--   count   number of values that were counted in the step
--   sum     their sum
--   series  number of series with a point in the step
SELECT
  filled AS time,
  $by_named,
  CASE WHEN filled = time THEN value END AS value,
  CASE WHEN filled = time THEN count END AS count,
  CASE WHEN filled = time THEN sum END AS sum,
  CASE WHEN filled = time THEN series ELSE 0 END AS series
FROM (
  SELECT time, $by_numbered, value, count, sum, series,
    unnest(filled_steps(time, previous, next, first, last, $step, $fill)) AS filled
  FROM (
    SELECT *,
      lag(time) OVER (PARTITION BY $by_numbered ORDER BY time) AS previous,
      lead(time) OVER (PARTITION BY $by_numbered ORDER BY time) AS next,
      min(time) OVER () AS first,
      max(time) OVER () AS last
    FROM (
      SELECT
        get_field(counted, 'time') AS time,
        $by_numbered,
        histogram_quantile(get_field(counted, 'histogram'), $q) AS value,
        sum(get_field(counted, 'count')) AS count,
        sum(get_field(counted, 'sum')) AS sum,
        count(*) AS series
      FROM (
        SELECT $by_numbered, unnest(steps) AS counted
        FROM (
          SELECT
            $by_as,
            histogram_steps(metric.temporality, timestamp, start_timestamp,
              date_bin($step, timestamp - INTERVAL '1 nanosecond'), histogram.count, histogram.sum, histogram.min,
              histogram.max, histogram.bounds, histogram.bucket_counts, exponential.scale, exponential.zero_count,
              exponential.zero_threshold, exponential.positive_offset, exponential.positive_counts,
              exponential.negative_offset, exponential.negative_counts) AS steps
          FROM source
          WHERE metric.type IN ('histogram', 'exponential_histogram') AND histogram.count IS NOT NULL
          GROUP BY $by, $series, metric.type, metric.temporality
        ) AS all_series
      ) AS all_steps
      GROUP BY get_field(counted, 'time'), $by_numbered
    ) AS groups
  ) AS placed
) AS steps

-- delta(source, by, step, value, series, fill): by how much gauges and other numbers change, one row per group and step
-- that has a point.
--
-- Points count by their difference to the point before of the same series, which may be negative. Nothing is a reset.
-- Delta points add up.
--
-- Parameters: those of rate.
-- Columns:
--   time    begin of the step, a multiple of step: time < timestamp <= time + step
--   one per expression of by
--   delta   sum of the changes of all series of the group; null if nothing is known before the points of the step
--   series  number of series with a point in the step
SELECT
  filled AS time,
  $by_named,
  CASE WHEN filled = time THEN amount END AS delta,
  CASE WHEN filled = time THEN series ELSE 0 END AS series
FROM (
  SELECT time, $by_numbered, amount, resets, series,
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
        sum(get_field(counted, 'amount')) AS amount,
        sum(get_field(counted, 'resets')) AS resets,
        count(*) AS series
      FROM (
        SELECT $by_numbered, unnest(steps) AS counted
        FROM (
          SELECT
            $by_as,
            counter_steps('delta', name, metric.type, metric.monotonic, metric.temporality, timestamp, start_timestamp,
              date_bin($step, timestamp - INTERVAL '1 nanosecond'), try_cast($value AS DOUBLE)) AS steps
          FROM source
          WHERE $value IS NOT NULL
          GROUP BY $by, $series, metric.type, metric.temporality
        ) AS all_series
      ) AS all_steps
      GROUP BY get_field(counted, 'time'), $by_numbered
    ) AS groups
  ) AS placed
) AS steps

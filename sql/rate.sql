-- rate(source, by, step, value, series, fill): how fast counters increase, one row per group and step that has a point.
--
-- Parameters:
--   source  metrics, or a query in parentheses: points of counters
--   by      an attribute or expression, or several in parentheses; default: name, the metric
--   step    length of a step; default: interval '1 minute'
--   value   the number of a point; default: value. histogram.count makes a counter of a histogram, and an expression
--           over logs or other events one of these
--   series  the properties that make points comparable: those of equal ones are of one counter; default: the name, the
--           scope and all attributes
--   fill    true adds a row, without numbers, for each step of a group in which nothing was measured; default: false
-- Columns:
--   time      begin of the step, a multiple of step: time < timestamp <= time + step
--   one per expression of by
--   rate      increase per second; null if nothing is known before the points of the step
--   increase  amount that was counted in the step, over all series of the group; see increase
--   resets    number of resets of counters
--   series    number of series with a point in the step
SELECT
  filled AS time,
  $by_named,
  CASE WHEN filled = time THEN amount END / date_part('epoch', $step) AS rate,
  CASE WHEN filled = time THEN amount END AS increase,
  CASE WHEN filled = time THEN resets END AS resets,
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
            counter_steps('increase', name, metric.type, metric.monotonic, metric.temporality, timestamp, start_timestamp,
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

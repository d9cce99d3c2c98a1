-- increase(source, by, step, value, series, fill): how much counters increase, one row per group and step that has a
-- point.
--
-- Cumulative points count by the difference to the point before of the same series, and by their whole value after a
-- reset (the value is smaller, or start_timestamp is not before that point). The first point of a series counts if the
-- series began in the same step; else it is not known how much of it is new. Delta points add up. A point that says
-- that no value was recorded is a gap: what was counted meanwhile is in the step of the next point.
--
-- Parameters: those of rate.
-- Columns: those of rate, except rate.
SELECT
  filled AS time,
  $by_named,
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

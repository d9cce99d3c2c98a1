-- slo_status(source, objective, good, by, period, at): is a service level objective met, and how fast is its error
-- budget spent? One row per group that has an event in the period.
--
-- Parameters:
--   source     the events that count, such as (SELECT * FROM spans WHERE kind = 'server')
--   objective  share of events that shall be good, above 0 and below 1, such as 0.999
--   good       condition of a good event, such as duration_ns < 300e6; default: status IS DISTINCT FROM 'error'. An event
--              for which it is null is not good
--   by         an attribute or expression, or several in parentheses; default: service.name
--   period     length of time over which the objective holds; default: interval '30 days'
--   at         end of the period; default: now()
-- Columns:
--   one per expression of by
--   total         number of events in the period that the stored ones stand for: the sum of sample_weight
--   bad           number of those that are not good
--   good_rate     share of good ones, 0 to 1
--   objective     the parameter
--   budget_left   share of the error budget, total * (1 - objective) bad events, that is left; below 0 if more is spent
--   burn_5m, burn_30m, burn_1h, burn_6h, burn_3d
--                 burn rate over the last 5 minutes and so on: share of bad events / (1 - objective). At 1 the budget
--                 lasts for exactly the period. Null without events
--   exhausted_in_s  seconds until the budget is spent at the burn rate of the last hour; zero if it is spent, null if
--                 nothing burns
--   alert         'page' if burn rates over 1 h and 5 min are both at least 14.4, or over 6 h and 30 min at least 6;
--                 'ticket' if over 3 d and 6 h both are at least 1; else null. These are the thresholds of the Site
--                 Reliability Workbook, chapter 5, for a period of 30 days
SELECT
  $by_named,
  total,
  bad,
  1 - bad / total AS good_rate,
  objective,
  1 - bad / total / (1 - objective) AS budget_left,
  burn_5m,
  burn_30m,
  burn_1h,
  burn_6h,
  burn_3d,
  CASE
    WHEN bad / total >= 1 - objective THEN 0.0
    WHEN burn_1h > 0 THEN
      (1 - bad / total / (1 - objective)) / burn_1h * date_part('epoch', $period)
  END AS exhausted_in_s,
  CASE
    WHEN burn_1h >= 14.4 AND burn_5m >= 14.4 OR burn_6h >= 6 AND burn_30m >= 6 THEN 'page'
    WHEN burn_3d >= 1 AND burn_6h >= 1 THEN 'ticket'
  END AS alert
FROM (
  SELECT
    $by_numbered,
    objective,
    total,
    coalesce(bad, 0.0) AS bad,
    coalesce(bad_5m, 0.0) / total_5m / (1 - objective) AS burn_5m,
    coalesce(bad_30m, 0.0) / total_30m / (1 - objective) AS burn_30m,
    coalesce(bad_1h, 0.0) / total_1h / (1 - objective) AS burn_1h,
    coalesce(bad_6h, 0.0) / total_6h / (1 - objective) AS burn_6h,
    coalesce(bad_3d, 0.0) / total_3d / (1 - objective) AS burn_3d
  FROM (
    SELECT
      $by_numbered,
      objective,
      sum(weight) AS total,
      sum(weight) FILTER (WHERE is_bad) AS bad,
      sum(weight) FILTER (WHERE timestamp > until - INTERVAL '5 minutes') AS total_5m,
      sum(weight) FILTER (WHERE is_bad AND timestamp > until - INTERVAL '5 minutes') AS bad_5m,
      sum(weight) FILTER (WHERE timestamp > until - INTERVAL '30 minutes') AS total_30m,
      sum(weight) FILTER (WHERE is_bad AND timestamp > until - INTERVAL '30 minutes') AS bad_30m,
      sum(weight) FILTER (WHERE timestamp > until - INTERVAL '1 hour') AS total_1h,
      sum(weight) FILTER (WHERE is_bad AND timestamp > until - INTERVAL '1 hour') AS bad_1h,
      sum(weight) FILTER (WHERE timestamp > until - INTERVAL '6 hours') AS total_6h,
      sum(weight) FILTER (WHERE is_bad AND timestamp > until - INTERVAL '6 hours') AS bad_6h,
      sum(weight) FILTER (WHERE timestamp > until - INTERVAL '3 days') AS total_3d,
      sum(weight) FILTER (WHERE is_bad AND timestamp > until - INTERVAL '3 days') AS bad_3d
    FROM (
      SELECT
        $by_as,
        CAST($objective AS DOUBLE) AS objective,
        CAST($at AS TIMESTAMP(9)) AS until,
        sample_weight AS weight,
        timestamp,
        ($good) IS NOT TRUE AS is_bad
      FROM source
      WHERE timestamp > CAST($at AS TIMESTAMP(9)) - $period AND timestamp <= CAST($at AS TIMESTAMP(9))
    ) AS judged
    GROUP BY $by_numbered, objective
  ) AS sums
) AS rates

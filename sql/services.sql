-- services: what each service sends, one row per service.name; null for events without one.
--
-- Columns:
--   service.name
--   spans          number of rows that are spans; likewise logs and metric_points
--   errors         number of spans with status error
--   events         number of events that all rows stand for: the sum of sample_weight
--   first_seen     earliest timestamp
--   last_seen      latest timestamp
SELECT
  attributes['service.name'] AS "service.name",
  count(*) FILTER (WHERE signal = 'span') AS spans,
  count(*) FILTER (WHERE signal = 'span' AND status = 'error') AS errors,
  count(*) FILTER (WHERE signal = 'log') AS logs,
  count(*) FILTER (WHERE signal = 'metric') AS metric_points,
  sum(sample_weight) AS events,
  min(timestamp) AS first_seen,
  max(timestamp) AS last_seen
FROM events
GROUP BY attributes['service.name']

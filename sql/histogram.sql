-- histogram(source, value, per_decade, width): how a number is distributed, one row per range that has an event.
--
-- Parameters: those of heatmap, except step.
-- Columns: those of heatmap, except time.
SELECT
  low,
  CASE WHEN $width IS NULL THEN log_bucket_end(low, $per_decade) ELSE low + $width END AS high,
  events,
  calls,
  errors,
  get_field(example, 'trace_id') AS trace_id,
  get_field(example, 'span_id') AS span_id
FROM (
  SELECT
    CASE WHEN $width IS NULL THEN log_bucket(number, $per_decade) ELSE floor(number / $width) * $width END AS low,
    count(*) AS events,
    sum(sample_weight) AS calls,
    count(*) FILTER (WHERE failed) AS errors,
    exemplar(named_struct('trace_id', trace_id, 'span_id', span_id), number) AS example
  FROM (
    SELECT
      try_cast($value AS DOUBLE) AS number,
      status = 'error' OR severity_number >= 17 AS failed,
      sample_weight,
      trace_id,
      span_id
    FROM source
  ) AS numbers
  WHERE number IS NOT NULL
  GROUP BY 1
) AS ranges

-- heatmap(source, value, step, per_decade, width): how a number is distributed over time, one row per cell that has
-- an event.
--
-- Parameters:
--   source      a table of events, such as spans, or a query in parentheses
--   value       a number of each event: duration_ns, an attribute, an expression
--   step        length of a cell in time; default: interval '1 minute'
--   per_decade  number of cells from a value to its tenfold; default: 10
--   width       length of a cell in values, which makes the scale linear; default: null, a logarithmic scale
-- Columns:
--   time               start of the cell, a multiple of step
--   low, high          values of the cell: low <= value < high. In a logarithmic scale zero has a cell of its own,
--                      and negative values have low < value <= high
--   events             number of rows
--   calls              number of events that they stand for: the sum of sample_weight
--   errors             number of rows with status error, or severity_number of 17 or more
--   trace_id, span_id  the event with the greatest value
SELECT
  time,
  low,
  CASE WHEN $width IS NULL THEN log_bucket_end(low, $per_decade) ELSE low + $width END AS high,
  events,
  calls,
  errors,
  get_field(example, 'trace_id') AS trace_id,
  get_field(example, 'span_id') AS span_id
FROM (
  SELECT
    time,
    CASE WHEN $width IS NULL THEN log_bucket(number, $per_decade) ELSE floor(number / $width) * $width END AS low,
    count(*) AS events,
    sum(sample_weight) AS calls,
    count(*) FILTER (WHERE failed) AS errors,
    exemplar(named_struct('trace_id', trace_id, 'span_id', span_id), number) AS example
  FROM (
    SELECT
      date_bin($step, timestamp) AS time,
      try_cast($value AS DOUBLE) AS number,
      status = 'error' OR severity_number >= 17 AS failed,
      sample_weight,
      trace_id,
      span_id
    FROM source
  ) AS numbers
  WHERE number IS NOT NULL
  GROUP BY 1, 2
) AS cells

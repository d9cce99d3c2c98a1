-- trace_diff(a, b): two traces laid over each other, one row per path of services and names. Spans with the same
-- service and name below the same path are one row. In tree order, as trace_rows.
--
-- Parameters: two trace ids, 32 hex digits in any case.
-- Columns:
--   row                           0 for the first
--   depth                         number of spans above it
--   service.name, name
--   a_spans, b_spans              number of spans in each trace; 0 where it has no such path
--   a_errors, b_errors            number of those that failed
--   a_duration_ns, b_duration_ns  sum of their durations, nanoseconds; null where there are none
--   difference_ns                 b_duration_ns - a_duration_ns, where none is 0
--   a_self_ns, b_self_ns          sum of the times in which none of their children ran, nanoseconds
SELECT
  get_field(path, 'row') AS row,
  get_field(path, 'depth') AS depth,
  get_field(path, 'service') AS "service.name",
  get_field(path, 'name') AS name,
  get_field(path, 'a_spans') AS a_spans,
  get_field(path, 'b_spans') AS b_spans,
  get_field(path, 'a_errors') AS a_errors,
  get_field(path, 'b_errors') AS b_errors,
  get_field(path, 'a_duration_ns') AS a_duration_ns,
  get_field(path, 'b_duration_ns') AS b_duration_ns,
  coalesce(get_field(path, 'b_duration_ns'), 0) - coalesce(get_field(path, 'a_duration_ns'), 0) AS difference_ns,
  get_field(path, 'a_self_ns') AS a_self_ns,
  get_field(path, 'b_self_ns') AS b_self_ns
FROM (
  SELECT unnest(all_paths) AS path
  FROM (
    SELECT trace_difference(span_id, parent_span_id, timestamp, duration_ns, kind, status, attributes['service.name'],
      name, sample_weight, 0,
      CASE WHEN lower($a) = lower($b) THEN NULL WHEN trace_id = $a THEN true ELSE false END) AS all_paths
    FROM events
    WHERE trace_id IN ($a, $b) AND signal = 'span'
  ) AS difference
) AS paths
ORDER BY get_field(path, 'row')

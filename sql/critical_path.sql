-- critical_path(trace_id): the parts of spans that the duration of a trace depends on, in the order of time. At each
-- moment it is the deepest span that what comes after waited for. Of several trees in a trace it is that of the longest.
--
-- Parameter: the trace id, 32 hex digits in any case.
-- Columns:
--   timestamp      begin of the part
--   duration_ns    its length, nanoseconds
--   share          of the whole path, 0 to 1
--   row, depth     those of trace_rows
--   span_id, service.name, name
SELECT
  get_field(part, 'timestamp') AS timestamp,
  get_field(part, 'duration_ns') AS duration_ns,
  get_field(part, 'share') AS share,
  get_field(part, 'row') AS row,
  get_field(part, 'depth') AS depth,
  get_field(part, 'span_id') AS span_id,
  get_field(part, 'service') AS "service.name",
  get_field(part, 'name') AS name
FROM (
  SELECT unnest(all_parts) AS part
  FROM (
    SELECT trace_critical_path(span_id, parent_span_id, timestamp, duration_ns, kind, status,
      attributes['service.name'], name, sample_weight, coalesce(CAST(array_length(links) AS BIGINT), 0), true) AS all_parts
    FROM events
    WHERE trace_id = $trace_id AND signal = 'span'
  ) AS path
) AS parts
ORDER BY get_field(part, 'timestamp'), get_field(part, 'row')

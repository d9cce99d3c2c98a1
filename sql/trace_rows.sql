-- trace_rows(trace_id): the spans of a trace as a tree, one row per span. Parents stand before their children, siblings
-- in the order of their starts; spans without a parent come first, then those whose parent is missing, then circles.
--
-- Parameter: the trace id, 32 hex digits in any case.
-- Columns:
--   row            0 for the first
--   depth          number of spans above it; parent_row is the next of them, null at depth 0
--   span_id, parent_span_id, service.name, name, kind, status, timestamp, duration_ns   as in spans
--   self_ns        time in which none of its children ran, nanoseconds
--   critical_ns    time on the critical path, nanoseconds; see critical_path
--   spans_below    number of spans below it
--   error_path     true if it failed, or a span below it
--   error_origin   true if it failed and no span below it
--   links          number of its links; trace_links lists them
--   notes          'the parent is missing', 'the parents form a circle', 'starts before its parent' (clocks differ),
--                  'shares its id with its caller' (both halves of a call with one id, as Zipkin sends them: the
--                  server's is below the client's); null for none
-- A trace may have a million spans, and any depth.
SELECT
  get_field(span, 'row') AS row,
  get_field(span, 'depth') AS depth,
  get_field(span, 'parent_row') AS parent_row,
  get_field(span, 'span_id') AS span_id,
  get_field(span, 'parent_span_id') AS parent_span_id,
  get_field(span, 'service') AS "service.name",
  get_field(span, 'name') AS name,
  get_field(span, 'kind') AS kind,
  get_field(span, 'status') AS status,
  get_field(span, 'timestamp') AS timestamp,
  get_field(span, 'duration_ns') AS duration_ns,
  get_field(span, 'self_ns') AS self_ns,
  get_field(span, 'critical_ns') AS critical_ns,
  get_field(span, 'spans_below') AS spans_below,
  get_field(span, 'error_path') AS error_path,
  get_field(span, 'error_origin') AS error_origin,
  get_field(span, 'links') AS links,
  get_field(span, 'notes') AS notes
FROM (
  SELECT unnest(all_spans) AS span
  FROM (
    SELECT trace_tree(span_id, parent_span_id, timestamp, duration_ns, kind, status, attributes['service.name'], name,
      sample_weight, coalesce(CAST(array_length(links) AS BIGINT), 0), true) AS all_spans
    FROM events
    WHERE trace_id = $trace_id AND signal = 'span'
  ) AS tree
) AS spans_of_tree
ORDER BY get_field(span, 'row')

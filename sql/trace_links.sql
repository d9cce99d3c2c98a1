-- trace_links(trace_id): the links between a trace and others, one row per link.
--
-- Parameter: the trace id, 32 hex digits in any case.
-- Columns:
--   direction       'to' for links of this trace's spans, 'from' for links of other spans to this trace
--   timestamp       start of the span that has the link
--   trace_id, span_id, service.name, name   that span
--   linked_trace_id, linked_span_id         the span that it leads to
SELECT
  CASE WHEN trace_id = $trace_id THEN 'to' ELSE 'from' END AS direction,
  timestamp,
  trace_id,
  span_id,
  "service.name",
  name,
  get_field(link, 'trace_id') AS linked_trace_id,
  get_field(link, 'span_id') AS linked_span_id
FROM (
  SELECT timestamp, trace_id, span_id, attributes['service.name'] AS "service.name", name, unnest(links) AS link
  FROM events
  WHERE signal = 'span' AND links IS NOT NULL
) AS all_links
WHERE trace_id = $trace_id OR get_field(link, 'trace_id') = $trace_id
ORDER BY timestamp, span_id

-- service_graph: which service calls which, one row per pair of services where a span of one is the parent of a span of
-- the other, or a consumer's span links to a producer's.
--
-- The parent is that of trace_rows: where the halves of a call share a span id, it is the client's. A consumer's link to
-- its own parent is the same call.
--
-- Columns:
--   caller, callee  service names
--   calls           number of calls: the sum of the callees' sample_weight
--   errors          number of failed calls (status error of the callee's span)
--   messages        number of those calls that are messages: the callee's span is a consumer
--   p50_ns, p99_ns  approximate percentiles of the duration of the callee's span, nanoseconds
SELECT
  caller,
  callee,
  sum(weight) AS calls,
  coalesce(sum(weight) FILTER (WHERE failed), 0.0) AS errors,
  coalesce(sum(weight) FILTER (WHERE message), 0.0) AS messages,
  p50(duration_ns, weight) AS p50_ns,
  p99(duration_ns, weight) AS p99_ns
FROM (
  SELECT
    get_field(edge, 'caller') AS caller,
    get_field(edge, 'callee') AS callee,
    get_field(edge, 'weight') AS weight,
    get_field(edge, 'failed') AS failed,
    get_field(edge, 'message') AS message,
    get_field(edge, 'duration_ns') AS duration_ns
  FROM (
    SELECT unnest(all_edges) AS edge
    FROM (
      SELECT service_edges(span_id, parent_span_id, timestamp, duration_ns, kind, status, attributes['service.name'],
        '', sample_weight, 0, true) AS all_edges
      FROM events
      WHERE signal = 'span' AND trace_id IS NOT NULL
      GROUP BY trace_id
    ) AS trees
  ) AS edges
  UNION ALL
  SELECT
    producer.service AS caller,
    consumer.service AS callee,
    consumer.sample_weight AS weight,
    consumer.status = 'error' AS failed,
    true AS message,
    consumer.duration_ns AS duration_ns
  FROM (
    SELECT get_field(link, 'trace_id') AS linked_trace_id, get_field(link, 'span_id') AS linked_span_id, *
    FROM (
      SELECT trace_id, parent_span_id, attributes['service.name'] AS service, sample_weight, status, duration_ns,
        unnest(links) AS link
      FROM events
      WHERE signal = 'span' AND kind = 'consumer' AND links IS NOT NULL
    ) AS all_links
  ) AS consumer
  JOIN (
    SELECT trace_id, span_id, attributes['service.name'] AS service
    FROM events
    WHERE signal = 'span' AND kind = 'producer'
  ) AS producer ON producer.trace_id = consumer.linked_trace_id AND producer.span_id = consumer.linked_span_id
  WHERE producer.service <> consumer.service
    AND (consumer.parent_span_id IS NULL
      OR consumer.linked_trace_id <> consumer.trace_id
      OR consumer.linked_span_id <> consumer.parent_span_id)
) AS calls
GROUP BY caller, callee

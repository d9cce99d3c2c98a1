-- find_traces(source, shape, a, b, c, d): the traces with spans in a relation, one row per trace.
--
-- Parameters:
--   source      events or spans, or a query in parentheses; with all spans of each trace, also those for which no
--               condition holds. A condition on time or trace_id is no problem, others are for a, b, c and d
--   shape       the relation, of letters that stand for the conditions: 'a >> b' finds spans of b below one of a
--                 a > b, a >> b   the parent, or an ancestor, is in a      a < b, a << b   a child, or a descendant, is
--                 a ~ b           a sibling is in a                        a !> b, …       spans of b without one
--                 a &> b, …       the spans of both sides                  a && b, a || b  both, or either; parentheses
--   a, b, c, d  conditions on a span; c and d default to none. Ids in them are written span_id_from_hex('00f067aa0ba902b7')
-- Columns:
--   trace_id
--   found        number of spans that were found
--   span_ids     their ids, in tree order
--   start        earliest start of a span
--   duration_ns  from the earliest start to the latest end of a span, nanoseconds
--   spans        number of spans
--   errors       number of spans with status error
SELECT
  trace_id,
  CAST(array_length(span_ids) AS BIGINT) AS found,
  span_ids,
  start,
  end_ns - CAST(start AS BIGINT) AS duration_ns,
  spans,
  errors
FROM (
  SELECT
    trace_id,
    spanset($shape, span_id, parent_span_id, timestamp, kind, $a, $b, $c, $d) AS span_ids,
    min(timestamp) AS start,
    max(CAST(timestamp AS BIGINT) + coalesce(duration_ns, 0)) AS end_ns,
    count(*) AS spans,
    count(*) FILTER (WHERE status = 'error') AS errors
  FROM source
  WHERE signal = 'span' AND trace_id IS NOT NULL
  GROUP BY trace_id
) AS traces
WHERE array_length(span_ids) > 0

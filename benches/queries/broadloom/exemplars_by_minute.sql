SELECT date_trunc('minute', timestamp) AS minute, max(duration_ns) / 1e6 AS max_ms,
       first_value(trace_id ORDER BY duration_ns DESC) AS exemplar
FROM spans WHERE parent_span_id IS NULL GROUP BY minute ORDER BY minute

SELECT toStartOfMinute(timestamp) AS minute, max(duration_ns) / 1e6 AS max_ms,
       argMax(trace_id, duration_ns) AS exemplar
FROM events WHERE signal = 'span' AND parent_span_id = '' GROUP BY 1 ORDER BY 1

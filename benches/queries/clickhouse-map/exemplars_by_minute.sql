SELECT toStartOfMinute(Timestamp) AS minute, max(Duration) / 1e6 AS max_ms, argMax(TraceId, Duration) AS exemplar
FROM events WHERE Signal = 'span' AND ParentSpanId = '' GROUP BY 1 ORDER BY 1

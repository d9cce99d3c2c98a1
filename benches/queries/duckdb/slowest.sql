SELECT timestamp, trace_id, span_id, name, kind, status, duration_ns, "service.name"
FROM events WHERE signal = 'span' ORDER BY duration_ns DESC LIMIT 100

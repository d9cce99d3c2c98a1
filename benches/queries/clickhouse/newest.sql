SELECT timestamp, signal, trace_id, span_id, name, kind, status, duration_ns, severity, body, `service.name`
FROM events ORDER BY timestamp DESC LIMIT 100

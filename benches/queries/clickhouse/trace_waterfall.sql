SELECT timestamp, duration_ns, span_id, parent_span_id, `service.name`, name, kind, status
FROM events WHERE trace_id = '{trace_id}' ORDER BY timestamp

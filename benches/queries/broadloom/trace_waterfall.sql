SELECT timestamp, duration_ns, span_id, parent_span_id, service.name, name, kind, status
FROM trace('{trace_id}')

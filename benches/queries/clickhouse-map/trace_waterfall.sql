SELECT Timestamp AS timestamp, Duration AS duration_ns, SpanId, ParentSpanId, ServiceName, SpanName, SpanKind, StatusCode
FROM events WHERE TraceId = '{trace_id}' ORDER BY timestamp

SELECT Timestamp AS timestamp, TraceId, SpanId, SpanName, SpanKind, StatusCode, Duration AS duration_ns, ServiceName
FROM events WHERE Signal = 'span' ORDER BY duration_ns DESC LIMIT 100

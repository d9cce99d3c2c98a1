SELECT Timestamp AS timestamp, Signal, TraceId, SpanId, SpanName, SpanKind, StatusCode, Duration AS duration_ns,
       SeverityText, Body, ServiceName
FROM events ORDER BY timestamp DESC LIMIT 100

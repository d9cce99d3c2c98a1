SELECT * FROM events WHERE TraceId = '{trace_id}' ORDER BY Timestamp

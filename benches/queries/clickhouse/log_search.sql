SELECT timestamp, `service.name`, severity, trace_id, body
FROM events WHERE signal = 'log' AND body LIKE '%{text}%' ORDER BY timestamp LIMIT 200

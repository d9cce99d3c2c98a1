SELECT timestamp, service.name, severity, trace_id, body
FROM logs WHERE body LIKE '%{text}%' ORDER BY timestamp LIMIT 200

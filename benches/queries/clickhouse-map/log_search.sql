SELECT Timestamp AS timestamp, ServiceName, SeverityText, TraceId, Body
FROM events WHERE Signal = 'log' AND Body LIKE '%{text}%' ORDER BY timestamp LIMIT 200

SELECT * FROM events WHERE trace_id = '{trace_id}' ORDER BY timestamp

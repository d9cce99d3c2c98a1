-- trace(trace_id): everything that belongs to one trace, earliest first: spans, span events and logs.
--
-- Parameter: the trace id, 32 hex digits in any case.
-- Columns: those of events; any attribute can be named.
SELECT * FROM events WHERE trace_id = $trace_id ORDER BY timestamp

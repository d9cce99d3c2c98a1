-- span_events: events inside spans, including exceptions, one row per OTLP span event.
--
-- Columns: those of events; any attribute can be named. trace_id and span_id are the span's.
SELECT * FROM events WHERE signal = 'span_event'

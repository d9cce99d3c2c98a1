-- exceptions: thrown errors, from span events named 'exception' and from logs and other events with exception.type.
--
-- Columns: those of events; any attribute can be named. The usual ones are exception.type,
-- exception.message and exception.stacktrace.
SELECT * FROM events
WHERE (signal = 'span_event' AND name = 'exception') OR attributes['exception.type'] IS NOT NULL

-- logs: log records and structured log lines, one row per record.
--
-- Columns: those of events; any attribute can be named, and entries of a structured body as body.<key>.
--   timestamp        time of the record, or when it was observed where it has none
--   severity_number  1 to 24: trace 1, debug 5, info 9, warn 13, error 17, fatal 21
--   severity         its name: TRACE, DEBUG, INFO, WARN, ERROR or FATAL; each of the two follows from the other
--                    where it was not sent
--   severity_text    the producer's own word for it, if it sent one
--   body             the message; a structured one reads as JSON
SELECT * FROM events WHERE signal = 'log'

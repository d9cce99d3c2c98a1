-- spans: units of work with a duration, one row per OTLP span.
--
-- Columns: those of events; any attribute can be named, http.route for example.
--   timestamp    start; where that is unknown, the end or the time of receipt, and timestamp_origin says so
--   duration_ns  end − start as the span itself says, nanoseconds; null where one of them is unknown
--   status       unset, ok or error
SELECT * FROM events WHERE signal = 'span'

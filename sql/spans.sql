-- spans: units of work with a duration, one row per OTLP span.
--
-- Columns: those of events; any attribute can be named, http.route for example.
--   timestamp    start; if unknown, the end, otherwise the time of receipt, and timestamp_origin says so
--   duration_ns  end − start as sent, nanoseconds; null if one of them is unknown
--   status       unset, ok or error
SELECT * FROM events WHERE signal = 'span'

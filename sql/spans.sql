-- spans: units of work with a duration, one row per OTLP span.
--
-- Columns: those of events; any attribute can be named, http.route for example.
--   timestamp    start
--   duration_ns  end − start as the span itself says, nanoseconds
--   status       unset, ok or error
SELECT * FROM events WHERE signal = 'span'

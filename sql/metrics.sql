-- metrics: one row per data point of a gauge, sum, histogram, exponential histogram or summary.
--
-- Columns: those of events; any attribute can be named.
--   name         name of the metric
--   value        number of a gauge or sum, sent as integer or double; null, like all measured values, if the
--                producer flagged that nothing was recorded (bit 0 of flags)
--   metric.type, metric.unit, metric.temporality, metric.monotonic
--   histogram.count, histogram.sum, histogram.min, histogram.max, histogram.bounds,
--   histogram.bucket_counts
SELECT * FROM events WHERE signal = 'metric'

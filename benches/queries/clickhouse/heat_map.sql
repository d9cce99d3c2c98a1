SELECT toStartOfMinute(timestamp) AS minute, floor(log2(duration_ns) * 2) AS bucket, count() AS n
FROM events WHERE signal = 'span' AND kind = 'server' AND duration_ns > 0 GROUP BY 1, 2 ORDER BY 1, 2

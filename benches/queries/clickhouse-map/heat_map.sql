SELECT toStartOfMinute(Timestamp) AS minute, floor(log2(Duration) * 2) AS bucket, count() AS n
FROM events WHERE Signal = 'span' AND SpanKind = 'server' AND Duration > 0 GROUP BY 1, 2 ORDER BY 1, 2

SELECT date_trunc('minute', timestamp) AS minute, floor(log2(duration_ns) * 2) AS bucket, count(*) AS n
FROM spans WHERE kind = 'server' AND duration_ns > 0 GROUP BY minute, bucket ORDER BY minute, bucket

SELECT "os.version", quantile_cont(duration_ns, 0.99) / 1e6 AS p99_ms, count(*) AS n
FROM events
WHERE signal = 'span' AND "cloud.region" = '{region}' AND "http.request.method" = '{method}'
  AND "http.route" = '{route}'
GROUP BY 1 ORDER BY 2 DESC

SELECT os.version, p99(duration_ns) / 1e6 AS p99_ms, count(*) AS n
FROM spans
WHERE cloud.region = '{region}' AND http.request.method = '{method}' AND http.route = '{route}'
GROUP BY os.version ORDER BY p99_ms DESC

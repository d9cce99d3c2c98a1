-- The two durations between which the exact 99th percentile lies; for DuckDB.
SELECT "os.version", count(*) AS n,
       list_sort(list(duration_ns))[floor(0.99 * (count(*) - 1))::bigint + 1] / 1e6 AS low,
       list_sort(list(duration_ns))[ceil(0.99 * (count(*) - 1))::bigint + 1] / 1e6 AS high
FROM events
WHERE signal = 'span' AND "cloud.region" = '{region}' AND "http.request.method" = '{method}'
  AND "http.route" = '{route}'
GROUP BY 1

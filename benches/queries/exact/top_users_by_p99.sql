-- The two durations between which every user's exact 99th percentile lies; for DuckDB.
SELECT "user.id", count(*) AS n,
       list_sort(list(duration_ns))[floor(0.99 * (count(*) - 1))::bigint + 1] / 1e6 AS low,
       list_sort(list(duration_ns))[ceil(0.99 * (count(*) - 1))::bigint + 1] / 1e6 AS high
FROM events WHERE signal = 'span' AND "user.id" IS NOT NULL
GROUP BY 1 HAVING count(*) >= 20

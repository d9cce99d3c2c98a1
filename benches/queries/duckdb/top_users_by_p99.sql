SELECT "user.id", quantile_cont(duration_ns, 0.99) / 1e6 AS p99_ms, count(*) AS n
FROM events WHERE signal = 'span' AND "user.id" IS NOT NULL
GROUP BY 1 HAVING count(*) >= 20 ORDER BY 2 DESC LIMIT 20

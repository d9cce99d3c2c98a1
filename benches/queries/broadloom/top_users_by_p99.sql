SELECT user.id, p99(duration_ns) / 1e6 AS p99_ms, count(*) AS n
FROM spans WHERE user.id IS NOT NULL
GROUP BY user.id HAVING count(*) >= 20 ORDER BY p99_ms DESC LIMIT 20

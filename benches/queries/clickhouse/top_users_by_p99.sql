SELECT `user.id`, quantileTDigest(0.99)(duration_ns) / 1e6 AS p99_ms, count() AS n
FROM events WHERE signal = 'span' AND `user.id` != ''
GROUP BY 1 HAVING count() >= 20 ORDER BY 2 DESC LIMIT 20

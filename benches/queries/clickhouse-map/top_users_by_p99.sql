SELECT Attributes['user.id'] AS user, quantileTDigest(0.99)(Duration) / 1e6 AS p99_ms, count() AS n
FROM events WHERE Signal = 'span' AND Attributes['user.id'] != ''
GROUP BY 1 HAVING count() >= 20 ORDER BY 2 DESC LIMIT 20

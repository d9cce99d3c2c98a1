SELECT date_trunc('minute', timestamp) AS minute, count(*) AS n
FROM events GROUP BY minute ORDER BY minute

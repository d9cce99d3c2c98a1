SELECT date_trunc('minute', timestamp) AS minute, count(*) AS n FROM events GROUP BY 1 ORDER BY 1

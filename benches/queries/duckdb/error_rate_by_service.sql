SELECT "service.name", count(*) FILTER (WHERE status = 'error') * 1.0 / count(*) AS error_rate, count(*) AS n
FROM events WHERE signal = 'span' GROUP BY 1 ORDER BY 2 DESC

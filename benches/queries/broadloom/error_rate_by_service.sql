SELECT service.name, count(*) FILTER (WHERE status = 'error') * 1.0 / count(*) AS error_rate, count(*) AS n
FROM spans GROUP BY service.name ORDER BY error_rate DESC

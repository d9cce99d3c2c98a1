SELECT ServiceName, countIf(StatusCode = 'error') * 1.0 / count() AS error_rate, count() AS n
FROM events WHERE Signal = 'span' GROUP BY 1 ORDER BY 2 DESC

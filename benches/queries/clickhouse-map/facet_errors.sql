SELECT ServiceName, count() AS n
FROM events WHERE Signal = 'span' AND StatusCode = 'error' GROUP BY 1 ORDER BY 2 DESC

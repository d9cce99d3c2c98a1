SELECT `service.name`, count() AS n
FROM events WHERE signal = 'span' AND status = 'error' GROUP BY 1 ORDER BY 2 DESC

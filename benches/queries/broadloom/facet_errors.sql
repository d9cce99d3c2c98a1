SELECT service.name, count(*) AS n
FROM spans WHERE status = 'error' GROUP BY service.name ORDER BY n DESC

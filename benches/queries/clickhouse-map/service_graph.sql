SELECT parent.ServiceName AS caller, child.ServiceName AS callee, count() AS calls, avg(child.Duration) / 1e6 AS avg_ms
FROM
    (SELECT TraceId, ParentSpanId, ServiceName, Duration FROM events
     WHERE Signal = 'span' AND ParentSpanId != '') AS child
JOIN (SELECT TraceId, SpanId, ServiceName FROM events WHERE Signal = 'span') AS parent
  ON child.TraceId = parent.TraceId AND child.ParentSpanId = parent.SpanId
WHERE parent.ServiceName <> child.ServiceName
GROUP BY 1, 2 ORDER BY 3 DESC

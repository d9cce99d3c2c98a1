SELECT parent."service.name" AS caller, child."service.name" AS callee, count(*) AS calls,
       avg(child.duration_ns) / 1e6 AS avg_ms
FROM events AS child
JOIN events AS parent ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id
WHERE child.signal = 'span' AND parent.signal = 'span' AND parent."service.name" <> child."service.name"
GROUP BY 1, 2 ORDER BY 3 DESC

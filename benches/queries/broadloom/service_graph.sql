SELECT parent.service.name AS caller, child.service.name AS callee, count(*) AS calls,
       avg(child.duration_ns) / 1e6 AS avg_ms
FROM spans AS child
JOIN spans AS parent ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id
WHERE parent.service.name <> child.service.name
GROUP BY caller, callee ORDER BY calls DESC

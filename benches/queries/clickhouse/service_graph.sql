SELECT parent.`service.name` AS caller, child.`service.name` AS callee, count() AS calls,
       avg(child.duration_ns) / 1e6 AS avg_ms
FROM
    (SELECT trace_id, parent_span_id, `service.name`, duration_ns FROM events
     WHERE signal = 'span' AND parent_span_id != '') AS child
JOIN (SELECT trace_id, span_id, `service.name` FROM events WHERE signal = 'span') AS parent
  ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id
WHERE parent.`service.name` <> child.`service.name`
GROUP BY 1, 2 ORDER BY 3 DESC

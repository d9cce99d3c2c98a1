-- log_context(at, source, before, after): records around an instant, oldest first.
--
-- Parameters:
--   at      the instant; records of the instant itself are among those before
--   source  log records, or a query in parentheses, that says which are neighbours, such as those of one service
--           and pod; default: logs
--   before  most records up to the instant; default: 20
--   after   most records after it; default: 20
-- Columns: those of the source.
SELECT * FROM (
  SELECT * FROM (SELECT * FROM source WHERE timestamp <= $at ORDER BY timestamp DESC LIMIT $before) AS earlier
  UNION ALL
  SELECT * FROM (SELECT * FROM source WHERE timestamp > $at ORDER BY timestamp LIMIT $after) AS later
) AS around
ORDER BY timestamp

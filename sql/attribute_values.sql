-- attribute_values(key, prefix, source): the values of an attribute, the most frequent first. Indexes answer it, once the
-- attribute was asked for before and if a segment has at most 2,048 of its values.
--
-- Parameters:
--   key     an attribute or column, or its name as text: http.route, 'http.route'
--   prefix  the beginning of the values; default: '', all
--   source  events, or a query in parentheses; default: events
-- Columns:
--   value   as text
--   events  number of events that have it
SELECT CAST($key AS VARCHAR) AS value, count(*) AS events
FROM source
WHERE $key IS NOT NULL AND starts_with(CAST($key AS VARCHAR), $prefix)
GROUP BY CAST($key AS VARCHAR)
ORDER BY events DESC, value

-- keys_of(source): the attribute keys of some events, one row per key and level, the most frequent first. Reads all
-- attributes of these events; the view attributes says the same of all events at once.
--
-- Parameter:
--   source  spans or logs, or a query in parentheses that passes attributes on, such as SELECT *
-- Columns:
--   key, level, types  those of attributes
--   events             number of events that have it
--   share              of the events of source, 0 to 1
--   distinct_values    number of different values, exact up to 4,096, else within a few percent
--   once               number of values that only one event has
--   top_values         the most frequent values, with the number of events: at most 10; of more than 4,096 values, among
--                      those that came first
SELECT
  get_field(entry, 'key') AS key,
  get_field(entry, 'level') AS level,
  get_field(entry, 'types') AS types,
  get_field(entry, 'events') AS events,
  get_field(entry, 'share') AS share,
  get_field(entry, 'distinct_values') AS distinct_values,
  get_field(entry, 'once') AS once,
  get_field(entry, 'top_values') AS top_values
FROM (
  SELECT unnest(entries) AS entry
  FROM (SELECT summarize_keys(typed_attributes) AS entries FROM source) AS summary
) AS keys
ORDER BY get_field(entry, 'events') DESC, get_field(entry, 'key'), get_field(entry, 'level')

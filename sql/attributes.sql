-- attributes: the attribute keys of all events, one row per key and level. Says it without reading events, from the
-- catalog and the events that are not in a segment yet; only distinct_values and top_values, if they are selected, come
-- from a sample of 2,000 events.
--
-- Columns:
--   key, level      level: record (the span, log or point itself), scope, resource, or body (an entry of a log's body)
--   types           types of its values: integer, double, boolean, text, bytes, json; several are separated by ', '
--   events          number of events that have it; null if it is too rare to be counted anywhere: segments count keys
--                   that at least one of 2,000 events has, with the type that most of these have
--   share           of all events, 0 to 1
--   exact           false if there may be more events, for that reason, and if events were deleted, which are counted
--                   until their segment is rewritten
--   first_seen, last_seen  earliest and latest timestamp of the segments that have it
--   sampled         number of events in the sample that have it
--   distinct_values number of different values: exact if all events are in the sample, else an estimate; null without
--                   a value in the sample
--   top_values      the most frequent values in the sample, with the number of events: at most 10
SELECT key, level, types, events, share, exact, first_seen, last_seen, sampled, distinct_values, top_values
FROM attribute_facts

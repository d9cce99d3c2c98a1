-- explain_diff(source, selection, baseline, across, values, keys): what is different about some events? One row per
-- value whose share differs, the most different key first.
--
-- Parameters:
--   source     a table of events, such as spans, or a query in parentheses
--   selection  a condition: the events to explain
--   baseline   a condition: the events to compare with; default: all others of source
--   across     'rows' compares events, 'traces' whole traces: those with a selected event, with all their spans, span
--              events and logs; default: 'rows'
--   values     most values of a key; default: 8
--   keys       most keys; default: 40
-- Columns:
--   rank             1 for the most different key; rows of one key have one rank
--   kind             value; range, of numbers; absent: without the key; unique: a key whose values hardly occur twice
--   key              name as in SQL
--   level            core, resource, scope, record or body
--   type             type of the key; prefix if value is the beginning of several texts
--   service          across traces: the service whose events have the value; null for absent
--   value            the value, or a prefix and *
--   low, high        range: low <= x < high
--   effect           selection − baseline, −1 to 1; null for unique
--   p                probability of such a difference by chance, corrected for the number of keys and values; at most
--                    0.01; null for unique
--   selection_rows, baseline_rows    number of rows, or of traces, with the value
--   selection, baseline              their shares, 0 to 1
--   selection_total, baseline_total  number of all rows, or traces
--   goes_with        keys that differ together with this value; they have no rows of their own
SELECT
  get_field(entry, 'rank') AS rank,
  get_field(entry, 'kind') AS kind,
  get_field(entry, 'key') AS key,
  get_field(entry, 'level') AS level,
  get_field(entry, 'type') AS type,
  get_field(entry, 'service') AS service,
  get_field(entry, 'value') AS value,
  get_field(entry, 'low') AS low,
  get_field(entry, 'high') AS high,
  get_field(entry, 'effect') AS effect,
  get_field(entry, 'p') AS p,
  get_field(entry, 'selection_rows') AS selection_rows,
  get_field(entry, 'baseline_rows') AS baseline_rows,
  get_field(entry, 'selection') AS selection,
  get_field(entry, 'baseline') AS baseline,
  get_field(entry, 'selection_total') AS selection_total,
  get_field(entry, 'baseline_total') AS baseline_total,
  get_field(entry, 'goes_with') AS goes_with
FROM (SELECT unnest(entries) AS entry FROM differences) AS differences
ORDER BY get_field(entry, 'ordinal')

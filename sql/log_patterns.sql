-- log_patterns(source): kinds of messages, one row per pattern and severity.
--
-- Parameters:
--   source  log records, or a query in parentheses; default: logs
-- Columns:
--   pattern      the message with <n>, <hex>, <uuid> and <time> in place of what differs from record to record, by
--                log_pattern(body)
--   severity, severity_number   severity of the records
--   records      number of records stored
--   total        number of records that they stand for: the sum of sample_weight
--   first, last  earliest and latest record
--   services     names of the services, sorted
--   example      message of the latest record
--   trace_id, span_id  of the latest record that is of a trace
SELECT
  pattern,
  severity,
  max(severity_number) AS severity_number,
  count(*) AS records,
  sum(sample_weight) AS total,
  min(timestamp) AS first,
  max(timestamp) AS last,
  array_sort(array_agg(DISTINCT service)) AS services,
  exemplar(body, CAST(timestamp AS BIGINT)) AS example,
  get_field(exemplar(span, CAST(timestamp AS BIGINT)), 'trace_id') AS trace_id,
  get_field(exemplar(span, CAST(timestamp AS BIGINT)), 'span_id') AS span_id
FROM (
  SELECT
    log_pattern(body) AS pattern,
    severity,
    severity_number,
    timestamp,
    body,
    sample_weight,
    attributes['service.name'] AS service,
    CASE WHEN trace_id IS NOT NULL THEN named_struct('trace_id', trace_id, 'span_id', span_id) END AS span
  FROM source
) AS records
GROUP BY pattern, severity

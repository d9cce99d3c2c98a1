// Statements to begin with.

import { h } from "./dom.js";
import { pickButton } from "./pick.js";

/** @type {[string, string][]} */
const EXAMPLES = [
  ["Latency of operations", "select service.name, name, count(*) as calls, p50(duration_ns) / 1e6 as p50_ms, p99(duration_ns) / 1e6 as p99_ms\nfrom spans\ngroup by 1, 2\norder by p99_ms desc\nlimit 50"],
  ["Slowest traces", "select start, root_service, root_name, duration_ns / 1e6 as ms, spans, errors, services, trace_id\nfrom traces\norder by duration_ns desc\nlimit 50"],
  ["Errors by service and operation", "select service.name, name, status_message, count(*) as errors, max(timestamp) as last\nfrom spans\nwhere status = 'error'\ngroup by 1, 2, 3\norder by errors desc\nlimit 50"],
  ["p99 by minute", "select date_trunc('minute', timestamp) as minute, count(*) as spans, p99(duration_ns) / 1e6 as p99_ms\nfrom spans\nwhere kind = 'server'\ngroup by 1\norder by 1 desc\nlimit 120"],
  ["Warnings and errors in logs", "select timestamp, severity, service.name, body, trace_id\nfrom logs\nwhere severity_number >= 13\norder by timestamp desc\nlimit 200"],
  ["Exceptions", "select attributes['exception.type'] as type, service.name, count(*) as exceptions, max(timestamp) as last\nfrom exceptions\ngroup by 1, 2\norder by exceptions desc"],
  ["Who calls whom", "select caller, callee, calls, errors, p99_ns / 1e6 as p99_ms\nfrom service_graph\norder by calls desc"],
  ["What services send", "select service.name, spans, logs, metric_points, first_seen, last_seen\nfrom services\norder by events desc"],
  ["Metrics", "select name, metric.type, metric.unit, count(*) as points, max(timestamp) as last\nfrom metrics\ngroup by 1, 2, 3\norder by points desc"],
];

/** @param {(sql: string) => void} use */
export function examplesButton(use) {
  return pickButton("Examples", () => EXAMPLES.map(([title, sql]) => ({ text: sql, element: h("span", null, h("b", null, title), h("code", null, sql.replace(/\s+/g, " "))) })), use, "");
}

// A list of log records: each a line with its time, severity, service, message and trace.

import { clockOf, dateOf, inFull, now, parseInstant, zoneName } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { duration } from "../state/units.js";
import { fill, h } from "./dom.js";
import { list } from "./list.js";
import { traceAddress } from "./search-box.js";
import { showsValue } from "./value-menu.js";

export const SEVERITIES = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/** A severity in its colour. @param {unknown} severity */
export function severityWord(severity) {
  const name = String(severity ?? "");
  return h(`span.sev.${SEVERITIES.includes(name) ? name.toLowerCase() : "other"}`, null, oneLine(name || "–", 12));
}

/** The message of a record in one line. @param {unknown} body */
export function bodyLine(body) {
  return oneLine(typeof body === "string" ? body : JSON.stringify(body ?? ""), 600);
}

/**
 * @param {{frame: import("./value-menu.js").Frame, label: string, open: (row: number) => void, from?: () => bigint | null}} options `from`: the instant that a
 *   column of times counts from
 */
export function logList(options) {
  /** @type {Record<string, any>[]} */
  let rows = [];
  let isDated = false;
  const { from } = options;
  const found = list({
    name: from === undefined ? "log-list" : "log-list.log-context", label: options.label, rowHeight: 28, narrowHeight: 52,
    columns: [{ name: "time", words: "Time" }, ...(from === undefined ? [] : [{ name: "offset", words: "From it", isNumber: true }]), { name: "severity", words: "Severity" }, { name: "service", words: "Service" }, { name: "body", words: "Message" }, { name: "trace", words: "Trace" }],
    write: (cells, row, element) => write(cells, rows[row], element, row),
    onActive: options.open, onOpen: options.open,
  });

  /** @param {HTMLElement[]} cells @param {Record<string, any>} row @param {HTMLElement} element @param {number} place */
  const write = (cells, row, element, place) => {
    const [time, ...others] = cells;
    const offset = from === undefined ? undefined : others.shift();
    const [severity, service, body, trace] = others;
    const at = parseInstant(row.timestamp) ?? 0n;
    time.textContent = isDated ? `${dateOf(at).slice(5)} ${clockOf(at, 3)}` : clockOf(at, 3);
    time.title = inFull(at);
    if (offset !== undefined) offset.textContent = offsetWords(at, from?.() ?? at);
    fill(severity, severityWord(row.severity));
    service.textContent = oneLine(row.service ?? "", 40);
    body.textContent = bodyLine(row.body);
    const id = row.trace_id;
    fill(trace, id === null ? "" : h("a.mono", { href: traceAddress(id, row.span_id), title: "Open the trace at this span", tabIndex: -1 }, id.slice(0, 8)));
    element.setAttribute("aria-selected", String(found.rows.active === place));
    element.classList.toggle("is-it", row.isIt === true);
    showsValue(element, { key: "service.name", value: row.service, source: "logs" }, options.frame);
  };

  return {
    ...found,
    rowAt: (/** @type {number} */ row) => rows[row],
    /** @param {Record<string, any>[]} next in the order in which they are shown */
    put(next) {
      rows = next;
      const edges = rows.length === 0 ? [now()] : [rows[0], rows[rows.length - 1]].map((row) => parseInstant(row.timestamp) ?? 0n);
      isDated = edges.some((edge) => dateOf(edge) !== dateOf(now()));
      found.element.classList.toggle("dated", isDated);
      found.head("time", `Time (${zoneName(edges[0])})`);
      found.show(rows.length);
    },
  };
}

/** @param {bigint} at @param {bigint} from */
function offsetWords(at, from) {
  const offset = Number(at - from);
  return offset === 0 ? "0" : offset > 0 ? `+${duration(offset)}` : duration(offset);
}

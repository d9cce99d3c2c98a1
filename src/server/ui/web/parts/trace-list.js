// A list of traces, or of single spans: when, what, how long, how many spans, which services.

import { clockOf, dateOf, inFull, now, parseInstant, zoneName } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { count, duration } from "../state/units.js";
import { fill, h } from "./dom.js";
import { list } from "./list.js";
import { traceAddress } from "./search-box.js";
import { colourOf } from "./service-colour.js";
import { showsValue } from "./value-menu.js";

/** @typedef {"traces" | "spans"} Of */

/** @param {{frame: import("./value-menu.js").Frame, label?: string}} options */
export function traceList(options) {
  /** @type {Record<string, any>[]} */
  let rows = [];
  let longest = 1;
  const found = list({
    name: "trace-list", label: options.label ?? "Traces", rowHeight: 34, narrowHeight: 60,
    columns: [
      { name: "time", words: "Time" }, { name: "what", words: "Trace" }, { name: "bar", words: "Length" },
      { name: "duration", words: "Duration", isNumber: true }, { name: "spans", words: "Spans", isNumber: true },
      { name: "errors", words: "Errors", isNumber: true }, { name: "services", words: "Services" },
    ],
    write: (cells, row, element) => {
      write(cells, rows[row]);
      showsValue(element, named(rows[row]), options.frame);
    },
    onOpen: (row) => options.frame.go(addressOfRow(rows[row])),
  });

  /** @param {HTMLElement[]} cells @param {Record<string, any>} row */
  const write = (cells, row) => {
    const [time, what, bar, length, spans, errors, services] = cells;
    const start = parseInstant(startOf(row)) ?? 0n;
    time.textContent = `${dateOf(start) === dateOf(now()) ? "" : `${dateOf(start).slice(5)} `}${clockOf(start, 3)}`;
    time.title = inFull(start);
    const service = row.root_service ?? row.service;
    const name = row.root_name ?? row.name;
    fill(what, h(`span.swatch.s${colourOf(service)}`), h("a", { href: addressOfRow(row) }, h("b", null, oneLine(service ?? "(no service)", 60)), " ", oneLine(name ?? "(no name)", 120)),
      row.notes ? h("span.note-mark", { title: row.notes }, `▲ ${oneLine(row.notes, 60)}`) : null);
    const width = `${Math.max(0.5, ((row.duration_ns ?? 0) / longest) * 100)}%`;
    fill(bar, h(`span.length.s${colourOf(service)}`, { style: { width } }));
    length.textContent = duration(row.duration_ns);
    spans.textContent = row.spans === undefined ? (row.kind ?? "") : count(row.spans);
    const failed = row.errors ?? (row.status === "error" ? 1 : 0);
    fill(errors, failed > 0 ? h("span.worse", null, `▲ ${row.spans === undefined ? "error" : count(failed)}`) : "");
    services.textContent = row.services === undefined ? "" : servicesWords(row.services);
    services.title = Array.isArray(row.services) ? row.services.join(", ") : "";
  };

  return {
    ...found,
    rowAt: (/** @type {number} */ row) => rows[row],
    /** @param {Record<string, any>[]} next @param {Of} of */
    put(next, of) {
      rows = next;
      longest = rows.reduce((most, row) => Math.max(most, row.duration_ns ?? 0), 1);
      found.head("what", of === "traces" ? "Trace" : "Span");
      found.head("spans", of === "traces" ? "Spans" : "Kind");
      found.head("errors", of === "traces" ? "Errors" : "Status");
      found.head("time", `Time (${zoneName(rows.length === 0 ? now() : parseInstant(startOf(rows[0])) ?? 0n)})`);
      found.element.classList.toggle("of-spans", of === "spans");
      // Not in the order of time, and there may be thousands: only the first and the last are looked at.
      const times = rows.map(startOf).sort();
      found.element.classList.toggle("dated", [times[0], times[times.length - 1]].some((time) => time !== undefined && dateOf(parseInstant(time) ?? 0n) !== dateOf(now())));
      found.element.setAttribute("aria-label", options.label ?? (of === "traces" ? "Traces" : "Spans"));
      found.show(rows.length);
    },
  };
}

/** @param {Record<string, any>} row */
export function startOf(row) {
  return String(row.start ?? row.timestamp);
}

/** @param {Record<string, any>} row */
function addressOfRow(row) {
  return row.trace_id === null ? "/traces" : traceAddress(row.trace_id, row.span_id ?? null);
}

/** What keys act on: of a trace its service, of a span its operation. @param {Record<string, any>} row @returns {import("./value-menu.js").Named} */
function named(row) {
  return row.start === undefined ? { key: "name", value: row.name, source: "spans" } : { key: "service.name", value: row.root_service, source: "spans" };
}

/** @param {unknown} services */
function servicesWords(services) {
  const names = Array.isArray(services) ? services.filter((name) => name !== null) : [];
  return names.length <= 2 ? oneLine(names.join(", "), 60) : `${names.length} services`;
}

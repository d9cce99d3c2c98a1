// Traces, or single spans, that meet a condition.

import { objects } from "../data/sql.js";
import { addressOf } from "../state/address.js";
import { rangeOf, stepOf } from "../state/range.js";
import * as statements from "../state/statements.js";
import { clockOf, dateOf, inFull, now, parseInstant, zoneName } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { count, duration, plural } from "../state/units.js";
import { fill, h } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { histogram } from "../parts/histogram.js";
import { list } from "../parts/list.js";
import { Panel } from "../parts/panel.js";
import { traceAddress } from "../parts/search-box.js";
import { colourOf } from "../parts/service-colour.js";
import { whereInput } from "../parts/where-input.js";
import { absolute } from "../state/range.js";

const FIRST_ROWS = 100;
const ROWS_MAX = 5000;
const BUCKETS = 90;

/** @typedef {"traces" | "spans"} Of */

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function tracesPage(frame) {
  const where = () => frame.params().get("where") ?? "";
  const setWhere = (/** @type {string} */ text) => frame.set({ where: text, limit: null });
  const of = () => /** @type {Of} */ (frame.params().get("of") === "spans" ? "spans" : "traces");
  const order = () => {
    const wanted = /** @type {statements.Order} */ (frame.params().get("order") ?? "newest");
    return wanted in statements.ORDERS && statements.ORDERS[wanted][of()] !== null ? wanted : "newest";
  };
  const limit = () => Math.max(1, Math.min(ROWS_MAX, Number(frame.params().get("limit")) || FIRST_ROWS));

  const input = whereInput({ source: "spans", where, set: setWhere, hint: "attribute = value, for example http.route = /checkout   /" });
  const kinds = ["traces", "spans"].map((kind) => h("button", { type: "button", onclick: () => frame.set({ of: kind === "traces" ? null : kind, limit: null }) }, kind === "traces" ? "Traces" : "Spans"));
  const orders = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Order", onchange: () => frame.set({ order: orders.value === "newest" ? null : orders.value, limit: null }) }));
  const bar = h("div.tool-bar", null, h("div.segments", { role: "group", "aria-label": "List" }, ...kinds), orders);

  const chart = histogram({ label: "Spans over time", choose: (from, to) => frame.set(absolute(from, to)) });
  const explore = /** @type {HTMLAnchorElement} */ (h("a.tool", { title: "Figures, heat map, and what is different" }, "Explore"));
  const course = new Panel({ name: "course", tools: [explore], title: "Spans over time", level: 2, draw: drawCourse });
  /** @type {Record<string, any>[]} */
  let rows = [];
  let longest = 1;
  const found = list({
    name: "trace-list", label: "Traces", rowHeight: 34, narrowHeight: 60,
    columns: [
      { name: "time", words: "Time" }, { name: "what", words: "Trace" }, { name: "bar", words: "Length" },
      { name: "duration", words: "Duration", isNumber: true }, { name: "spans", words: "Spans", isNumber: true },
      { name: "errors", words: "Errors", isNumber: true }, { name: "services", words: "Services" },
    ],
    write: (cells, row) => writeRow(cells, rows[row]),
    onOpen: (row) => frame.go(addressOfRow(rows[row])),
  });
  const foot = h("div.list-foot");
  const results = new Panel({ name: "results", title: "Traces", draw: drawResults, empty });
  const element = h("div.page.fill", null, h("h1.off-screen", null, "Traces"), h("div.query", null, input.element, bar), course.element, results.element);

  const update = () => {
    const range = rangeOf(frame.params());
    if (range === null) return fill(results.body, rangeIsWrong());
    input.update();
    explore.href = addressOf("/explore", { where: where(), ...frame.range() });
    kinds.forEach((button, i) => button.setAttribute("aria-pressed", String((i === 0) === (of() === "traces"))));
    const choices = Object.entries(statements.ORDERS).filter(([, one]) => one[of()] !== null);
    fill(orders, ...choices.map(([name, one]) => h("option", { value: name, selected: name === order() }, one.words)));
    const make = of() === "traces" ? statements.traces : statements.spans;
    void course.show({ sql: statements.spansByTime(range, where(), stepOf(range, BUCKETS)) });
    void results.show({ sql: make(range, where(), order(), limit()) });
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function drawCourse(answer) {
    const range = rangeOf(frame.params());
    if (range === null) return null;
    const step = stepOf(range, BUCKETS);
    const buckets = Math.ceil(Number(range.to - range.from) / Number(step));
    const [errors, others] = [Array(buckets).fill(0), Array(buckets).fill(0)];
    for (const row of objects(answer)) {
      const at = Math.floor(Number((parseInstant(row.step) ?? range.from) - range.from) / Number(step));
      if (at < 0 || at >= buckets) continue;
      errors[at] = row.errors;
      others[at] = row.spans - row.errors;
    }
    chart.show({ from: range.from, to: range.to, step, buckets, series: [{ name: "errors", counts: errors, kind: "error" }, { name: "spans", counts: others, kind: "plain" }] });
    return chart.element;
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawResults(answer) {
    if (answer.rows === 0) return null;
    rows = objects(answer);
    longest = Math.max(1, ...rows.map((row) => row.duration_ns ?? 0));
    const isTraces = of() === "traces";
    found.head("what", isTraces ? "Trace" : "Span");
    found.head("time", `Time (${zoneName(parseInstant(startOf(rows[0])) ?? 0n)})`);
    found.element.classList.toggle("of-spans", !isTraces);
    found.element.classList.toggle("dated", rows.some((row) => dateOf(parseInstant(startOf(row)) ?? 0n) !== dateOf(now())));
    found.element.setAttribute("aria-label", isTraces ? "Traces" : "Spans");
    fill(/** @type {HTMLElement} */ (results.head.querySelector("h2")), plural(rows[0].total, isTraces ? "trace" : "span"));
    found.rows.scrollTo(0);
    found.show(rows.length);
    const more = () => frame.set({ limit: String(Math.min(ROWS_MAX, rows.length * 5)) }, "replace");
    const total = Number(rows[0].total);
    const words = total > rows.length ? `The first ${count(rows.length)} of ${count(total)}` : `All ${count(total)}`;
    fill(foot, h("span", null, words), total > rows.length && rows.length < ROWS_MAX ? h("button.tool", { type: "button", onclick: more }, "Show more") : null);
    return h("div.list-and-foot", null, found.element, foot);
  }

  function empty() {
    fill(/** @type {HTMLElement} */ (results.head.querySelector("h2")), of() === "traces" ? "No traces" : "No spans");
    const range = rangeOf(frame.params());
    return range === null ? rangeIsWrong() : whyEmpty(frame, "spans", range, where());
  }

  /** @param {HTMLElement[]} cells @param {Record<string, any>} row */
  function writeRow(cells, row) {
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
  }

  return {
    title: "Traces", element, hasRange: true, update,
    filter: { get where() { return where(); }, setWhere },
    keys: { "/": () => input.focus() },
    close: () => {
      course.stop();
      results.stop();
    },
    cancel: () => [course.cancel(), results.cancel()].includes(true),
  };
}

/** @param {Record<string, any>} row */
function startOf(row) {
  return String(row.start ?? row.timestamp);
}

/** @param {Record<string, any>} row */
function addressOfRow(row) {
  return row.trace_id === null ? "/traces" : traceAddress(row.trace_id, row.span_id ?? null);
}

/** @param {unknown} services */
function servicesWords(services) {
  const names = Array.isArray(services) ? services.filter((name) => name !== null) : [];
  return names.length <= 2 ? oneLine(names.join(", "), 60) : `${names.length} services`;
}

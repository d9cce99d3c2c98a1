// Traces, or single spans, that meet a condition: of a range, or as they come.

import { asProblem, isGivenUp } from "../data/request.js";
import { objects } from "../data/sql.js";
import { pathOf, readPage } from "../data/traces.js";
import { addressOf } from "../state/address.js";
import { lastTraces } from "../state/live-statements.js";
import { absolute, rangeOf, stepOf } from "../state/range.js";
import * as statements from "../state/statements.js";
import { isoOf, now, parseInstant } from "../state/time.js";
import { count, plural } from "../state/units.js";
import { fill, h, refill } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { histogram } from "../parts/histogram.js";
import { instantOf, liveButton, liveList } from "../parts/live.js";
import { Panel, problemNote } from "../parts/panel.js";
import { startOf, traceList } from "../parts/trace-list.js";
import { whereInput } from "../parts/where-input.js";

const FIRST_ROWS = 100;
const ROWS_MAX = 5000;
const BUCKETS = 90;

/** @typedef {import("../parts/trace-list.js").Of} Of */

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function tracesPage(frame) {
  const where = () => frame.params().get("where") ?? "";
  const setWhere = (/** @type {string} */ text) => frame.set({ where: text, limit: null });
  const of = () => /** @type {Of} */ (frame.params().get("of") === "spans" ? "spans" : "traces");
  const order = () => {
    const wanted = /** @type {statements.Order} */ (frame.params().get("order") ?? "newest");
    return wanted in statements.ORDERS && statements.ORDERS[wanted][of()] ? wanted : "newest";
  };
  const limit = () => Math.max(1, Math.min(ROWS_MAX, Number(frame.params().get("limit")) || FIRST_ROWS));
  const isLive = () => frame.params().get("live") === "1";

  const input = whereInput({ source: "spans", where, set: setWhere, hint: "attribute = value, for example http.route = /checkout   /" });
  const kinds = ["traces", "spans"].map((kind) => h("button", { type: "button", onclick: () => frame.set({ of: kind === "traces" ? null : kind, limit: null }) }, kind === "traces" ? "Traces" : "Spans"));
  const orders = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Order", onchange: () => frame.set({ order: orders.value === "newest" ? null : orders.value, limit: null }) }));
  const liveToggle = liveButton("Traces and spans as they come", () => frame.set(isLive() ? { live: null, t: "15m", at: isoOf(now()) } : { live: "1", order: null, limit: null, t: null, at: null }));
  const bar = h("div.tool-bar", null, h("div.segments", { role: "group", "aria-label": "List" }, ...kinds), orders, liveToggle);

  const chart = histogram({ label: "Spans over time", choose: (from, to) => frame.set(absolute(from, to)) });
  const explore = /** @type {HTMLAnchorElement} */ (h("a.tool", { title: "Figures, heat map, and what is different" }, "Explore"));
  const course = new Panel({ name: "course", tools: [explore], title: "Spans over time", level: 2, draw: drawCourse });
  const found = traceList({ frame });
  const foot = h("div.list-foot");
  const results = new Panel({ name: "results", title: "Traces", draw: drawResults, empty });
  const arriving = traceList({ frame, label: "As they come" });
  const live = liveList({
    title: "As they come", what: "row", isUpdated: true, list: arriving, put: (rows) => arriving.put(rows, of()),
    // A trace is made of spans that came before, too, so it is asked for.
    tail: () => (of() === "spans" ? { source: "spans", where: where() } : null),
    statement: (seconds, most) => lastTraces(where(), seconds, most),
    // A trace that grows is another row with the same key.
    entry: (row) => ({ key: of() === "traces" ? String(row.trace_id) : `${row.trace_id} ${row.span_id}`, at: instantOf(startOf(row)), row, state: `${row.spans ?? ""} ${row.duration_ns} ${row.errors ?? ""}` }),
    isReading: () => arriving.rows.active >= 0,
  });
  const element = h("div.page.fill", null, h("h1.off-screen", null, "Traces"), h("div.query.with-bar", null, input.element, bar), course.element);
  let liveOf = "";
  /** Rows that are listed, and what they are a list of. @type {Record<string, any>[]} */
  let rows = [];
  let listed = "";
  let adding = new AbortController();

  const update = () => {
    const isNow = isLive();
    input.update();
    kinds.forEach((button, i) => button.setAttribute("aria-pressed", String((i === 0) === (of() === "traces"))));
    liveToggle.setAttribute("aria-pressed", String(isNow));
    course.element.hidden = orders.hidden = isNow;
    const [own, other] = isNow ? [live.element, results.element] : [results.element, live.element];
    other.remove();
    if (!own.isConnected) element.append(own);
    if (!isNow) {
      live.stop();
      return updateListed();
    }
    listed = "";
    const wanted = `${of()} ${where()}`;
    if (live.isOn && liveOf === wanted) return;
    liveOf = wanted;
    live.start();
  };

  const updateListed = () => {
    const range = rangeOf(frame.params());
    if (range === null) return fill(results.body, rangeIsWrong());
    explore.href = addressOf("/explore", { where: where(), ...frame.range() });
    const choices = Object.entries(statements.ORDERS).filter(([, one]) => one[of()]);
    fill(orders, ...choices.map(([name, one]) => h("option", { value: name, selected: name === order() }, one.words)));
    void course.show({ sql: statements.spansByTime(range, where(), stepOf(range, BUCKETS)) });
    const list = { of: of(), range, where: where(), order: order() };
    const path = pathOf({ ...list, limit: limit() });
    // Rows that were added to the list are in the address too, but need not be asked for again.
    if (rows.length > 0 && listed === JSON.stringify({ ...list, range: frame.range() }) && rows.length >= limit()) return;
    listed = JSON.stringify({ ...list, range: frame.range() });
    rows = [];
    void results.show({ sql: path, read: (options) => readPage(path, options) });
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
    const page = /** @type {import("../data/traces.js").Page} */ (answer);
    rows = objects(page);
    fill(/** @type {HTMLElement} */ (results.head.querySelector("h2")), plural(page.remaining, of() === "traces" ? "trace" : "span"));
    found.rows.scrollTo(0);
    found.put(rows, of());
    drawFoot(page);
    return h("div.list-and-foot", null, found.element, foot);
  }

  /** @param {import("../data/traces.js").Page} page the last one */
  function drawFoot({ next, remaining, rows: ofPage }) {
    const total = rows.length + remaining - ofPage;
    const words = next === null ? `All ${count(rows.length)}` : `The first ${count(rows.length)} of ${count(total)}`;
    const button = next === null ? null : h("button.tool", { type: "button", onclick: () => void more(next) }, "Show more");
    refill(foot, h("span", null, words), button);
  }

  /** Adds the rows after those that are shown. @param {string} after */
  async function more(after) {
    const range = rangeOf(frame.params());
    if (range === null) return;
    adding.abort();
    const own = new AbortController();
    adding = own;
    const path = pathOf({ of: of(), range, where: where(), order: order(), limit: Math.min(ROWS_MAX, rows.length * 4), after });
    try {
      const page = await readPage(path, { signal: own.signal });
      if (own !== adding || own.signal.aborted) return;
      rows = [...rows, ...objects(page)];
      found.put(rows, of());
      drawFoot(page);
      frame.set({ limit: String(Math.min(ROWS_MAX, rows.length)) }, "replace");
    } catch (error) {
      if (!isGivenUp(error)) refill(foot, problemNote(asProblem(error), () => void more(after)));
    }
  }

  function empty() {
    fill(/** @type {HTMLElement} */ (results.head.querySelector("h2")), of() === "traces" ? "No traces" : "No spans");
    const range = rangeOf(frame.params());
    return range === null ? rangeIsWrong() : whyEmpty(frame, "spans", range, where());
  }

  return {
    title: "Traces", element, update,
    get hasRange() { return !isLive(); },
    filter: { get where() { return where(); }, setWhere },
    keys: { "/": () => input.focus(), " ": () => live.isOn && live.toggle() },
    close: () => {
      live.stop();
      adding.abort();
      course.stop();
      results.stop();
    },
    cancel: () => [course.cancel(), results.cancel()].includes(true),
  };
}

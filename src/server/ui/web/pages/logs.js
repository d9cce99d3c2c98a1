// Log records that meet a condition: over time, by severity and service, by pattern, as they come, and around one.

import { objects } from "../data/sql.js";
import { addressOf } from "../state/address.js";
import { absolute, rangeOf, stepOf } from "../state/range.js";
import { eventOf } from "../state/records.js";
import * as statements from "../state/statements.js";
import { isoOf, now, parseInstant } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { count, plural, short } from "../state/units.js";
import { condition, joined, termsOf } from "../state/where.js";
import { fill, h } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { histogram } from "../parts/histogram.js";
import { instantOf, liveButton, liveList } from "../parts/live.js";
import { NARROW } from "../parts/list.js";
import { SEVERITIES, logList } from "../parts/log-list.js";
import { Panel } from "../parts/panel.js";
import { showsValue } from "../parts/value-menu.js";
import { whereInput } from "../parts/where-input.js";
import { contextView } from "./log-context.js";
import { logDetail } from "./log-detail.js";
import { patternsView } from "./log-patterns.js";

const FIRST_ROWS = 200;
const ROWS_MAX = 10_000;
const BUCKETS = 90;
const FACETS_SHOWN = 12;
// In place of the record that is open beside its neighbours.
const CLOSED = "none";

/** @typedef {"records" | "patterns" | "live" | "context"} View */

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function logsPage(frame) {
  const param = (/** @type {string} */ name) => frame.params().get(name);
  const where = () => param("where") ?? "";
  const setWhere = (/** @type {string} */ text) => frame.set({ where: text, limit: null });
  const limit = () => Math.max(1, Math.min(ROWS_MAX, Number(param("limit")) || FIRST_ROWS));
  const view = () => /** @type {View} */ (param("live") === "1" ? "live" : param("around") !== null && param("event") !== null ? "context" : param("patterns") === "1" ? "patterns" : "records");
  const input = whereInput({ source: "logs", where, set: setWhere, hint: "attribute = value, or body contains timeout   /" });

  const chart = histogram({ label: "Log records over time by severity", choose: (from, to) => frame.set(absolute(from, to)) });
  const explore = /** @type {HTMLAnchorElement} */ (h("a.tool", { title: "Figures, heat map, and what is different" }, "Explore"));
  const course = new Panel({ name: "course", tools: [explore], title: "Log records over time", draw: drawCourse });
  const facets = new Panel({ name: "facets", title: "Facets", draw: drawFacets });
  const found = logList({ frame, label: "Log records", open: (row) => choose(found.rowAt(row)) });
  const foot = h("div.list-foot");
  const results = new Panel({ name: "results", title: "Log records", draw: drawResults, empty });
  const arriving = logList({ frame, label: "Log records as they come", open: (row) => choose(arriving.rowAt(row)) });
  const live = liveList({
    title: "Log records as they come", what: "record", tail: () => ({ source: "logs", where: where() }),
    entry: (row) => ({ key: eventOf(/** @type {any} */ (row)), at: instantOf(row.timestamp), row }),
    isReading: () => arriving.rows.active >= 0, list: arriving, put: arriving.put,
  });
  const context = contextView({ frame, open: (row) => frame.set({ open: eventOf(/** @type {any} */ (row)) }, "replace") });
  const patterns = patternsView({ frame, where, setWhere });
  const detail = logDetail({ frame, close: () => closeDetail() });

  const kinds = /** @type {const} */ (["records", "patterns"]).map((kind) => h("button", { type: "button", onclick: () => frame.set({ patterns: kind === "patterns" ? "1" : null, ...listed() }) }, kind === "records" ? "Records" : "Patterns"));
  const liveToggle = liveButton("Records as they come", () => toggleLive());
  const bar = h("div.tool-bar", null, h("div.segments", { role: "group", "aria-label": "View" }, ...kinds), liveToggle);
  const query = h("div.query.with-bar", null, input.element, bar);
  /** What each view has beside the record that is open. @type {Record<View, HTMLElement[]>} */
  const parts = { records: [facets.element, results.element], patterns: [facets.element, patterns.element], live: [live.element], context: [context.element] };
  const columns = h("div.columns", null, detail.element);
  const element = h("div.page.fill", null, h("h1.off-screen", null, "Logs"), query, course.element, columns);
  let liveWhere = "";
  /** @type {View | null} */
  let shown = null;

  const update = () => {
    const now = view();
    if (now !== shown) fill(columns, ...parts[now], detail.element);
    shown = now;
    query.hidden = now === "context";
    course.element.hidden = now === "context" || now === "live";
    kinds.forEach((button, i) => button.setAttribute("aria-pressed", String(["records", "patterns"][i] === now)));
    liveToggle.setAttribute("aria-pressed", String(now === "live"));
    input.update();
    if (now !== "live") live.stop();
    if (now === "context") context.update();
    else if (now === "live") updateLive();
    else updateListed(now);
    showDetail(now);
  };

  /** @param {"records" | "patterns"} now */
  const updateListed = (now) => {
    const range = rangeOf(frame.params());
    if (range === null) return fill(results.body, rangeIsWrong());
    explore.href = addressOf("/explore", { of: "logs", where: where(), ...frame.range() });
    const show = (/** @type {Panel} */ panel, /** @type {string} */ sql) => {
      if (!panel.has(sql)) void panel.show({ sql });
    };
    show(course, statements.logsByTime(range, where(), stepOf(range, BUCKETS)));
    show(facets, statements.logFacets(range, where()));
    if (now === "records") show(results, statements.logs(range, where(), limit()));
    else patterns.update();
  };

  const updateLive = () => {
    if (live.isOn && liveWhere === where()) return;
    liveWhere = where();
    live.start();
  };

  /** Out of the live view, to the time that one has just seen. */
  const listed = () => /** @type {Record<string, string | null>} */ (view() === "live" ? { live: null, event: null, t: "15m", at: isoOf(now()) } : {});
  const toggleLive = () => frame.set(view() === "live" ? listed() : { live: "1", patterns: null, around: null, event: null, t: null, at: null, limit: null });

  /** @param {View} now */
  const showDetail = (now) => {
    const open = now === "context" ? param("open") : null;
    // On phones a record covers its neighbours, until one asks for it.
    if (now === "context" && open === null && matchMedia(NARROW).matches) return detail.hide();
    const event = open ?? param("event");
    if (event === null || event === CLOSED || now === "patterns") return detail.hide();
    const list = now === "live" ? arriving : now === "records" ? found : null;
    const row = list?.rowAt(list.rows.active);
    const known = /** @type {any} */ (row !== undefined && eventOf(/** @type {any} */ (row)) === event ? row : null);
    detail.show(event, known);
  };

  /** @param {Record<string, any>} row */
  const choose = (row) => frame.set({ event: eventOf(/** @type {any} */ (row)) }, "replace");

  const closeDetail = () => {
    const now = view();
    if (now === "context") {
      frame.set({ open: CLOSED }, "replace");
      return context.focus();
    }
    if (now === "live") arriving.rows.active = -1;
    frame.set({ event: null }, "replace");
    (now === "live" ? arriving : found).element.focus();
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function drawCourse(answer) {
    const range = rangeOf(frame.params());
    if (range === null) return null;
    const step = stepOf(range, BUCKETS);
    const buckets = Math.ceil(Number(range.to - range.from) / Number(step));
    /** @type {Map<string, number[]>} */
    const series = new Map(SEVERITIES.map((name) => [name, Array(buckets).fill(0)]));
    for (const row of objects(answer)) {
      const at = Math.floor(Number((parseInstant(row.step) ?? range.from) - range.from) / Number(step));
      const name = SEVERITIES.includes(row.severity) ? row.severity : "other";
      const counts = series.get(name) ?? Array(buckets).fill(0);
      if (at >= 0 && at < buckets) counts[at] += row.records;
      series.set(name, counts);
    }
    const shown = [...series].filter(([, counts]) => counts.some((n) => n > 0)).map(([name, counts]) => ({ name, counts, kind: name.toLowerCase() }));
    chart.show({ from: range.from, to: range.to, step, buckets, series: shown });
    return chart.element;
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawFacets(answer) {
    const all = objects(answer);
    const total = (/** @type {any[]} */ some) => some.reduce((sum, row) => sum + row.records, 0);
    const severities = all.filter((row) => row.service === null && row.severity !== null);
    const services = all.filter((row) => row.severity === null && row.service !== null);
    return h("div", null, facet("Severity", "severity", severities, total(severities)), facet("Service", "service.name", services, total(services)));
  }

  /** @param {string} title @param {string} key @param {any[]} values @param {number} total */
  function facet(title, key, values, total) {
    const of = (/** @type {any} */ row) => (key === "severity" ? row.severity : row.service);
    const add = (/** @type {unknown} */ value) => setWhere(joined([...termsOf(where()), condition(key, value, "only")]));
    return h("section.facet", null, h("h3", null, title), h("ul", null, ...values.slice(0, FACETS_SHOWN).map((row) => showsValue(h("li", null,
      h("button", { type: "button", title: `Only ${of(row)}`, onclick: () => add(of(row)) },
        h("span.facet-bar", { style: { width: `${(row.records / Math.max(1, total)) * 100}%` } }),
        h(`span.facet-name${key === "severity" ? `.sev.${String(row.severity).toLowerCase()}` : ""}`, null, oneLine(String(of(row)), 40)), h("span.facet-count", null, short(row.records)))), { key, value: of(row), source: "logs" }, frame))),
    values.length > FACETS_SHOWN ? h("p.dim", null, `and ${values.length - FACETS_SHOWN} more`) : null,
    values.length === 0 ? h("p.dim", null, "none") : null);
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawResults(answer) {
    if (answer.rows === 0) return null;
    const rows = objects(answer);
    found.rows.active = -1;
    found.rows.scrollTo(0);
    found.put(rows);
    const at = rows.findIndex((row) => eventOf(/** @type {any} */ (row)) === param("event"));
    if (at >= 0) requestAnimationFrame(() => found.rows.activate(at));
    const isMore = rows.length === limit();
    const more = () => frame.set({ limit: String(Math.min(ROWS_MAX, rows.length * 5)) }, "replace");
    const words = isMore ? `The newest ${count(rows.length)}` : `All ${plural(rows.length, "record")}`;
    fill(foot, h("span", null, words), isMore && rows.length < ROWS_MAX ? h("button.tool", { type: "button", onclick: more }, "Show more") : null);
    return h("div.list-and-foot", null, found.element, foot);
  }

  function empty() {
    const range = rangeOf(frame.params());
    return range === null ? rangeIsWrong() : whyEmpty(frame, "logs", range, where());
  }

  const panels = [results, course, facets, patterns.panel, context.panel];
  return {
    title: "Logs", element, update,
    get hasRange() { return view() === "records" || view() === "patterns"; },
    filter: { get where() { return where(); }, setWhere: (text) => frame.set({ where: text, limit: null, around: null, open: null, event: null }) },
    keys: { "/": () => input.focus(), " ": () => live.isOn && live.toggle() },
    close: () => {
      detail.hide();
      live.stop();
      context.stop();
      patterns.stop();
      panels.forEach((panel) => panel.stop());
    },
    cancel: () => {
      if (panels.map((panel) => panel.cancel()).includes(true)) return true;
      if (detail.element.hidden) return false;
      closeDetail();
      return true;
    },
  };
}

// Log records that meet a condition: over time, by severity and service, and one of them with everything it says.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { addressOf, sqlAddress } from "../state/address.js";
import { absolute, rangeOf, stepOf } from "../state/range.js";
import * as statements from "../state/statements.js";
import { bothZones, clockOf, dateOf, inFull, now, parseInstant, zoneName } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { count, plural, short } from "../state/units.js";
import { condition, joined, termsOf } from "../state/where.js";
import { attributeList, fields, valueOf } from "../parts/attribute-list.js";
import { fill, h } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { histogram } from "../parts/histogram.js";
import { list } from "../parts/list.js";
import { Panel, problemNote } from "../parts/panel.js";
import { traceAddress } from "../parts/search-box.js";
import { whereInput } from "../parts/where-input.js";
import { copy } from "../parts/copy.js";

const FIRST_ROWS = 200;
const ROWS_MAX = 10_000;
const BUCKETS = 90;
const FACETS_SHOWN = 12;
const SEVERITIES = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function logsPage(frame) {
  const where = () => frame.params().get("where") ?? "";
  const setWhere = (/** @type {string} */ text) => frame.set({ where: text, limit: null });
  const limit = () => Math.max(1, Math.min(ROWS_MAX, Number(frame.params().get("limit")) || FIRST_ROWS));
  const input = whereInput({ source: "logs", where, set: setWhere, hint: "attribute = value, or body contains timeout   /" });

  const chart = histogram({ label: "Log records over time by severity", choose: (from, to) => frame.set(absolute(from, to)) });
  const explore = /** @type {HTMLAnchorElement} */ (h("a.tool", { title: "Figures, heat map, and what is different" }, "Explore"));
  const course = new Panel({ name: "course", tools: [explore], title: "Log records over time", draw: drawCourse });
  const facets = new Panel({ name: "facets", title: "Facets", draw: drawFacets });
  /** @type {Record<string, any>[]} */
  let rows = [];
  let isDated = false;
  const found = list({
    name: "log-list", label: "Log records", rowHeight: 28, narrowHeight: 52,
    columns: [{ name: "time", words: "Time" }, { name: "severity", words: "Severity" }, { name: "service", words: "Service" }, { name: "body", words: "Message" }, { name: "trace", words: "Trace" }],
    write: (cells, row, element) => writeRow(cells, rows[row], element),
    onActive: (row) => showDetail(row),
    onOpen: (row) => showDetail(row),
  });
  const foot = h("div.list-foot");
  const results = new Panel({ name: "results", title: "Log records", draw: drawResults, empty });
  const detail = h("aside.detail", { "aria-label": "Log record" });
  detail.hidden = true;
  /** @type {AbortController | null} */
  let reading = null;
  const element = h("div.page.fill", null, h("h1.off-screen", null, "Logs"), h("div.query", null, input.element), course.element,
    h("div.columns", null, facets.element, results.element, detail));

  const update = () => {
    const range = rangeOf(frame.params());
    if (range === null) return fill(results.body, rangeIsWrong());
    input.update();
    explore.href = addressOf("/explore", { of: "logs", where: where(), ...frame.range() });
    hideDetail();
    void results.show({ sql: statements.logs(range, where(), limit()) });
    void course.show({ sql: statements.logsByTime(range, where(), stepOf(range, BUCKETS)) });
    void facets.show({ sql: statements.logFacets(range, where()) });
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
    return h("section.facet", null, h("h3", null, title), h("ul", null, ...values.slice(0, FACETS_SHOWN).map((row) => h("li", null,
      h("button", { type: "button", title: `Only ${of(row)}`, onclick: () => add(of(row)) },
        h("span.facet-bar", { style: { width: `${(row.records / Math.max(1, total)) * 100}%` } }),
        h(`span.facet-name${key === "severity" ? `.sev.${String(row.severity).toLowerCase()}` : ""}`, null, oneLine(String(of(row)), 40)), h("span.facet-count", null, short(row.records)))))),
    values.length > FACETS_SHOWN ? h("p.dim", null, `and ${values.length - FACETS_SHOWN} more`) : null,
    values.length === 0 ? h("p.dim", null, "none") : null);
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawResults(answer) {
    if (answer.rows === 0) return null;
    rows = objects(answer);
    const [newest, oldest] = [rows[0], rows[rows.length - 1]].map((row) => parseInstant(row.timestamp) ?? 0n);
    isDated = dateOf(oldest) !== dateOf(now());
    found.element.classList.toggle("dated", isDated);
    found.head("time", `Time (${zoneName(newest)})`);
    found.rows.active = -1;
    found.rows.scrollTo(0);
    found.show(rows.length);
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

  /** @param {HTMLElement[]} cells @param {Record<string, any>} row @param {HTMLElement} element */
  function writeRow(cells, row, element) {
    const [time, severity, service, body, trace] = cells;
    const at = parseInstant(row.timestamp) ?? 0n;
    time.textContent = isDated ? `${dateOf(at).slice(5)} ${clockOf(at, 3)}` : clockOf(at, 3);
    time.title = inFull(at);
    const name = String(row.severity ?? "");
    fill(severity, h(`span.sev.${SEVERITIES.includes(name) ? name.toLowerCase() : "other"}`, null, oneLine(name || "–", 12)));
    service.textContent = oneLine(row.service ?? "", 40);
    body.textContent = oneLine(typeof row.body === "string" ? row.body : JSON.stringify(row.body ?? ""), 600);
    const id = row.trace_id;
    fill(trace, id === null ? "" : h("a.mono", { href: traceAddress(id, row.span_id), title: "Open the trace at this span", tabIndex: -1 }, id.slice(0, 8)));
    element.setAttribute("aria-selected", String(rows[found.rows.active] === row));
  }

  /** @param {number} index */
  function showDetail(index) {
    const row = rows[index];
    const at = parseInstant(row.timestamp) ?? 0n;
    const rest = h("div.detail-body", null, h("p.dim", null, "Reading …"));
    fill(detail,
      h("header", null, h("h2", null, "Log record"), h("button.icon", { type: "button", "aria-label": "Close", onclick: hideDetail }, "×")),
      h("p.times", null, ...bothZones(at).map((words) => h("span", null, words))),
      h("div.message", null, valueOf(row.body ?? "")),
      h("div.buttons", null,
        row.trace_id === null ? null : h("a.tool", { href: traceAddress(row.trace_id, row.span_id) }, "Open trace"),
        h("a.tool", { href: sqlAddress(statements.logDetail(row.timestamp)) }, "SQL")),
      rest);
    detail.hidden = false;
    void readDetail(row, rest);
  }

  /** Everything that the record says. @param {Record<string, any>} row @param {HTMLElement} place */
  async function readDetail(row, place) {
    reading?.abort();
    const own = new AbortController();
    reading = own;
    try {
      const all = objects(await ask(statements.logDetail(row.timestamp), { signal: own.signal }));
      const same = (/** @type {any} */ one) => ["service", "body", "span_id", "severity"].every((key) => one[key] === row[key]);
      const found = all.find(same) ?? row;
      const core = ["severity", "severity_text", "name", "scope.name", "trace_id", "span_id"].map((key) => /** @type {[string, unknown]} */ ([key, found[key === "scope.name" ? "scope" : key]]));
      const known = core.filter(([, value]) => value !== null && value !== undefined && value !== "");
      fill(place, fields(known, "logs", frame), attributeList(found.attributes ?? {}, "logs", frame),
        h("div.buttons", null, h("button.tool", { type: "button", onclick: () => void copy(JSON.stringify(found), "Record") }, "Copy as JSON")));
    } catch (error) {
      if (!isGivenUp(error)) fill(place, problemNote(asProblem(error), () => void readDetail(row, place)));
    }
  }

  function hideDetail() {
    reading?.abort();
    detail.hidden = true;
  }

  const panels = [results, course, facets];
  return {
    title: "Logs", element, hasRange: true, update,
    filter: { get where() { return where(); }, setWhere },
    keys: { "/": () => input.focus() },
    close: () => {
      reading?.abort();
      panels.forEach((panel) => panel.stop());
    },
    cancel: () => {
      if (panels.map((panel) => panel.cancel()).includes(true)) return true;
      if (detail.hidden) return false;
      hideDetail();
      found.element.focus();
      return true;
    },
  };
}

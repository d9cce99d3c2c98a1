// Overview: is something wrong, and with which service?

import { objects } from "../data/sql.js";
import { getJson } from "../data/request.js";
import { addressOf } from "../state/address.js";
import { compare, group, verdict } from "../state/compare.js";
import { rangeOf, spanText, spanWords, stepOf } from "../state/range.js";
import * as statements from "../state/statements.js";
import { clockOf, dateOf, parseInstant, zoneName } from "../state/time.js";
import { duration, percent, plural, rate, short } from "../state/units.js";
import { condition, joined } from "../state/where.js";
import { oneLine } from "../state/text.js";
import { fill, h } from "../parts/dom.js";
import { Panel } from "../parts/panel.js";
import { spark } from "../parts/spark.js";
import { firstRun } from "../parts/first-run.js";
import { rangeIsWrong } from "../parts/empty.js";

const SPARKS = 24;
const ROWS_SHOWN = 12;

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function overviewPage(frame) {
  const headline = h("div.headline", { role: "status" });
  const services = new Panel({ title: "Services", name: "services", draw: drawServices, empty: () => nothing() });
  const operations = new Panel({ title: "Operations", name: "operations", draw: drawOperations });
  const graph = new Panel({ title: "Calls between services", name: "graph", draw: drawGraph, empty: () => h("p.empty", null, "No service called another one in this range.") });
  const first = firstRun(() => frame.redraw());
  const content = h("div.overview", null, headline, services.element, operations.element, graph.element);
  const element = h("div.page", null, h("h1.off-screen", null, "Overview"), content);
  let isFirstRun = false;

  const update = async () => {
    const range = rangeOf(frame.params());
    if (range === null) return fill(content, rangeIsWrong());
    void services.show({ sql: statements.services(range, stepOf(range, SPARKS)) });
    void operations.show({ sql: statements.operations(range) });
    void graph.show({ sql: statements.serviceGraph(range) });
  };

  /** No calls in the range: nothing ever, or only at other times. */
  const nothing = async () => {
    const status = await getJson("/v1/status").catch(() => null);
    if (status !== null && status.events === 0 && !isFirstRun) {
      isFirstRun = true;
      fill(element, h("h1.off-screen", null, "Overview"), first.element);
      first.start(status);
    }
    fill(headline);
    const range = rangeOf(frame.params());
    const last = status?.last_event === null || status === null ? null : parseInstant(status.last_event ?? "");
    if (range === null || last === null || last === undefined) return h("p.empty", null, "No calls in this range.");
    const length = range.to - range.from;
    const to = last + 1_000_000_000n;
    const there = addressOf("/", { t: `${new Date(Number((to - length) / 1_000_000n)).toISOString()}..${new Date(Number(to / 1_000_000n)).toISOString()}` });
    return h("p.empty", null, "No calls in this range. The last event is of ", `${dateOf(last)} ${clockOf(last, 0)} ${zoneName(last)}. `, h("a", { href: there }, "Go there"));
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function drawServices(answer) {
    const range = rangeOf(frame.params());
    if (range === null) return null;
    const all = objects(answer);
    const byName = group(all, (row) => String(row.service ?? ""));
    const seconds = Number(range.to - range.from) / 1e9;
    const rows = [...byName].map(([name, own]) => ({
      name, ...compare(own), points: own.filter((row) => row.step !== null),
    })).filter((row) => row.now !== null);
    if (rows.length === 0) return null;
    rows.sort((a, b) => Number(b.change.isBad) - Number(a.change.isBad) || b.change.size - a.change.size || (b.now?.calls ?? 0) - (a.now?.calls ?? 0));
    fill(headline, ...headlineOf(rows, range, all));
    const before = `against the ${spanWords(range.to - range.from)} before`;
    const buckets = Number((range.to - range.from) / stepOf(range, SPARKS)) || 1;
    const starts = range.from;
    const step = stepOf(range, SPARKS);
    const course = (/** @type {any[]} */ points, /** @type {(row: any) => number} */ value) => {
      /** @type {(number | null)[]} */
      const line = Array(buckets).fill(null);
      for (const point of points) {
        const at = Number(((parseInstant(point.step) ?? starts) - starts) / step);
        if (at >= 0 && at < buckets) line[at] = value(point);
      }
      return line;
    };
    return h("div.table-box", { tabIndex: 0, role: "region", "aria-label": "Services" }, h("table.figures", null,
      h("thead", null, h("tr", null, ...["Service", "Calls/s", "", "Errors", "", "p50", "p99", ""].map((words, i) => head(words, i)), h("th", { scope: "col", title: before }, "Change"))),
      h("tbody", null, ...rows.map((row) => h(`tr${row.change.isBad ? ".bad" : ""}`, null,
        h("th", { scope: "row" }, serviceLink(row.name)),
        h("td.number", null, rate((row.now?.calls ?? 0) / seconds)), h("td.course", null, spark(course(row.points, (p) => p.calls), "plain")),
        h("td.number", null, percent(share(row.now))), h("td.course", null, spark(course(row.points, (p) => p.errors), "error")),
        h("td.number", null, duration(row.now?.p50_ns)),
        h("td.number", null, exploreLink(duration(row.now?.p99_ns), row.name)), h("td.course", null, spark(course(row.points, (p) => p.p99_ns), "plain")),
        h("td.change", null, changeWords(row.change)))))));
  }

  /** @param {any[]} rows @param {import("../state/range.js").Range} range @param {any[]} all */
  function headlineOf(rows, range, all) {
    const bad = rows.filter((row) => row.change.isBad);
    const hasBefore = rows.some((row) => row.before !== null);
    const before = `the ${spanWords(range.to - range.from)} before`;
    if (!hasBefore) return [h("strong", null, `No calls in ${before}, so nothing to compare with. `), ...halves(range, all)];
    if (bad.length === 0) return [h("span.ok", null, "●"), ` ${plural(rows.length, "service")}, none much worse than in ${before}.`];
    return [
      h("span.worse", null, "▲"), " ", h("strong", null, `${bad.length} of ${plural(rows.length, "service")} worse than in ${before}`), ": ",
      ...bad.slice(0, 3).flatMap((row, i) => [i > 0 ? ", " : "", serviceLink(row.name), ` ${row.change.words}`]),
      bad.length > 3 ? ` and ${bad.length - 3} more.` : ".",
    ];
  }

  /** A link to a range whose time before has calls. @param {import("../state/range.js").Range} range @param {any[]} all */
  function halves(range, all) {
    const times = all.filter((row) => row.step !== null).map((row) => parseInstant(row.step) ?? range.from);
    if (times.length === 0) return [];
    const first = times.reduce((a, b) => (a < b ? a : b));
    const minutes = (range.to - (first > range.from ? first : range.from)) / 120_000_000_000n;
    if (minutes < 1n) return [];
    const half = minutes * 60_000_000_000n;
    return [h("a", { href: addressOf("/", { ...frame.range(), t: spanText(half), at: frame.params().get("at") }) }, `Compare the last ${spanWords(half)} with the ${spanWords(half)} before`)];
  }

  /** @param {string} name */
  const serviceLink = (name) => {
    const where = condition("service.name", name === "" ? null : name, "only");
    return h("a", { href: addressOf("/traces", { where, ...frame.range() }) }, name === "" ? "(no service.name)" : oneLine(name, 60));
  };

  /** A figure, and the way to what it is made of. @param {string} words @param {unknown} service @param {unknown} [name] of the operation */
  const exploreLink = (words, service, name) => {
    const own = condition("service.name", service === "" ? null : service, "only");
    const where = name === undefined ? own : joined([own, condition("name", name, "only")]);
    return h("a.explore-link", { href: addressOf("/explore", { where, ...frame.range() }), title: "Explore" }, words);
  };

  /** Panels that show all of their rows. @type {Set<Panel>} */
  const whole = new Set();
  /**
   * A table of the first rows, and a button for the others.
   * @param {Panel} panel @param {string} what @param {Node} head @param {Node[]} rows
   */
  function figures(panel, what, head, rows) {
    const body = h("tbody", null, ...(whole.has(panel) ? rows : rows.slice(0, ROWS_SHOWN)));
    const name = panel.options.title ?? "";
    const table = h("div.table-box", { tabIndex: 0, role: "region", "aria-label": name }, h("table.figures", null, head, body));
    if (body.children.length === rows.length) return table;
    const more = () => {
      whole.add(panel);
      fill(body, ...rows);
      button.remove();
    };
    const button = h("button.tool.all", { type: "button", onclick: more }, `Show all ${plural(rows.length, what)}`);
    return h("div", null, table, button);
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawOperations(answer) {
    const groups = group(objects(answer), (row) => `${row.service ?? ""}\u0000${row.name ?? ""}`);
    const rows = [...groups.values()].map((own) => ({ service: own[0].service, name: own[0].name, ...compare(own) })).filter((row) => row.now !== null);
    if (rows.length === 0) return null;
    rows.sort((a, b) => Number(b.change.isBad) - Number(a.change.isBad) || b.change.size - a.change.size || (b.now?.p99_ns ?? 0) - (a.now?.p99_ns ?? 0));
    const columns = ["Operation", "Calls", "Errors", "p99", "Change"];
    const head = h("thead", null, h("tr", null, ...columns.map((words, i) => h(i > 0 && i < 4 ? "th.number" : "th", { scope: "col" }, words))));
    return figures(operations, "operation", head, rows.map((row) => h(`tr${row.change.isBad ? ".bad" : ""}`, null,
      h("th", { scope: "row" }, h("a", { href: tracesOf(row) }, oneLine(String(row.name ?? "(no name)"), 60)), h("small", null, oneLine(String(row.service ?? ""), 60))),
      h("td.number", null, short(Math.round(row.now?.calls ?? 0))), h("td.number", null, percent(share(row.now))), h("td.number", null, exploreLink(duration(row.now?.p99_ns), row.service, row.name)),
      h("td.change", null, changeWords(row.change)))));
  }

  /** @param {{service: unknown, name: unknown}} row */
  const tracesOf = (row) => {
    const where = `${condition("service.name", row.service, "only")} and ${condition("name", row.name, "only")}`;
    return addressOf("/traces", { where, order: "slowest", ...frame.range() });
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function drawGraph(answer) {
    if (answer.rows === 0) return null;
    const range = rangeOf(frame.params());
    const seconds = range === null ? 1 : Number(range.to - range.from) / 1e9;
    const columns = ["Caller → callee", "Calls/s", "Errors", "p50", "p99"];
    const head = h("thead", null, h("tr", null, ...columns.map((words, i) => h(i > 0 ? "th.number" : "th", { scope: "col" }, words))));
    return figures(graph, "pair", head, objects(answer).map((row) => h("tr", null,
      h("th", { scope: "row" }, serviceLink(row.caller ?? ""), h("span.dim", null, " → "), serviceLink(row.callee ?? "")),
      h("td.number", null, rate(row.calls / seconds)), h("td.number", null, percent(row.errors / row.calls)),
      h("td.number", null, duration(row.p50_ns)), h("td.number", null, duration(row.p99_ns)))));
  }

  return {
    title: "Overview", element, hasRange: true, update: () => void update(),
    close: () => {
      first.stop();
      for (const panel of [services, operations, graph]) panel.stop();
    },
    cancel: () => [services, operations, graph].map((panel) => panel.cancel()).includes(true),
  };
}

/** @param {string} words @param {number} i */
function head(words, i) {
  if (words !== "") return h(i > 0 ? "th.number" : "th", { scope: "col" }, words);
  return h("td", null);
}

/** @param {{calls: number, errors: number} | null} figures */
function share(figures) {
  return figures === null || figures.calls === 0 ? null : figures.errors / figures.calls;
}

/** @param {ReturnType<typeof verdict>} change */
function changeWords(change) {
  if (change.words === "") return h("span.dim", null, "–");
  return change.isBad ? h("span.worse", null, `▲ ${change.words}`) : h("span", null, change.words);
}

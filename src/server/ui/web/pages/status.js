// The server itself: is it well, what does it hold, what comes in, what does it do?

import { asProblem, getJson, isGivenUp, request } from "../data/request.js";
import { objects } from "../data/sql.js";
import { failingDuties, parseMetrics, perSecond, quantileOf, total } from "../state/metrics.js";
import { oneLine } from "../state/text.js";
import { clockOf, dateOf, now, parseInstant, zoneName } from "../state/time.js";
import { bytes, count, duration, plural, rate } from "../state/units.js";
import { copy } from "../parts/copy.js";
import { fill, h, refill } from "../parts/dom.js";
import { lineChart } from "../parts/lines.js";
import { Panel, problemNote } from "../parts/panel.js";

const EVERY_MS = 2000;
const STEP_NS = 2_000_000_000n;
const POINTS = 150;
const STORED = `select signal, count(*) as events, min(timestamp) as first, max(timestamp) as last
from events
group by signal
order by events desc`;

/** @typedef {import("../state/metrics.js").Metrics} Metrics */
/** @typedef {{at: number, instant: bigint, metrics: Metrics}} Look */

/** @returns {import("../app.js").Page} */
export function statusPage() {
  const headline = h("div.headline", { role: "status" });
  const notes = h("div.panel-notes.page-notes");
  const tiles = h("dl.tiles");
  const addresses = section("Addresses");
  const incoming = section("What comes in", metricsLink());
  const questions = section("Questions", metricsLink());
  const running = section("Running now");
  const inside = section("Log, memory and files", metricsLink());
  const duties = section("Maintenance", metricsLink());
  const routes = section("Requests by route", metricsLink());
  const stored = new Panel({ name: "stored", title: "What is stored", draw: drawStored, empty: () => h("p.empty", null, "Nothing yet.") });
  const chart = (/** @type {string} */ title) => lineChart({ title, hover: () => {}, choose: () => {} });
  const charts = { ingest: chart("events a second"), questions: chart("questions a second") };
  const incomingTable = h("div");
  const questionTable = h("div");
  fill(incoming.body, charts.ingest.element, incomingTable);
  fill(questions.body, charts.questions.element, questionTable);
  const element = h("div.page.status-page", null, h("h1.off-screen", null, "Status"), headline, notes, tiles,
    h("div.status-grid", null, h("div.status-column", null, incoming.element, stored.element, inside.element), h("div.status-column", null, running.element, questions.element, duties.element, addresses.element, routes.element)));

  /** @type {Look[]} */
  let looks = [];
  let run = new AbortController();
  let timer = 0;
  let isOn = false;

  const text = (/** @type {string} */ path) => request(path, { signal: run.signal, headers: { accept: "text/plain" } }, (response) => response.text());

  const look = async () => {
    clearTimeout(timer);
    if (!isOn || document.hidden) return;
    try {
      const [status, metrics, ready, queries] = await Promise.all([getJson("/v1/status", run.signal), text("/metrics"), readiness(), getJson("/v1/queries", run.signal)]);
      looks = [...looks, { at: performance.now(), instant: now(), metrics: parseMetrics(metrics) }].slice(-POINTS - 1);
      fill(notes);
      draw(status, ready);
      refill(running.body, runningOf(queries.queries, end));
    } catch (error) {
      if (isGivenUp(error)) return;
      const problem = asProblem(error);
      fill(headline, h("strong.worse", null, "▲ The server does not answer."));
      if (!problem.isGone) fill(notes, problemNote(problem, () => void look()));
    }
    timer = setTimeout(() => void look(), EVERY_MS);
  };

  /** Ends a query. @param {string} id */
  const end = async (id) => {
    try {
      await request(`/v1/queries/${id}`, { method: "DELETE", signal: run.signal }, (response) => response.text());
    } catch (error) {
      if (isGivenUp(error)) return;
      const problem = asProblem(error);
      // It may have ended by itself.
      if (problem.status !== 404) return fill(notes, problemNote(problem, () => void end(id)));
    }
    void look();
  };

  /** What `/readyz` says, also where that is a refusal. */
  const readiness = async () => {
    try {
      return { text: await text("/readyz"), problem: null };
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status !== 503) throw error;
      return { text: "", problem };
    }
  };

  /** @param {any} status @param {{text: string, problem: import("../data/request.js").Problem | null}} ready */
  const draw = (status, ready) => {
    const { metrics } = looks[looks.length - 1];
    const failing = failingDuties(ready.text);
    fill(headline, ...headlineOf(status, ready.problem, failing));
    fill(tiles, ...tilesOf(status, metrics));
    drawCharts();
    fill(incomingTable, incomingOf(metrics));
    fill(questionTable, questionsOf(metrics));
    fill(duties.body, dutiesOf(metrics, failing));
    fill(inside.body, insideOf(metrics));
    refill(addresses.body, addressesOf(status));
    fill(routes.body, routesOf(metrics));
  };

  /** @param {any} status @param {Metrics} metrics */
  const tilesOf = (status, metrics) => {
    const last = parseInstant(status.last_event ?? "");
    const come = rateOf("broadloom_ingest_events_total");
    return [
      tile("Events", count(status.events)),
      tile("Come in", come === null ? "–" : `${rate(come)}/s`),
      tile("Last event", last === null ? "none yet" : `${dateOf(last) === dateOf(now()) ? "" : `${dateOf(last)} `}${clockOf(last, 0)} ${zoneName(last)}`),
      tile("Segments", count(status.segments), bytes(status.segment_bytes)),
      tile("Buffer", plural(status.buffer_events, "event"), bytes(total(metrics, "broadloom_buffer_bytes"))),
      tile("Questions", count(total(metrics, "broadloom_queries_running")), "running now"),
      tile("Attribute keys", count(status.attribute_keys)),
    ];
  };

  /** Growth of a counter since the look before; null until there are two. @param {string} name @param {Look[]} [two] */
  const rateOf = (name, two = looks.slice(-2)) => {
    if (two.length < 2) return null;
    return perSecond(total(two[0].metrics, name), total(two[1].metrics, name), (two[1].at - two[0].at) / 1000);
  };

  const drawCharts = () => {
    const to = looks[looks.length - 1].instant;
    const range = { from: to - STEP_NS * BigInt(POINTS), to };
    const values = (/** @type {string} */ name) => {
      /** @type {(number | null)[]} */
      const all = Array(POINTS).fill(null);
      for (let i = 1; i < looks.length; i += 1) {
        const at = Math.min(POINTS - 1, Math.floor(Number(looks[i].instant - range.from) / Number(STEP_NS)));
        if (at >= 0) all[at] = rateOf(name, [looks[i - 1], looks[i]]);
      }
      return all;
    };
    const show = (/** @type {ReturnType<typeof lineChart>} */ one, /** @type {string} */ metric, /** @type {string} */ name) =>
      one.show({ range, step: STEP_NS, unit: "rate", hasAxis: true, series: [{ name, place: 1, values: values(metric) }] });
    show(charts.ingest, "broadloom_ingest_events_total", "events");
    show(charts.questions, "broadloom_queries_total", "questions");
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function drawStored(answer) {
    if (answer.rows === 0) return null;
    const time = (/** @type {unknown} */ at) => {
      const instant = parseInstant(String(at ?? ""));
      return instant === null ? "–" : `${dateOf(instant)} ${clockOf(instant, 0)}`;
    };
    return table("What is stored", ["Signal", "Events", `First (${zoneName(now())})`, "Last"], objects(answer).map((row) => [String(row.signal).replace("_", " "), count(row.events), time(row.first), time(row.last)]), 1);
  }

  const seen = () => void look();
  return {
    title: "Status", element, hasRange: false,
    update: () => {
      if (isOn) return;
      isOn = true;
      document.addEventListener("visibilitychange", seen);
      void look();
      void stored.show({ sql: STORED }, true);
    },
    close: () => {
      isOn = false;
      run.abort();
      run = new AbortController();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      stored.stop();
      Object.values(charts).forEach((one) => one.close());
    },
    cancel: () => stored.cancel(),
    keys: { r: () => (void look(), void stored.show({ sql: STORED }, true)) },
  };
}

/** @param {string} title @param {Node} [tool] */
function section(title, tool) {
  const body = h("div.panel-body");
  return { body, element: h("section.panel", null, h("header.panel-head", null, h("h2", null, title), h("span.grow"), tool), body) };
}

function metricsLink() {
  return h("a.tool", { href: "/metrics", target: "_blank", title: "All metrics, as Prometheus reads them" }, "/metrics");
}

/** @param {any} status @param {import("../data/request.js").Problem | null} problem @param {Map<string, string>} failing */
function headlineOf(status, problem, failing) {
  const version = h("span.dim", null, ` Broadloom ${status.version}, version ${status.snapshot} of the catalog.`);
  if (problem !== null) return [h("strong.worse", null, `▲ Not ready: ${problem.detail || problem.title}`), version];
  if (failing.size > 0) return [h("strong.worse", null, `▲ Ready, but ${plural(failing.size, "maintenance duty fails", "maintenance duties fail")}.`), version];
  return [h("span.ok", null, "●"), h("strong", null, " Ready."), version];
}

/** @param {string} name @param {string} value @param {string} [more] */
function tile(name, value, more) {
  return h("div.tile", null, h("dt", null, name), h("dd", null, value, more === undefined ? null : h("small", null, ` ${more}`)));
}

/**
 * @param {string} label @param {string[]} head @param {(string | Node)[][]} rows @param {number} numbersFrom first column of numbers
 */
function table(label, head, rows, numbersFrom) {
  const cell = (/** @type {number} */ i) => (i >= numbersFrom ? ".number" : "");
  return h("div.table-box", { tabIndex: 0, role: "region", "aria-label": label }, h("table.figures", null,
    h("thead", null, h("tr", null, ...head.map((words, i) => h(`th${cell(i)}`, { scope: "col" }, words)))),
    h("tbody", null, ...rows.map((row) => h("tr", null, ...row.map((value, i) => (i === 0 ? h("th", { scope: "row" }, value) : h(`td${cell(i)}`, null, value))))))));
}

/** @param {Metrics} metrics */
function incomingOf(metrics) {
  const messages = metrics.get("broadloom_ingest_requests_total") ?? [];
  const kinds = [...new Set(messages.map(({ labels }) => `${labels.protocol} ${labels.signal}`))].sort();
  if (kinds.length === 0) return h("p.empty", null, "No message has come since the server was started.");
  const rows = kinds.map((kind) => {
    const is = (/** @type {Record<string, string>} */ labels) => `${labels.protocol} ${labels.signal}` === kind;
    const refused = total(metrics, "broadloom_ingest_requests_total", (labels) => is(labels) && labels.outcome !== "ok");
    const rejected = total(metrics, "broadloom_ingest_rejected_total", is);
    return [kind.replace("otlp_", "OTLP/").replace("http", "HTTP").replace("grpc", "gRPC"), count(total(metrics, "broadloom_ingest_events_total", is)), bytes(total(metrics, "broadloom_ingest_bytes_total", is)),
      count(total(metrics, "broadloom_ingest_requests_total", is)), bad(refused), bad(rejected), count(total(metrics, "broadloom_ingest_duplicates_total", is))];
  });
  return table("What comes in", ["Since the start", "Events", "Size", "Messages", "Refused", "Records refused", "Sent twice"], rows, 1);
}

/** A number that should be 0. @param {number} value */
function bad(value) {
  return value === 0 ? "0" : h("span.worse", null, `▲ ${count(value)}`);
}

/** @param {Metrics} metrics */
function questionsOf(metrics) {
  const time = (/** @type {number} */ quantile) => {
    const seconds = quantileOf(metrics, "broadloom_query_duration_seconds", quantile);
    return seconds === null ? "–" : seconds === Infinity ? "longer than measured" : `≤ ${duration(seconds * 1e9)}`;
  };
  const answered = metrics.get("broadloom_queries_total") ?? [];
  const rows = answered.map(({ labels, value }) => [labels.protocol, labels.outcome, count(value)]).sort((a, b) => (a.join() < b.join() ? -1 : 1));
  return h("div", null,
    h("dl.facts.status-facts", null, fact("Running", count(total(metrics, "broadloom_queries_running"))), fact("Half take", time(0.5)), fact("99 % take", time(0.99))),
    rows.length === 0 ? null : table("Questions", ["Asked as", "Ended", "Questions"], rows, 2));
}

/**
 * @typedef {{id: string, kind: string, door: string, statement: string, asked_by: string | null, is_own: boolean, age_ms: number, rows: number, cost: import("../data/sql.js").Progress | null}} Query
 * @param {Query[]} queries @param {(id: string) => Promise<void>} end
 */
function runningOf(queries, end) {
  // Not the question that this page asks to draw itself.
  queries = queries.filter(({ kind }) => kind !== "status");
  if (queries.length === 0) return h("p.empty", null, "No query runs.");
  const rows = queries.map(({ id, kind, door, statement, asked_by, age_ms, cost }) => [
    duration(age_ms * 1e6), h("button.tool", { type: "button", title: `End ${id}`, onclick: () => void end(id) }, "Cancel"), asked_by ?? "–", `${door}, ${kind}`,
    cost === null ? "planning" : plural(cost.rows_read ?? 0, "row"), h("code", { title: statement }, oneLine(statement, 200)),
  ]);
  return table("Running now", ["For", "End", "Asked by", "Way", "Read", "Statement"], rows, 9);
}

/** @param {string} name @param {string} value */
function fact(name, value) {
  return h("div", null, h("dt", null, name), h("dd", null, value));
}

/** @param {Metrics} metrics @param {Map<string, string>} failing */
function dutiesOf(metrics, failing) {
  const all = metrics.get("broadloom_maintenance_failures_total") ?? [];
  if (all.length === 0) return h("p.empty", null, "This server only reads: it maintains nothing.");
  const rows = all.map(({ labels, value }) => {
    const seconds = total(metrics, "broadloom_maintenance_failing_seconds", ({ duty }) => duty === labels.duty);
    const words = failing.get(labels.duty);
    const state = words === undefined ? h("span", null, h("span.ok", null, "●"), " works") : h("span.worse.duty-words", null, `▲ ${words}`);
    return [labels.duty.replaceAll("_", " "), state, seconds > 0 ? duration(seconds * 1e9) : "–", bad(value)];
  });
  return table("Maintenance", ["Duty", "State", "Failing for", "Failures"], rows, 2);
}

/** @param {Metrics} metrics */
function insideOf(metrics) {
  const number = (/** @type {string} */ name) => count(total(metrics, name));
  const size = (/** @type {string} */ name) => bytes(total(metrics, name));
  const [hits, misses] = [total(metrics, "broadloom_cache_hits_total"), total(metrics, "broadloom_cache_misses_total")];
  /** @type {[string, string][]} */
  const rows = [
    ["Messages in memory", size("broadloom_in_flight_bytes")], ["Indexes and decoded columns in memory", size("broadloom_index_bytes")],
    ["Files of the write-ahead log", number("broadloom_wal_files")], ["Written to the log", size("broadloom_wal_bytes_total")], ["Batches written", number("broadloom_wal_batches_total")], ["fsync", number("broadloom_fsyncs_total")],
    ["Segments made of the buffer", number("broadloom_flushes_total")], ["Merges of segments", number("broadloom_compactions_total")], ["Events rewritten by merges", number("broadloom_compacted_events_total")],
    ["Events expired", number("broadloom_expired_events_total")], ["Deleted events still in files", number("broadloom_masked_events")], ["Objects removed", number("broadloom_removed_objects_total")],
  ];
  if (hits + misses > 0) rows.push(["Blocks of the object store from the cache", `${count(hits)} of ${count(hits + misses)}`]);
  return table("Log, memory and files", ["What", "Now, or since the start"], rows, 1);
}

/** @param {any} status */
function addressesOf(status) {
  const names = { http: "This page, SQL, OTLP/HTTP", otlp_grpc: "OTLP/gRPC", otlp_http: "OTLP/HTTP" };
  const rows = Object.entries(names).map(([key, words]) => {
    const address = status.addresses?.[key];
    if (!address) return [words, h("span.dim", null, "off"), ""];
    return [words, h("code", null, address), h("button.tool", { type: "button", onclick: () => void copy(`http://${address}`, "Address") }, "Copy")];
  });
  return table("Addresses", ["For", "Address", "Copy"], rows, 9);
}

/** @param {Metrics} metrics */
function routesOf(metrics) {
  const all = metrics.get("broadloom_http_requests_total") ?? [];
  const rows = [...all].sort((a, b) => b.value - a.value).map(({ labels, value }) => [h("code", null, labels.route), labels.method, Number(labels.status) >= 500 ? h("span.worse", null, `▲ ${labels.status}`) : labels.status, count(value)]);
  return rows.length === 0 ? h("p.empty", null, "No request yet.") : table("Requests by route", ["Route", "Method", "Status", "Requests"], rows, 3);
}

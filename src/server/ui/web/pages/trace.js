// One trace: its spans in time, and one of them with everything it says.

import { readLines } from "../data/lines.js";
import { isGivenUp, Problem, request } from "../data/request.js";
import { addressOf, sqlAddress } from "../state/address.js";
import { absolute } from "../state/range.js";
import { parseInstant, inFull } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { duration, plural } from "../state/units.js";
import { condition } from "../state/where.js";
import { compareDialog } from "../parts/compare-with.js";
import { copy } from "../parts/copy.js";
import { fill, h, refill } from "../parts/dom.js";
import { problemNote } from "../parts/panel.js";
import { minimap } from "./trace-minimap.js";
import { TraceModel } from "./trace-model.js";
import { rowsAddress } from "./trace-read.js";
import { waterfall } from "./trace-rows.js";
import { spanDetail } from "./trace-span.js";
import { traceKeys } from "./trace-keys.js";

// More records than that are shown as signs on the bars until they are asked for.
const RECORD_ROWS_MAX = 300;
// Services go on logging for a while after the last span has ended.
const LOGS_AROUND_NS = 60_000_000_000n;

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function tracePage(frame) {
  const trace = decodeURIComponent(location.pathname.split("/")[2] ?? "").toLowerCase();
  const header = h("header.trace-head");
  const notes = h("div.panel-notes");
  const tools = h("div.tool-bar");
  const map = minimap({ choose: (from, to) => zoomTo(from, to) });
  const place = h("div.waterfall-place");
  const detail = spanDetail({ frame, trace, model: () => model, close: () => closeDetail(), found: (row, span) => keepSpan(row, span), go: (row) => goTo(row, true) });
  const element = h("div.page.fill.trace-page", null, header, notes, tools, map.element, h("div.columns", null, h("div.waterfall-side", null, place, legend()), detail.element));

  /** @type {TraceModel | null} */
  let model = null;
  /** @type {ReturnType<typeof waterfall> | null} */
  let rows = null;
  /** @type {AbortController | null} */
  let run = null;
  let matches = /** @type {Int32Array} */ (new Int32Array(0));
  let matchSet = /** @type {Set<number>} */ (new Set());
  let shownRow = -1;

  const zoom = () => {
    const found = /^(\d+)\.\.(\d+)$/.exec(frame.params().get("zoom") ?? "");
    const length = model?.length ?? 1;
    return /** @type {[number, number]} */ (found !== null && +found[1] < +found[2] ? [+found[1], +found[2]] : [0, length]);
  };
  const only = () => /** @type {import("./trace-model.js").Only} */ (["critical", "errors"].find((one) => one === frame.params().get("only")) ?? "all");
  const withRecords = () => {
    const asked = frame.params().get("logs");
    return asked === null ? (model?.records.length ?? 0) <= RECORD_ROWS_MAX : asked === "1";
  };
  const quietly = (/** @type {Record<string, string | null>} */ changes) => frame.set(changes, "replace");
  const zoomTo = (/** @type {number} */ from, /** @type {number} */ to) => quietly({ zoom: from <= 0 && to >= (model?.length ?? 0) ? null : `${Math.floor(from)}..${Math.ceil(to)}` });

  const load = async () => {
    run?.abort();
    const own = new AbortController();
    run = own;
    const span = frame.params().get("span");
    performance.mark("trace-begin");
    try {
      await request(rowsAddress(trace, span), { signal: own.signal }, (response) => readLines(response, (line) => run === own && take(line), own.signal));
      if (run === own) finished();
    } catch (error) {
      if (run === own && !isGivenUp(error)) failed(error);
    }
  };

  /** @param {any} line */
  const take = (line) => {
    if (line.trace_id !== undefined) begin(line);
    else if (line.problem !== undefined) throw new Problem(line.problem);
    else if (line.records !== undefined) model?.addRecords(line.records);
    else if (line.rows !== undefined && model !== null) {
      const isFirst = model.loaded === 0;
      model.add(line.rows);
      if (isFirst) {
        draw();
        performance.measure("trace-first-rows", "trace-begin");
      }
    }
  };

  /** @param {any} head */
  const begin = (head) => {
    model = new TraceModel(head);
    rows?.rows.destroy();
    rows = waterfall({
      model, zoom, matches: () => matchSet, toggle: (row) => fold(row, model?.shut[row] !== 1),
      onActive: (at) => activated(at), onKey: (event, at) => keys(event, at),
    });
    fill(place, rows.element);
    drawHead(head);
    drawTools();
  };

  const finished = () => {
    if (model === null) return;
    model.close(model.loaded, 0);
    find(frame.params().get("find") ?? "");
    draw();
    map.picture(model);
    performance.measure("trace-all-rows", "trace-begin");
    const at = model.head.at ?? null;
    if (at !== null) goTo(at, true);
    else if (frame.params().get("span") !== null) fill(notes, h("div.note.warning", null, `▲ This trace has no span ${frame.params().get("span")}.`));
  };

  /** @param {unknown} error */
  const failed = (error) => {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 404) {
      fill(header, h("h1", null, "No such trace"));
      fill(notes, h("p.empty", null, `There are no spans of the trace ${trace}. They may be on their way, deleted, or of another server. `, h("a", { href: "/traces" }, "Traces")));
    } else fill(notes, problemNote(error, () => void load()));
  };

  /** @param {any} head */
  const drawHead = (head) => {
    const start = parseInstant(head.start);
    const [service, name] = [head.root_service, head.root_name];
    fill(header,
      h("h1", null, h("span.service", null, oneLine(service ?? "(no service)", 60)), " ", oneLine(name ?? "", 160)),
      h("div.trace-facts", null, h("b", null, duration(head.duration_ns)), fact(plural(head.spans, "span")), fact(plural(head.services, "service")),
        fact(head.errors > 0 ? `▲ ${plural(head.errors, "error")}` : "no errors", head.errors > 0), head.logs > 0 && start !== null ? h("a", { href: logsOf(head, start), title: "The log records of this trace" }, plural(head.logs, "log record")) : null,
        h("span.dim", null, start === null ? "" : inFull(start))),
      h("div.trace-id", null, h("code", null, trace), h("button.tool", { type: "button", onclick: () => void copy(trace, "Trace id") }, "Copy id"),
        start === null ? null : h("button.tool", { type: "button", title: "Another trace of this operation beside it  d", onclick: () => compare() }, "Compare with …"), h("a.tool", { href: `/v1/traces/${trace}`, download: `${trace}.json` }, "OTLP JSON"), h("a.tool", { href: sqlAddress(`select * from trace('${trace}') order by timestamp`) }, "SQL")));
    frame.title(`${service ?? "Trace"} ${name ?? trace.slice(0, 8)}`);
    fill(notes, ...head.notes.map((/** @type {string} */ note) => h("div.note.warning", null, `▲ ${note}`)));
  };

  const compare = () => {
    if (model === null) return;
    compareDialog({ trace: model.head.trace_id, service: model.head.root_service, name: model.head.root_name, start: parseInstant(model.head.start) ?? 0n }, frame.go);
  };

  /** @param {any} head @param {bigint} start */
  const logsOf = (head, start) => addressOf("/logs", { where: condition("trace_id", trace, "only"), ...absolute(start - LOGS_AROUND_NS, start + BigInt(Math.ceil(head.duration_ns)) + LOGS_AROUND_NS) });

  const findField = /** @type {HTMLInputElement} */ (h("input", { type: "search", "aria-label": "Find in this trace", placeholder: "Find service or operation   /", spellcheck: false }));
  const findCount = h("span.dim", { role: "status" });
  const shown = h("span.tool-group");
  fill(tools, h("div.find", null, findField, step("‹", "Previous match", () => toMatch(-1)), step("›", "Next match", () => toMatch(1)), findCount), shown);
  tools.hidden = true;
  const drawTools = () => {
    if (model === null) return;
    const choice = (/** @type {string} */ value, /** @type {string} */ words) => h("button", { type: "button", "aria-pressed": String(only() === value), onclick: () => quietly({ only: value === "all" ? null : value }) }, words);
    const isZoomed = zoom()[0] > 0 || zoom()[1] < model.length;
    const records = model.records.length;
    tools.hidden = false;
    refill(shown,
      h("div.segments", { role: "group", "aria-label": "Show" }, choice("all", "All"), choice("critical", "Critical path"), choice("errors", `Errors ${model.head.errors}`)),
      records === 0 ? null : h("label.check", null, h("input", { type: "checkbox", checked: withRecords(), onchange: () => quietly({ logs: withRecords() ? "0" : "1" }) }), `Logs and events ${records}`),
      h("button.tool", { type: "button", onclick: () => foldAll() }, model.shut.includes(1) ? "Unfold all" : "Fold all"),
      isZoomed ? h("button.tool", { type: "button", onclick: () => zoomTo(0, Infinity) }, "Whole time") : h("button.tool", { type: "button", onclick: fitTime, title: "The time of the rows on the screen" }, "Fit time to rows"));
  };

  const draw = () => {
    if (model === null || rows === null) return;
    const { active } = rows.rows;
    const [row, record] = active >= 0 && active < model.seenCount ? [model.rowAt(active), model.recordAt(active)] : [-1, -1];
    model.look(only(), withRecords());
    rows.rows.active = row < 0 ? -1 : model.placeOf(row, record);
    rows.show();
    map.show(...zoom());
    drawTools();
    if (model.seenCount === 0 && model.loaded > 0) fill(findCount, only() === "errors" ? "no errors" : "");
  };

  const fitTime = () => {
    if (model === null || rows === null) return;
    const [first, count] = [Math.floor(rows.rows.first), Math.ceil(rows.rows.seenPx / rows.rows.options.rowHeight)];
    let [from, to] = [Infinity, 0];
    for (let at = first; at < Math.min(first + count, model.seenCount); at += 1) {
      const row = model.rowAt(at);
      from = Math.min(from, model.start[row]);
      to = Math.max(to, model.start[row] + (model.duration[row] || 0));
    }
    // Parents fill any range: what does not is what is looked at.
    if (from < to) zoomTo(from, to);
  };

  /** @param {number} row @param {boolean} isShut */
  const fold = (row, isShut) => {
    if (model === null) return;
    model.shut[row] = isShut ? 1 : 0;
    draw();
  };

  const foldAll = () => {
    if (model === null) return;
    performance.mark("fold-begin");
    model.foldAll(!model.shut.includes(1));
    draw();
    performance.measure("fold-all", "fold-begin");
  };

  /** @param {string} text */
  const find = (text) => {
    if (model === null) return;
    performance.mark("find-begin");
    matches = model.find(text);
    matchSet = new Set(matches);
    performance.measure("find", "find-begin");
    if (findField.value !== text) findField.value = text;
    findCount.textContent = text === "" ? "" : plural(matches.length, "match", "matches");
  };

  /** @param {1 | -1} by */
  const toMatch = (by) => {
    if (model === null || matches.length === 0) return;
    const here = rows !== null && rows.rows.active >= 0 ? model.rowAt(rows.rows.active) : -1;
    const next = by === 1 ? matches.find((row) => row > here) ?? matches[0] : [...matches].reverse().find((row) => row < here) ?? matches[matches.length - 1];
    goTo(next, !detail.element.hidden);
  };

  /** Makes a row active, opening what hides it. @param {number} row @param {boolean} withDetail */
  const goTo = (row, withDetail) => {
    if (model === null || rows === null) return;
    model.reveal(row);
    if (model.look(only(), withRecords()), model.placeOf(row) < 0) quietly({ only: null });
    draw();
    const at = model.placeOf(row);
    rows.rows.activate(at);
    if (withDetail) activated(at);
  };

  /** @param {number} at */
  const activated = (at) => {
    if (model === null) return;
    const row = model.rowAt(at);
    const record = model.recordAt(at);
    if (row === shownRow && !detail.element.hidden) return detail.open(record);
    shownRow = row;
    detail.show(row, record);
  };

  /** @param {number} row @param {string} span */
  const keepSpan = (row, span) => {
    if (row === shownRow && frame.params().get("span") !== span) quietly({ span });
  };

  const closeDetail = () => {
    detail.hide();
    shownRow = -1;
    quietly({ span: null });
    rows?.element.focus();
  };

  findField.addEventListener("input", () => {
    find(findField.value);
    quietly({ find: findField.value });
  });
  findField.addEventListener("keydown", (event) => {
    if (event.key === "Enter") toMatch(event.shiftKey ? -1 : 1);
    else if (event.key === "Escape") rows?.element.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const keys = traceKeys({
    model: () => model, goTo: (row) => goTo(row, !detail.element.hidden), fold, toMatch, zoomTo, active: () => rows?.rows.active ?? -1,
    toggleCritical: () => quietly({ only: only() === "critical" ? null : "critical" }), open: (at) => activated(at),
  });

  let isLoaded = false;
  return {
    title: "Trace", element, hasRange: false,
    update: () => {
      if (!isLoaded) {
        isLoaded = true;
        void load();
      } else draw();
    },
    keys: { "/": () => findField.focus(), d: compare },
    close: () => {
      run?.abort();
      detail.hide();
      rows?.rows.destroy();
      map.close();
    },
    cancel: () => {
      if (detail.element.hidden) return false;
      closeDetail();
      return true;
    },
  };
}

function legend() {
  const signs = [["━", "critical path"], ["◆", "log"], ["●", "event"], ["↗", "link"], ["▲", "error"], ["┄", "order or clock in doubt"]];
  return h("p.legend", null, ...signs.map(([sign, words]) => h("span", null, h("b", null, sign), ` ${words}`)));
}

/** @param {string} words @param {boolean} [isWorse] */
function fact(words, isWorse = false) {
  return h(isWorse ? "span.worse" : "span", null, words);
}

/** @param {string} sign @param {string} words @param {() => void} act */
function step(sign, words, act) {
  return h("button.step", { type: "button", "aria-label": words, title: words, onclick: act }, sign);
}

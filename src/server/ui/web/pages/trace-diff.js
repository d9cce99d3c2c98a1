// Two traces of one operation: what of the first is slower, missing or new, against the second.

import { asProblem, isGivenUp, request } from "../data/request.js";
import { parseInstant, inFull } from "../state/time.js";
import { oneLine, visible } from "../state/text.js";
import { align, different, partsOfDifference, sidesOf } from "../state/trace-diff.js";
import { count, duration, percent, plural } from "../state/units.js";
import { compareAddress, compareDialog } from "../parts/compare-with.js";
import { valueOf } from "../parts/attribute-list.js";
import { fill, h } from "../parts/dom.js";
import { list } from "../parts/list.js";
import { problemNote } from "../parts/panel.js";
import { traceAddress } from "../parts/search-box.js";
import { coloursOf } from "../parts/service-colour.js";
import { KINDS } from "./trace-model.js";
import { readTrace } from "./trace-read.js";

/** @typedef {import("./trace-model.js").TraceModel} TraceModel */
/** @typedef {import("../state/trace-diff.js").Entry} Entry */

// What differs by less than that share of the longer trace is alike.
const LEAST_SHARE = 0.01;
const PARTS_NAMED = 3;
const PART_LEAST = 0.05;
const [INDENT_PX, INDENTS_MAX] = [14, 20];

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function traceDiffPage(frame) {
  const [, , first, , second] = location.pathname.split("/").map((part) => decodeURIComponent(part).toLowerCase());
  const heads = h("div.diff-heads");
  const notes = h("div.panel-notes.page-notes");
  const headline = h("p.headline", { role: "status" });
  const choices = /** @type {const} */ (["all", "different"]).map((only) => h("button", { type: "button", onclick: () => frame.set({ only }, "replace") }, only === "all" ? "All" : "Different"));
  const tools = h("div.tool-bar", null, h("div.segments", { role: "group", "aria-label": "Show" }, ...choices), headline);
  /** @type {{a: TraceModel, b: TraceModel, entries: Entry[]} | null} */
  let both = null;
  /** @type {Entry[]} */
  let shown = [];
  let colours = new Map();
  const found = list({
    name: "diff-list", label: "Spans of both traces", rowHeight: 34, narrowHeight: 60,
    columns: [{ name: "what", words: "Service and operation" }, { name: "bars", words: "When" }, { name: "own", words: "This", isNumber: true }, { name: "other", words: "Other", isNumber: true }, { name: "delta", words: "Difference", isNumber: true }],
    write: (cells, row, element) => write(cells, shown[row], element, row), onActive: (row) => open(row), onOpen: (row) => open(row),
  });
  const none = h("p.empty", null, "No span differs by a hundredth of the time, and both traces have the same spans.");
  const results = h("section.panel.results", null, h("div.panel-body", null, h("div.list-and-foot", null, found.element, none)));
  const detail = h("aside.detail", { "aria-label": "Both spans" });
  detail.hidden = true;
  const element = h("div.page.fill.diff-page", null, h("h1", null, "Two traces"), heads, notes, tools, h("div.columns", null, results, detail));
  const run = new AbortController();
  let reading = new AbortController();

  const load = async () => {
    fill(notes, h("p.dim", null, "Reading …"));
    element.setAttribute("aria-busy", "true");
    const span = frame.params().get("span");
    try {
      const [a, b] = await Promise.all([readTrace(first, span, run.signal), readTrace(second, span, run.signal)]);
      const entries = align(a, b);
      both = { a, b, entries };
      colours = coloursOf(entries.map(({ service }) => service));
      fill(notes);
      drawHeads();
      draw();
      const at = entries.findIndex((entry) => (a.head.at !== null && entry.a.row === a.head.at) || (b.head.at !== null && entry.b.row === b.head.at));
      const place = shown.indexOf(entries[at]);
      if (place >= 0) {
        found.rows.activate(place);
        open(place);
      }
    } catch (error) {
      if (!isGivenUp(error)) failed(error);
    } finally {
      element.removeAttribute("aria-busy");
    }
  };

  /** @param {unknown} error */
  const failed = (error) => {
    const problem = asProblem(error);
    tools.hidden = results.hidden = true;
    if (problem.status !== 404) return fill(notes, problemNote(problem, () => location.reload()));
    fill(notes, h("p.empty", null, "One of these traces is not here: ", h("a", { href: traceAddress(first, null) }, first), ", ", h("a", { href: traceAddress(second, null) }, second), "."));
  };

  const drawHeads = () => {
    if (both === null) return;
    const { a, b } = both;
    frame.title(`${a.head.root_service ?? "Trace"} ${a.head.root_name ?? ""}, two traces`);
    fill(/** @type {HTMLElement} */ (element.querySelector("h1")), h("span.service", null, oneLine(a.head.root_service ?? "(no service)", 60)), " ", oneLine(a.head.root_name ?? "", 160));
    const card = (/** @type {TraceModel} */ model, /** @type {string} */ words, /** @type {string} */ kind, /** @type {Node[]} */ ...buttons) => h(`section.diff-head.${kind}`, { "aria-label": words },
      h("div.diff-title", null, h("i.diff-sample"), h("h2", null, words), h("b", null, duration(model.duration[0])), h("span.dim", null, plural(model.head.spans, "span")),
        // What goes on after the answer is not what its user waits for.
        model.length > model.duration[0] * 1.01 ? h("span.dim", null, `${duration(model.length)} with what goes on after it`) : null,
        model.head.errors > 0 ? h("span.worse", null, `▲ ${plural(model.head.errors, "error")}`) : null),
      h("div.diff-facts", null, h("a.mono", { href: traceAddress(model.head.trace_id, null) }, model.head.trace_id), h("span.dim", null, inFull(parseInstant(model.head.start) ?? 0n)), h("span.grow"), ...buttons));
    const of = { trace: first, service: a.head.root_service, name: a.head.root_name, start: parseInstant(a.head.start) ?? 0n };
    fill(heads, card(a, "This trace", "own"),
      card(b, "Compared with", "other", h("button.tool", { type: "button", onclick: () => compareDialog(of, frame.go) }, "Another …"), h("a.tool", { href: compareAddress(second, first) }, "Swap")));
    const isOther = a.head.root_service !== b.head.root_service || a.head.root_name !== b.head.root_name;
    fill(notes, isOther ? h("div.note.warning", null, `▲ The other trace is of another operation: ${oneLine(`${b.head.root_service ?? ""} ${b.head.root_name ?? ""}`, 200)}.`) : null,
      ...[a, b].flatMap((model, i) => model.head.notes.map((/** @type {string} */ note) => h("div.note.warning", null, `▲ ${i === 0 ? "This trace" : "The other trace"}: ${note}`))));
    fill(headline, ...headlineOf(a, b, both.entries));
  };

  const draw = () => {
    if (both === null) return;
    const { a, b, entries } = both;
    const only = frame.params().get("only") === "all" ? "all" : "different";
    choices.forEach((button, i) => button.setAttribute("aria-pressed", String(["all", "different"][i] === only)));
    const kept = found.rows.active >= 0 ? shown[found.rows.active] : null;
    shown = only === "all" ? entries : different(entries, LEAST_SHARE * Math.max(a.length, b.length));
    found.rows.active = kept === null ? -1 : shown.indexOf(kept);
    none.hidden = shown.length > 0;
    found.element.hidden = shown.length === 0;
    found.show(shown.length);
  };

  /** @param {HTMLElement[]} cells @param {Entry} entry @param {HTMLElement} row @param {number} place */
  const write = (cells, entry, row, place) => {
    if (both === null) return;
    const [what, bars, own, other, delta] = cells;
    const sides = sidesOf(entry);
    const longest = Math.max(both.a.length, both.b.length);
    what.style.paddingLeft = `${Math.min(entry.depth, INDENTS_MAX) * INDENT_PX}px`;
    fill(what, h(`span.swatch.s${colours.get(entry.service) ?? 0}`), h("span.diff-name", null, h("b", null, oneLine(entry.service || "(no service)", 60)), " ", oneLine(entry.name, 200)));
    what.title = `${entry.service} ${entry.name} ${KINDS[entry.kind] ?? ""}`;
    fill(bars, bar(entry.a, longest, "own"), bar(entry.b, longest, "other"));
    own.textContent = sideWords(entry.a);
    other.textContent = sideWords(entry.b);
    const less = entry.a.total - entry.b.total;
    const isLarge = Math.abs(less) >= LEAST_SHARE * longest;
    fill(delta, sides === "a" ? h("span.worse", null, "new here") : sides === "b" ? h("span.missing", null, "missing here") : h(isLarge ? (less > 0 ? "span.worse" : "span.ok") : "span.dim", null, signed(less)),
      entry.a.errors > 0 || entry.b.errors > 0 ? h("span.worse.diff-errors", { title: `errors: ${entry.a.errors} in this trace, ${entry.b.errors} in the other` }, " ▲") : null);
    row.classList.toggle("is-new", sides === "a");
    row.classList.toggle("is-missing", sides === "b");
    row.setAttribute("aria-selected", String(place === found.rows.active));
  };

  /** Both spans with what differs. @param {number} place */
  const open = (place) => {
    const entry = shown[place];
    if (entry === undefined) return;
    reading.abort();
    const own = new AbortController();
    reading = own;
    const body = h("div.detail-body", null, h("p.dim", null, "Reading …"));
    const critical = entry.a.critical - entry.b.critical;
    const by = both === null ? 0 : both.a.duration[0] - both.b.duration[0];
    const isPart = Math.abs(critical) >= PART_LEAST * Math.abs(by) && critical * by > 0;
    fill(detail,
      h("header", null, h("div", null, h("p.dim", null, h(`span.swatch.s${colours.get(entry.service) ?? 0}`), oneLine(entry.service || "(no service)", 60)), h("h2", null, oneLine(entry.name, 200))), h("button.icon", { type: "button", "aria-label": "Close", onclick: closeDetail }, "×")),
      h("table.figures.diff-figures", null,
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "Figure"), h("th.number", { scope: "col" }, "This"), h("th.number", { scope: "col" }, "Other"), h("th.number", { scope: "col" }, "Difference"))),
        h("tbody", null,
          figure("Spans", entry.a.count, entry.b.count, count, (by) => `${by > 0 ? "+" : by < 0 ? "−" : ""}${count(Math.abs(by))}`),
          figure("Time", entry.a.total, entry.b.total, duration, signed),
          figure("Critical path", entry.a.critical, entry.b.critical, duration, signed),
          entry.a.errors + entry.b.errors === 0 ? null : figure("Errors", entry.a.errors, entry.b.errors, count, (by) => `${by > 0 ? "+" : by < 0 ? "−" : ""}${Math.abs(by)}`))),
      isPart ? h("p.dim", null, `${percent(Math.max(0, Math.min(1, critical / by)))} of the whole difference is here itself, not in what it calls.`) : null,
      body);
    detail.hidden = false;
    void readBoth(entry, body, own);
  };

  /** @param {Entry} entry @param {HTMLElement} body @param {AbortController} own */
  const readBoth = async (entry, body, own) => {
    const read = (/** @type {string} */ trace, /** @type {number} */ row) => (row < 0 ? null : request(`/v1/traces/${trace}/rows/${row}`, { signal: own.signal }, (response) => response.json()));
    try {
      const [a, b] = await Promise.all([read(first, entry.a.row), read(second, entry.b.row)]);
      if (own.signal.aborted) return;
      fill(body, ...attributesOf(spanOf(a), spanOf(b)),
        h("div.buttons", null, a === null ? null : h("a.tool", { href: traceAddress(first, a.span_id) }, "Open in this trace"), b === null ? null : h("a.tool", { href: traceAddress(second, b.span_id) }, "Open in the other")));
      frame.set({ span: (a ?? b).span_id }, "replace");
    } catch (error) {
      if (!isGivenUp(error)) fill(body, problemNote(asProblem(error), () => void readBoth(entry, body, own)));
    }
  };

  const closeDetail = () => {
    reading.abort();
    detail.hidden = true;
    frame.set({ span: null }, "replace");
    found.element.focus();
  };

  let isLoaded = false;
  return {
    title: "Two traces", element, hasRange: false,
    update: () => {
      if (isLoaded) return draw();
      isLoaded = true;
      void load();
    },
    close: () => {
      run.abort();
      reading.abort();
      found.rows.destroy();
    },
    cancel: () => {
      if (detail.hidden) return false;
      closeDetail();
      return true;
    },
  };
}

/** What is slower, and where. @param {TraceModel} a @param {TraceModel} b @param {Entry[]} entries */
function headlineOf(a, b, entries) {
  const [own, other] = [a.duration[0], b.duration[0]];
  const by = own - other;
  if (!(Math.abs(by) >= LEAST_SHARE * Math.max(own, other))) return [h("span", null, "Both take the same time.")];
  const named = partsOfDifference(entries, by > 0 ? 1 : -1).filter(({ part }) => Math.abs(part) >= PART_LEAST * Math.abs(by)).slice(0, PARTS_NAMED);
  const times = by > 0 ? own / other : other / own;
  const factor = times >= 1.5 ? ` (×${times >= 10 ? count(Math.round(times)) : times.toFixed(1)})` : "";
  return [
    h(by > 0 ? "strong.worse" : "strong.ok", null, by > 0 ? `▲ ${duration(by)} slower${factor}` : `${duration(-by)} faster${factor}`),
    named.length === 0 ? "." : ": ",
    ...named.flatMap(({ entry, part }, i) => [i > 0 ? ", " : "", `${duration(Math.abs(part))} in `, h("b", null, oneLine(entry.service, 40)), " ", oneLine(entry.name, 80)]),
  ];
}

/** @param {import("../state/trace-diff.js").Side} side @param {number} longest @param {string} kind */
function bar(side, longest, kind) {
  const left = side.row < 0 ? 0 : Math.min(99.5, (side.start / longest) * 100);
  const width = Math.min(100 - left, Math.max(0.3, (side.duration / longest) * 100));
  return h(`i.diff-bar.${kind}`, { hidden: side.row < 0, style: { left: `${left}%`, width: `${width}%` } });
}

/** @param {import("../state/trace-diff.js").Side} side */
function sideWords(side) {
  return side.count === 0 ? "–" : side.count === 1 ? duration(side.total) : `${duration(side.total)} in ${count(side.count)}`;
}

/** @param {number} ns */
function signed(ns) {
  return ns > 0 ? `+${duration(ns)}` : duration(ns);
}

/** @param {string} name @param {number} a @param {number} b @param {(value: number) => string} words @param {(by: number) => string} byWords */
function figure(name, a, b, words, byWords) {
  return h("tr", null, h("th", { scope: "row" }, name), h("td.number", null, words(a)), h("td.number", null, words(b)), h("td.number", null, byWords(a - b)));
}

/** @param {any} detail @returns {Record<string, unknown>} core columns and attributes of the span */
function spanOf(detail) {
  if (detail === null) return {};
  const row = Object.fromEntries(detail.columns.map((/** @type {{name: string}} */ column, /** @type {number} */ i) => [column.name, detail.data[i][0]]));
  const core = ["status", "status_message", "scope", "scope_version"].map((key) => [key, row[key]]);
  return { ...Object.fromEntries(core.filter(([, value]) => value !== null && value !== "")), ...row.attributes };
}

/** What the two spans say, where it is not the same. @param {Record<string, unknown>} a @param {Record<string, unknown>} b */
function attributesOf(a, b) {
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
  const isAlike = (/** @type {string} */ key) => JSON.stringify(a[key]) === JSON.stringify(b[key]);
  const unlike = keys.filter((key) => !isAlike(key));
  const alike = keys.filter(isAlike);
  const cell = (/** @type {unknown} */ value) => (value === undefined ? h("span.dim", null, "not set") : valueOf(value));
  const isBoth = Object.keys(a).length > 0 && Object.keys(b).length > 0;
  return [
    h("h3.caps", null, isBoth ? `${unlike.length} attributes differ` : "Attributes"),
    h("dl.diff-fields", null, ...unlike.map((key) => h("div", null, h("dt", null, visible(key)),
      Object.keys(a).length === 0 ? null : h("dd.own", null, h("i.diff-sample", { title: "this trace" }), cell(a[key])), Object.keys(b).length === 0 ? null : h("dd.other", null, h("i.diff-sample", { title: "the other trace" }), cell(b[key]))))),
    alike.length === 0 ? null : h("details", null, h("summary", null, `${alike.length} attributes are alike`), h("dl.diff-fields", null, ...alike.map((key) => h("div", null, h("dt", null, visible(key)), h("dd", null, valueOf(a[key])))))),
  ].filter((one) => one !== null);
}

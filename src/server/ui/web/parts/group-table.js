// The table of groups: a row for each with its figures, what can be done with it, and an event of it.

import { LINES_MAX, groupName } from "../state/explore-statements.js";
import { figures, orderOfState } from "../state/explore.js";
import { wordsOf } from "../state/figures.js";
import { oneLine, visible } from "../state/text.js";
import { count, plural } from "../state/units.js";
import { h } from "./dom.js";
import { lineSample } from "./lines.js";
import { traceAddress } from "./search-box.js";
import { menuButton, showsValue } from "./value-menu.js";

/** @typedef {import("../state/explore.js").State} State */

/**
 * @param {State} state @param {Record<string, any>[]} rows
 * @param {{frame: import("./value-menu.js").Frame, change: (changes: Partial<State>) => void}} page
 */
export function groupTable(state, rows, { frame, change }) {
  const shown = figures(state);
  const order = orderOfState(state);
  const sort = (/** @type {string} */ what) => change({ order: { what, isDescending: what === order.what ? !order.isDescending : true } });
  const head = (/** @type {string} */ what, /** @type {boolean} */ isNumber) => h(`th${isNumber ? ".number" : ""}`, { scope: "col", "aria-sort": what === order.what ? (order.isDescending ? "descending" : "ascending") : null },
    h("button.sort", { type: "button", title: `Order by ${what}`, disabled: state.by.length === 0, onclick: () => sort(what) }, visible(what), what === order.what && state.by.length > 0 ? h("span", { "aria-hidden": "true" }, order.isDescending ? " ↓" : " ↑") : ""));
  const example = state.of === "spans" ? "Slowest" : "Last";
  const line = (/** @type {Record<string, any>} */ row, /** @type {number} */ place) => h("tr", null,
    ...state.by.map((key, i) => h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : null,
      groupCell(state, key, row[groupName(i)], i === 0 ? lineSample(place < LINES_MAX ? place + 1 : null) : null))),
    ...shown.map(({ text, unit }) => h("td.number", null, oneLine(wordsOf(row[text], unit), 60))),
    h("td", null, exampleLink(row)));
  /** @param {State} now @param {string} name @param {unknown} value @param {Node | null} sample */
  function groupCell(now, name, value, sample) {
    if (!isName(name)) return h("span.group-cell", null, sample, groupValue(value));
    const named = { key: keyOf(name), value, source: now.of };
    return showsValue(h("span.group-cell", null, sample, groupValue(value), menuButton(named, frame)), named, frame);
  }
  return h("div.table-box", { tabIndex: 0, role: "region", "aria-label": "Groups" }, h("table.figures.groups", null,
    h("thead", null, h("tr", null, ...state.by.map((key) => head(key, false)), ...shown.map(({ text }) => head(text, true)), h("th", { scope: "col" }, `${example} trace`))),
    h("tbody", null, ...rows.map(line))));
}

/** What is said about all groups above the table. @param {State} state @param {Record<string, any>[]} rows */
export function groupWords(state, rows) {
  const [{ all_groups: groups, all_events: events }] = rows;
  const what = state.of === "logs" ? "log record" : state.of.slice(0, -1);
  if (state.by.length === 0) return plural(Number(events), what);
  return `${plural(Number(groups), "group")} of ${plural(Number(events), what)}${rows.length < groups ? `, the first ${count(rows.length)}` : ""}`;
}

/** That events were sampled, or "". @param {Record<string, any>[]} rows */
export function sampledWords(rows) {
  const { all_events: events, all_weight: weight } = rows[0];
  if (!(Number(weight) > Number(events) * 1.0001)) return "";
  return `Sampled: ${count(Number(events))} stored events stand for about ${count(Math.round(weight))}. Rates, shares, percentiles and averages weigh them; counts and the heat map are of what is stored.`;
}

/** @param {unknown} value */
export function groupValue(value) {
  if (value === null || value === undefined) return h("span.dim", null, "not set");
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return h("span.group-value", { title: text.length > 60 ? visible(text.slice(0, 1000)) : "" }, text === "" ? "(empty)" : oneLine(text, 60));
}

/** @param {Record<string, any>} row */
function exampleLink(row) {
  const id = row.example_trace_id;
  return id === null || id === undefined ? h("span.dim", null, "–") : h("a.mono", { href: traceAddress(id, row.example_span_id) }, String(id).slice(0, 8));
}

/** Is it an attribute or a column, and no other expression? @param {string} sql */
function isName(sql) {
  return /^(?:[A-Za-z_][\w.]*|"(?:[^"]|"")*")$/.test(sql);
}

/** The key that a name means. @param {string} name */
function keyOf(name) {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

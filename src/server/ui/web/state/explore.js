// The state of the explore page, and how it stands in the address. What has its usual value is left out there.

import { figureOf } from "./figures.js";
import { parseSpan } from "./range.js";
import { parseSelection, selectionText } from "./selection.js";

/** @typedef {import("./figures.js").Source} Source */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {{what: string, isDescending: boolean}} Order by a figure or a group */
/**
 * @typedef {{
 *   where: string, of: Source, show: string[], by: string[], order: Order | null, limit: number,
 *   sel: Selection | null, base: Selection | null, vs: string | null, across: "rows" | "traces",
 *   scale: "log" | "linear", colour: "count" | "errors", isTable: boolean, wrong: string[],
 * }} State `wrong`: parameters that cannot be read, or that the page does not know
 */

export const LIMIT_USUAL = 100;
export const LIMIT_MAX = 1000;
/** What is shown where nothing else is asked for. @type {Record<Source, string[]>} */
export const SHOWN = {
  spans: ["heatmap(duration_ns)", "count()", "error_rate()", "p99(duration_ns)"],
  logs: ["count()", "error_rate()"],
  events: ["count()", "error_rate()"],
};
const KNOWN = new Set(["t", "at", "where", "of", "show", "by", "order", "limit", "sel", "base", "vs", "across", "scale", "colour", "cells"]);

/** Reads an address; what is wrong in it is left out and named. @param {URLSearchParams} params @returns {State} */
export function stateOf(params) {
  const wrong = [...params.keys()].filter((key) => !KNOWN.has(key));
  /** @template T @param {string} key @param {T} usual @param {(text: string) => T | null} read @returns {T} */
  const take = (key, usual, read) => {
    const text = params.get(key);
    if (text === null || text === "") return usual;
    const value = read(text);
    if (value === null) wrong.push(key);
    return value ?? usual;
  };
  /** @template {string} T @param {readonly T[]} some */
  const one = (some) => (/** @type {string} */ text) => some.find((each) => each === text) ?? null;
  const of = take("of", /** @type {Source} */ ("spans"), one(/** @type {const} */ (["spans", "logs", "events"])));
  return {
    where: params.get("where") ?? "",
    of,
    show: take("show", SHOWN[of], someParts),
    by: take("by", /** @type {string[]} */ ([]), someParts),
    order: take("order", /** @type {Order | null} */ (null), orderOf),
    limit: take("limit", LIMIT_USUAL, limitOf),
    sel: take("sel", /** @type {Selection | null} */ (null), parseSelection),
    base: take("base", /** @type {Selection | null} */ (null), parseSelection),
    vs: take("vs", /** @type {string | null} */ (null), (text) => (parseSpan(text) === null ? null : text)),
    across: take("across", /** @type {State["across"]} */ ("rows"), one(/** @type {const} */ (["rows", "traces"]))),
    scale: take("scale", /** @type {State["scale"]} */ ("log"), one(/** @type {const} */ (["log", "linear"]))),
    colour: take("colour", /** @type {State["colour"]} */ ("count"), one(/** @type {const} */ (["count", "errors"]))),
    isTable: take("cells", "map", one(/** @type {const} */ (["map", "table"]))) === "table",
    wrong,
  };
}

/**
 * Parameters of the address; null is the usual value. The range (`t`, `at`) is not among them.
 * @param {State} state @returns {Record<string, string | null>}
 */
export function paramsOf(state) {
  const { of, order } = state;
  const unless = (/** @type {string} */ text, /** @type {string} */ usual) => (text === usual ? null : text);
  return {
    where: state.where === "" ? null : state.where,
    of: unless(of, "spans"),
    show: unless(state.show.join(", "), SHOWN[of].join(", ")),
    by: state.by.length === 0 ? null : state.by.join(", "),
    order: order === null ? null : `${order.what} ${order.isDescending ? "desc" : "asc"}`,
    limit: unless(String(state.limit), String(LIMIT_USUAL)),
    sel: selectionText(state.sel),
    base: selectionText(state.base),
    vs: state.vs,
    across: unless(state.across, "rows"),
    scale: unless(state.scale, "log"),
    colour: unless(state.colour, "count"),
    cells: state.isTable ? "table" : null,
  };
}

/** The figures that are numbers for each group: all but the heat map. @param {State} state */
export function figures(state) {
  return state.show.map(figureOf).filter(({ name }) => name !== "heatmap");
}

/** What the heat map is of, or null. @param {State} state */
export function heatMapOf(state) {
  return state.show.map(figureOf).find(({ name }) => name === "heatmap")?.argument ?? null;
}

/** The order of groups that is meant: the first figure's, the greatest first, unless the address names one. @param {State} state @returns {Order} */
export function orderOfState(state) {
  const shown = figures(state).map(({ text }) => text);
  if (state.order !== null && (shown.includes(state.order.what) || state.by.includes(state.order.what))) return state.order;
  return { what: shown[0] ?? "count()", isDescending: true };
}

/**
 * The parts of a list between commas that are outside of quotes and parentheses, trimmed, each once.
 * @param {string} text @returns {string[]}
 */
export function partsOf(text) {
  const parts = [""];
  let depth = 0;
  for (const [token] of text.matchAll(/'(?:[^']|'')*'?|"(?:[^"]|"")*"?|[^'"]/gs)) {
    if (token === "(" || token === "[") depth += 1;
    if (token === ")" || token === "]") depth -= 1;
    if (token === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += token;
  }
  return [...new Set(parts.map((part) => part.trim()).filter((part) => part !== ""))];
}

/** @param {string} text */
function someParts(text) {
  const parts = partsOf(text);
  return parts.length === 0 ? null : parts;
}

/** @param {string} text @returns {Order | null} */
function orderOf(text) {
  const found = /^(.*\S)\s+(asc|desc)$/s.exec(text);
  return found === null ? null : { what: found[1], isDescending: found[2] === "desc" };
}

/** @param {string} text */
function limitOf(text) {
  const limit = Number(text);
  return Number.isInteger(limit) && limit >= 1 && limit <= LIMIT_MAX ? limit : null;
}

// Figures of the explore page: what a person writes (`p99(duration_ns)`, `error_rate()`, any SQL), its SQL, its unit.
//
// Counts are of the events that are stored. Rates, shares, percentiles and averages weigh each event by
// `sample_weight`, as the overview does, so that sampling does not shift them.

import { bytes, count, duration, number, percent, rate } from "./units.js";

/** @typedef {"spans" | "logs" | "events"} Source */
/** @typedef {"ns" | "us" | "ms" | "s" | "bytes" | "count" | "rate" | "share" | "number"} Unit */
/** @typedef {{text: string, name: string | null, argument: string, unit: Unit}} Figure `name` is null for SQL */

/** Which functions there are, and whether they need something to calculate with. @type {Record<string, boolean>} */
export const FUNCTIONS = {
  count: false, rate: false, errors: false, error_rate: false,
  p50: true, p75: true, p90: true, p95: true, p99: true, p999: true,
  avg: true, sum: true, min: true, max: true, distinct: true, heatmap: true,
};

/** Which events failed. @type {Record<Source, string>} */
export const FAILED = {
  spans: "status = 'error'",
  logs: "severity_number >= 17",
  events: "status = 'error' or severity_number >= 17",
};

/**
 * A figure as people type it: `p99` of spans is that of their duration. Null where something is missing.
 * @param {string} typed @param {Source} source @returns {string | null}
 */
export function asFigure(typed, source) {
  const text = typed.trim();
  const found = /^(\w+)\s*(?:\(\s*\*?\s*\))?$/.exec(text);
  const name = found?.[1].toLowerCase() ?? "";
  if (name in FUNCTIONS) {
    if (!FUNCTIONS[name]) return `${name}()`;
    return source === "spans" && name !== "distinct" ? `${name}(duration_ns)` : null;
  }
  const called = /^(\w+)\s*\((.*)\)$/s.exec(text);
  if (called !== null && called[1].toLowerCase() in FUNCTIONS) return `${called[1].toLowerCase()}(${called[2].trim()})`;
  return text === "" ? null : text;
}

/** @param {string} text @returns {Figure} */
export function figureOf(text) {
  const called = /^(\w+)\((.*)\)$/s.exec(text);
  const isKnown = called !== null && called[1] in FUNCTIONS && FUNCTIONS[called[1]] === (called[2] !== "") && isOne(called[2]);
  if (!isKnown) return { text, name: null, argument: "", unit: "number" };
  const [, name, argument] = called;
  return { text, name, argument, unit: unitOf(name, argument) };
}

/** Is it one expression, with its parentheses in order? `a) + (b` is not. @param {string} sql */
function isOne(sql) {
  let depth = 0;
  for (const [token] of sql.matchAll(/'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]/g)) {
    if (token === "(") depth += 1;
    if (token === ")") depth -= 1;
    if (depth < 0) return false;
  }
  return depth === 0;
}

/** @param {string} name @param {string} argument @returns {Unit} */
function unitOf(name, argument) {
  if (["count", "errors", "distinct"].includes(name)) return "count";
  if (name === "rate") return "rate";
  return name === "error_rate" ? "share" : unitOfValue(argument);
}

/** The unit of an attribute, by its name. @param {string} key @returns {Unit} */
export function unitOfValue(key) {
  const found = /[_.](ns|us|ms|seconds|bytes|size)"?$/.exec(key);
  /** @type {Record<string, Unit>} */
  const units = { ns: "ns", us: "us", ms: "ms", seconds: "s", bytes: "bytes", size: "bytes" };
  return found === null ? "number" : units[found[1]];
}

/**
 * Its SQL: an aggregate over events of `source`. `seconds` is SQL too: the length of the time that a group covers.
 * @param {Figure} figure @param {Source} source @param {string} seconds
 */
export function sqlOf(figure, source, seconds) {
  const { name, argument } = figure;
  switch (name) {
    case null: return figure.text;
    case "count": return "count(*)";
    case "rate": return `sum(sample_weight) / ${seconds}`;
    case "errors": return `count(*) filter (where ${FAILED[source]})`;
    case "error_rate": return `coalesce(sum(sample_weight) filter (where ${FAILED[source]}), 0.0) / sum(sample_weight)`;
    case "avg": return `sum(${argument} * sample_weight) / sum(sample_weight) filter (where ${argument} is not null)`;
    case "distinct": return `count(distinct ${argument})`;
    case "sum": case "min": case "max": return `${name}(${argument})`;
    default: return `${name}(${argument}, sample_weight)`;
  }
}

/** Nanoseconds of the units of time. */
const NS = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/** A value of that unit for people. @param {unknown} value @param {Unit} unit */
export function wordsOf(value, unit) {
  if (value === null || value === undefined) return "–";
  // Text stays text, also where it looks like a number; integers that JavaScript cannot hold come as text.
  if (typeof value === "string" && unit === "number" && !/^-?\d{16,}$/.test(value)) return value;
  const size = typeof value === "boolean" || value === "" ? NaN : Number(value);
  if (Number.isNaN(size)) return typeof value === "object" ? JSON.stringify(value) : String(value);
  switch (unit) {
    case "count": return count(size);
    case "rate": return `${rate(size)}/s`;
    case "share": return percent(size);
    case "bytes": return bytes(size);
    case "number": return number(size);
    default: return duration(size * NS[unit]);
  }
}

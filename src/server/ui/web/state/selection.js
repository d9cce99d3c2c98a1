// A selection of events, as it stands in the address: a box of the heat map in units of the data, or a condition.
//
//   2026-11-29T14:36:00Z..2026-11-29T14:50:00Z;1000000000..10000000000;duration_ns    time and value
//   2026-11-29T14:36:00Z..2026-11-29T14:50:00Z      time alone
//   *;1000000000..10000000000;duration_ns           value alone; *..1000 has no lower end
//   where os.version = 'iOS 17'                      a condition

import { isoOf, parseInstant } from "./time.js";

/** @typedef {{from: bigint, to: bigint}} Times */
/** @typedef {{of: string, low: number | null, high: number}} Values low <= of < high; null has no lower end */
/** @typedef {{time: Times | null, value: Values | null, where: string | null}} Selection one of them at least */

/** @param {string | null} text @returns {Selection | null} */
export function parseSelection(text) {
  if (text === null) return null;
  if (/^where\s/i.test(text)) {
    const where = text.slice(6).trim();
    return where === "" ? null : { time: null, value: null, where };
  }
  const found = /^(\*|[^;]+?\.\.[^;]+)(?:;(\*|[^;.]+(?:\.[^;.]+)?)\.\.([^;]+);(.+))?$/s.exec(text);
  if (found === null) return null;
  const time = found[1] === "*" ? null : parseTimes(found[1]);
  const value = found[4] === undefined ? null : parseValues(found[4], found[2], found[3]);
  const isWhole = (found[1] === "*") === (time === null) && (found[4] === undefined) === (value === null);
  return isWhole && (time !== null || value !== null) ? { time, value, where: null } : null;
}

/** @param {string} text @returns {Times | null} */
function parseTimes(text) {
  const [from, to] = text.split("..").map(parseInstant);
  return from !== null && to !== null && from < to ? { from, to } : null;
}

/** @param {string} of @param {string} lowText @param {string} highText @returns {Values | null} */
function parseValues(of, lowText, highText) {
  const low = lowText === "*" ? null : Number(lowText);
  const high = Number(highText);
  const isRange = Number.isFinite(high) && (low === null || (Number.isFinite(low) && low < high));
  return isRange && of.trim() !== "" ? { of: of.trim(), low, high } : null;
}

/** @param {Selection | null} selection @returns {string | null} */
export function selectionText(selection) {
  if (selection === null) return null;
  const { time, value, where } = selection;
  if (where !== null) return `where ${where}`;
  const times = time === null ? "*" : `${isoOf(time.from)}..${isoOf(time.to)}`;
  return value === null ? times : `${times};${value.low ?? "*"}..${value.high};${value.of}`;
}

/** Terms of a condition that the selected events, and no others, meet. @param {Selection} selection @returns {string[]} */
export function selectionTerms({ time, value, where }) {
  const terms = where === null ? [] : [where];
  if (time !== null) terms.push(`timestamp >= '${isoOf(time.from)}'`, `timestamp < '${isoOf(time.to)}'`);
  if (value !== null && value.low !== null) terms.push(`${value.of} >= ${value.low}`);
  if (value !== null) terms.push(`${value.of} < ${value.high}`);
  return terms;
}

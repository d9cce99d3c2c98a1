// What is different about selected events: the rows of `explain_diff`, by key, and the conditions that they mean.

import { literalOf, nameOf } from "./where.js";

/**
 * @typedef {{rank: number, kind: string, key: string, level: string, type: string, service: string | null,
 *   value: string | null, low: number | null, high: number | null, effect: number | null, p: number | null,
 *   selection_rows: number, baseline_rows: number, selection: number, baseline: number,
 *   selection_total: number, baseline_total: number, goes_with: string[] | null}} Row
 * @typedef {{key: string, service: string | null, level: string, effect: number, goesWith: string[], rows: Row[]}} Entry
 */

/** Keys in the order of their rank, each with its rows; ids apart. @param {Row[]} rows @returns {{entries: Entry[], unique: Row[]}} */
export function entriesOf(rows) {
  const unique = rows.filter(({ kind }) => kind === "unique");
  /** @type {Map<string, Entry>} */
  const entries = new Map();
  for (const row of rows) {
    if (row.kind === "unique") continue;
    const name = `${row.rank} ${row.service ?? ""} ${row.key}`;
    const entry = entries.get(name) ?? { key: row.key, service: row.service, level: row.level, effect: 0, goesWith: [], rows: [] };
    entry.rows.push(row);
    entry.effect = Math.max(entry.effect, Math.abs(row.effect ?? 0));
    entry.goesWith = [...new Set([...entry.goesWith, ...(row.goes_with ?? [])])];
    entries.set(name, entry);
  }
  return { entries: [...entries.values()], unique };
}

/**
 * The condition that events of a row meet, or those that do not. Across traces it is about the whole trace, since the
 * attribute may be of another of its services.
 * @param {Row} row @param {"only" | "without"} which @param {"rows" | "traces"} across
 */
export function conditionOf(row, which, across) {
  const name = /^"/.test(row.key) ? row.key : nameOf(row.key);
  const isOnly = which === "only";
  if (across === "rows") return isOnly ? holds(row, name) : fails(row, name);
  const service = row.service === null ? "" : ` and service.name = ${literalOf(row.service)}`;
  // A trace is without a key if none of its events has it.
  const isAbsent = row.kind === "absent";
  const some = isAbsent ? fails(row, name) : holds(row, name);
  return `trace_id ${isOnly === isAbsent ? "not " : ""}in (select trace_id from events where ${some}${service} and trace_id is not null)`;
}

/** @param {Row} row @param {string} name */
function holds(row, name) {
  if (row.kind === "absent") return `${name} is null`;
  if (row.kind === "range") return [...(row.low === null ? [] : [`${name} >= ${row.low}`]), ...(row.high === null ? [] : [`${name} < ${row.high}`])].join(" and ");
  return isPrefix(row) ? `${name} like ${literalOf(`${prefixOf(row).replace(/[\\%_]/g, "\\$&")}%`)}` : `${name} = ${valueOf(row)}`;
}

/** Events without the key are among those that do not meet it. @param {Row} row @param {string} name */
function fails(row, name) {
  if (row.kind === "absent") return `${name} is not null`;
  if (row.kind === "range") return `not (${holds(row, name)})`;
  return isPrefix(row) ? `${name} not like ${literalOf(`${prefixOf(row).replace(/[\\%_]/g, "\\$&")}%`)}` : `${name} <> ${valueOf(row)}`;
}

/** @param {Row} row */
function isPrefix(row) {
  return row.type === "prefix" && String(row.value).endsWith("*");
}

/** @param {Row} row */
function prefixOf(row) {
  return String(row.value).slice(0, -1);
}

/** @param {Row} row */
function valueOf(row) {
  const value = String(row.value);
  const isPlain = ["integer", "double", "decimal", "boolean"].includes(row.type) && /^(?:-?\d+(?:\.\d+)?(?:e[-+]?\d+)?|true|false)$/i.test(value);
  return isPlain ? value : literalOf(value);
}

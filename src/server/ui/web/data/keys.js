// The attribute keys of the database, for completion. Asked once a minute at most; a page without them works.

import { getJson } from "./request.js";

/** @typedef {{key: string, level: string, types: string[]}} Key */

const FRESH_MS = 60_000;
/** @type {Promise<Key[]> | null} */
let keys = null;
let askedAt = 0;

/** @returns {Promise<Key[]>} */
export function allKeys() {
  if (keys === null || performance.now() - askedAt > FRESH_MS) {
    askedAt = performance.now();
    keys = getJson("/v1/attributes").then((body) => body.attributes).catch(() => {
      keys = null;
      return [];
    });
  }
  return keys;
}

/** Columns that every event has. */
export const CORE = [
  "timestamp", "signal", "trace_id", "span_id", "parent_span_id", "name", "kind", "status", "status_message",
  "duration_ns", "severity_number", "severity", "body", "value", "sample_weight",
];

/**
 * Names that begin with `prefix` or contain it, the best first.
 * @param {string[]} names @param {string} prefix @param {number} max
 */
export function matching(names, prefix, max) {
  const wanted = prefix.toLowerCase();
  const begins = [];
  const within = [];
  for (const name of names) {
    const at = name.toLowerCase().indexOf(wanted);
    if (at === 0) begins.push(name);
    else if (at > 0) within.push(name);
    if (begins.length >= max) break;
  }
  return [...begins, ...within].slice(0, max);
}

// The statements that were run in this browser; clearing its storage loses nothing else.

import { h } from "./dom.js";
import { pickButton } from "./pick.js";

const STORED = "broadloom.statements";
const KEPT_MAX = 50;
const BYTES_MAX = 20_000;

/** @returns {string[]} */
function stored() {
  try {
    const all = JSON.parse(localStorage.getItem(STORED) ?? "[]");
    return Array.isArray(all) ? all.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

/** @param {string} sql */
export function remember(sql) {
  if (sql.length > BYTES_MAX) return;
  try {
    localStorage.setItem(STORED, JSON.stringify([sql, ...stored().filter((one) => one !== sql)].slice(0, KEPT_MAX)));
  } catch {
    // The storage is full or forbidden; the statement still stands in the address.
  }
}

/** @param {(sql: string) => void} use */
export function historyButton(use) {
  return pickButton("History", () => stored().map((sql) => ({ text: sql, element: h("code", null, sql.replace(/\s+/g, " ").slice(0, 160)) })), use, "No statement was run in this browser yet.");
}

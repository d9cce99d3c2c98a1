// What can follow in a statement that is being written, by `POST /v1/complete`.

import { request } from "./request.js";

/** @typedef {{text: string, kind: "key" | "column" | "table" | "function" | "keyword" | "value", detail: string, from: number, to: number}} Suggestion places in UTF-16 units */

/** @param {string} sql @param {number} at place in UTF-16 units @param {AbortSignal} [signal] @returns {Promise<Suggestion[]>} */
export async function completions(sql, at, signal) {
  // The server counts characters.
  const body = JSON.stringify({ sql, position: [...sql.slice(0, at)].length });
  const options = { method: "POST", body, headers: { "content-type": "application/json" }, signal };
  const found = await request("/v1/complete", options, (response) => response.json());
  const characters = [...sql];
  const unit = (/** @type {number} */ place) => characters.slice(0, place).join("").length;
  return found.map((/** @type {Suggestion} */ one) => ({ ...one, from: unit(one.from), to: unit(one.to) }));
}

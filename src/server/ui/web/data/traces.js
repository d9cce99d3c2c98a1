// Pages of traces or spans, by `GET /v1/traces`: each begins after the last row of the one before.

import { isoOf } from "../state/time.js";
import { getJson } from "./request.js";
import { keeping } from "./sql.js";

/** @typedef {import("./sql.js").Answer & {next: string | null, remaining: number}} Page `remaining` counts this page and all after it */
/** @typedef {{of: "traces" | "spans", range: import("../state/range.js").Range, where: string, order: string, limit: number, after?: string | null}} Wanted */

/** The address of a page. @param {Wanted} wanted */
export function pathOf({ of, range, where, order, limit, after }) {
  const options = new URLSearchParams({ of, from: isoOf(range.from), to: isoOf(range.to), where, order, limit: String(limit) });
  if (after !== undefined && after !== null) options.set("after", after);
  return `/v1/traces?${options}`;
}

/** @param {string} path @param {{signal?: AbortSignal, fresh?: boolean}} [options] @returns {Promise<Page>} */
export function readPage(path, options = {}) {
  return keeping(path, options.fresh === true, async () => {
    const body = await getJson(path, options.signal);
    const { columns, rows, sql, cost, warnings, next, remaining } = body;
    return { columns, data: rows.data, rows: rows.count, isCut: next !== null, elapsedMs: cost.elapsed_ms, warnings, started: {}, cost, sql, next, remaining };
  });
}

// Asks one statement of `/v1/sql?format=stream`, and keeps the last answers, so that Back needs no request.

import { readLines } from "./lines.js";
import { Problem, request } from "./request.js";

/** @typedef {{name: string, type: string}} Column */
/** @typedef {{segments?: number, rows_read?: number, bytes_read?: number, elapsed_ms: number}} Progress */
/** @typedef {{columns: Column[], data: unknown[][], rows: number, isCut: boolean, elapsedMs: number,
 *   warnings: string[], started: any, cost: any, sql?: string}} Answer `sql` is the statement that a route has made */
/** @typedef {{signal?: AbortSignal, limit?: number, onProgress?: (progress: Progress) => void,
 *   onRows?: (answer: Answer) => void, fresh?: boolean}} Options */

const KEPT_MAX = 30;
const KEPT_ROWS_MAX = 20_000;
/** @type {Map<string, Answer>} */
const kept = new Map();

/**
 * The answer to `sql`; of more than `limit` rows the first ones, and `isCut`.
 * A failure in mid-stream throws a Problem that has the rows so far as `answer`.
 * @param {string} sql
 * @param {Options} [options]
 * @returns {Promise<Answer>}
 */
export async function ask(sql, options = {}) {
  return keeping(`${options.limit ?? ""} ${sql}`, options.fresh === true, () => stream(sql, options));
}

/**
 * The answer that is kept under `key`, or else the one that `make` gives.
 * @template {Answer} T
 * @param {string} key @param {boolean} isFresh asked again in any case @param {() => Promise<T>} make @returns {Promise<T>}
 */
export async function keeping(key, isFresh, make) {
  const known = isFresh ? undefined : kept.get(key);
  if (known !== undefined) return /** @type {T} */ (known);
  const answer = await make();
  if (answer.rows <= KEPT_ROWS_MAX) {
    kept.set(key, answer);
    const oldest = kept.keys().next().value;
    if (kept.size > KEPT_MAX && oldest !== undefined) kept.delete(oldest);
  }
  return answer;
}

/** @param {string} sql @param {Options} options @returns {Promise<Answer>} */
async function stream(sql, options) {
  const limit = options.limit;
  // One more than is shown tells that there are more.
  const path = limit === undefined ? "/v1/sql?format=stream" : `/v1/sql?format=stream&limit=${limit + 1}`;
  const { signal } = options;
  const body = { method: "POST", body: sql, signal, headers: { "content-type": "text/plain; charset=utf-8" } };
  const began = performance.now();
  /** @type {Answer} */
  const answer = { columns: [], data: [], rows: 0, isCut: false, elapsedMs: 0, warnings: [], started: {}, cost: {} };
  let isWhole = false;
  await request(path, body, (response) =>
    readLines(
      response,
      (line) => {
        if (line.problem !== undefined) throw Object.assign(new Problem(line.problem), { answer });
        if (line.progress !== undefined) options.onProgress?.(line.progress);
        if (line.done !== undefined) isWhole = true;
        take(answer, line, limit);
        if (line.rows !== undefined) options.onRows?.(answer);
      },
      signal,
    ),
  );
  if (!isWhole) {
    const detail = "The connection ended before the answer did.";
    throw Object.assign(new Problem({ title: "The answer is not whole", detail }), { answer });
  }
  answer.elapsedMs = answer.cost.elapsed_ms ?? performance.now() - began;
  return answer;
}

/** @param {Answer} answer @param {any} line @param {number | undefined} limit */
function take(answer, line, limit) {
  if (line.started !== undefined) {
    answer.started = line.started;
    answer.warnings = line.started.warnings ?? [];
  } else if (line.columns !== undefined) {
    answer.columns = line.columns;
    answer.data = line.columns.map(() => []);
  } else if (line.rows !== undefined) {
    const left = limit === undefined ? Infinity : limit - answer.rows;
    const count = Math.min(line.rows.count, left);
    if (count < line.rows.count) answer.isCut = true;
    line.rows.data.forEach((/** @type {unknown[]} */ values, /** @type {number} */ i) => {
      const column = answer.data[i];
      for (let row = 0; row < count; row += 1) column.push(values[row]);
    });
    answer.rows += count;
  } else if (line.done !== undefined) {
    answer.cost = line.done.cost ?? {};
  }
}

/** Rows as objects by column name. @param {Answer} answer @returns {Record<string, any>[]} */
export function objects(answer) {
  return Array.from({ length: answer.rows }, (_, row) =>
    Object.fromEntries(answer.columns.map((column, i) => [column.name, answer.data[i][row]])),
  );
}

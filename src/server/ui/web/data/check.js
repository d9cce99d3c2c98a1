// Asks the server whether a statement is right, without running it.

import { isGivenUp, Problem, request } from "./request.js";

/**
 * The columns of a statement, or what is wrong with it. A server that cannot be asked finds nothing wrong: running
 * the statement says more.
 * @param {string} sql
 * @param {AbortSignal} [signal]
 * @returns {Promise<{columns: import("./sql.js").Column[], warnings: string[], problem: Problem | null}>}
 */
export async function check(sql, signal) {
  const headers = { "content-type": "application/json" };
  const options = { method: "POST", body: JSON.stringify({ sql }), headers, signal };
  try {
    const body = await request("/v1/check", options, (response) => response.json());
    const problem = body.problem === undefined ? null : new Problem(body.problem);
    return { columns: body.columns ?? [], warnings: body.warnings ?? [], problem };
  } catch (error) {
    if (isGivenUp(error) || !(error instanceof Problem)) throw error;
    return { columns: [], warnings: [], problem: null };
  }
}

/** @param {string} sql @returns {Promise<Problem | null>} */
export async function getCheck(sql) {
  return (await check(sql)).problem;
}

// Reads a whole trace.

import { readLines } from "../data/lines.js";
import { Problem, request } from "../data/request.js";
import { TraceModel } from "./trace-model.js";

/** @param {string} trace @param {string | null} span whose row is wanted */
export function rowsAddress(trace, span) {
  return `/v1/traces/${encodeURIComponent(trace)}/rows${span === null ? "" : `?span=${encodeURIComponent(span)}`}`;
}

/** @param {string} trace @param {string | null} span @param {AbortSignal} signal @returns {Promise<TraceModel>} */
export async function readTrace(trace, span, signal) {
  /** @type {TraceModel | null} */
  let model = null;
  await request(rowsAddress(trace, span), { signal }, (response) => readLines(response, (line) => {
    if (line.problem !== undefined) throw new Problem(line.problem);
    if (line.trace_id !== undefined) model = new TraceModel(line);
    else if (line.rows !== undefined) model?.add(line.rows);
    else if (line.records !== undefined) model?.addRecords(line.records);
  }, signal));
  if (model === null) throw new Problem({ title: "The answer is not whole", detail: "The connection ended before the trace did." });
  const whole = /** @type {TraceModel} */ (model);
  whole.close(whole.loaded, 0);
  return whole;
}

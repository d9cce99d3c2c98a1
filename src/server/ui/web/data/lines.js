// Reads newline-delimited JSON while it arrives.

import { unreachable } from "./request.js";

/**
 * Calls `take` with each value. A connection that breaks is a Problem.
 * @param {Response} response
 * @param {(value: any) => void} take
 * @param {AbortSignal} [signal]
 */
export async function readLines(response, take, signal) {
  if (response.body === null) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await read(reader, signal);
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") take(JSON.parse(line));
  }
  if (rest.trim() !== "") take(JSON.parse(rest));
}

/** @param {ReadableStreamDefaultReader<string>} reader @param {AbortSignal} [signal] */
async function read(reader, signal) {
  try {
    return await reader.read();
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw unreachable();
  }
}

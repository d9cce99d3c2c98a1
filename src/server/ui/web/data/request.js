// Requests to the server: at most four at once, each can be given up, and a failure is a Problem with words.

const AT_ONCE_MAX = 4;

/** What went wrong, as the server said it, or that it could not be reached. */
export class Problem extends Error {
  /** @param {{title?: string, detail?: string, status?: number, line?: number, column?: number, type?: string}} body
   *  @param {number} [retryAfterSeconds] */
  constructor(body, retryAfterSeconds) {
    super(body.detail ?? body.title ?? "The request failed");
    this.title = body.title ?? "The request failed";
    this.detail = body.detail ?? "";
    this.status = body.status ?? 0;
    this.line = body.line;
    this.column = body.column;
    this.kind = (body.type ?? "").split(":").pop() ?? "";
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Is the server out of reach? */
  get isGone() {
    return this.kind === "unreachable";
  }
}

let running = 0;
/** @type {(() => void)[]} */
const waiting = [];

/** @param {AbortSignal} [signal] */
async function turn(signal) {
  if (running >= AT_ONCE_MAX) {
    await new Promise((resolve, reject) => {
      const begin = () => resolve(undefined);
      waiting.push(begin);
      signal?.addEventListener("abort", () => {
        const at = waiting.indexOf(begin);
        if (at >= 0) waiting.splice(at, 1);
        reject(signal.reason);
      });
    });
  }
  running += 1;
  return () => {
    running -= 1;
    waiting.shift()?.();
  };
}

/** @type {Set<(isReachable: boolean) => void>} */
const watchers = new Set();

/** Calls `watcher` whenever a request shows that the server is, or is not, reachable. @param {(is: boolean) => void} watcher */
export function watchReachable(watcher) {
  watchers.add(watcher);
}

/** @type {(() => Promise<void>) | null} */
let identify = null;

/** Has requests that need a key wait for `ask`, and sends them again. @param {() => Promise<void>} ask */
export function identifyBy(ask) {
  identify = ask;
}

/**
 * Asks, and hands the answer to `read` while it holds one of the four places.
 * @template T
 * @param {string} path
 * @param {RequestInit} options
 * @param {(response: Response) => Promise<T>} read
 * @returns {Promise<T>}
 */
export async function request(path, options, read) {
  const signal = options.signal ?? undefined;
  const done = await turn(signal);
  try {
    signal?.throwIfAborted();
    let response = await reach(path, options);
    if (response.status === 401 && identify !== null) {
      await identify();
      response = await reach(path, options);
    }
    if (!response.ok) throw await problemOf(response);
    return await read(response);
  } finally {
    done();
  }
}

/** @param {string} path @param {RequestInit} options */
async function reach(path, options) {
  try {
    const response = await fetch(path, { ...options, credentials: "same-origin" });
    for (const watcher of watchers) watcher(true);
    return response;
  } catch (error) {
    if (options.signal?.aborted) throw error;
    for (const watcher of watchers) watcher(false);
    throw unreachable();
  }
}

/** What went wrong, in words; what is no Problem is a defect of the page. @param {unknown} error */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem({ title: "A defect of this page", detail: String(error) });
}

export function unreachable() {
  return new Problem({
    type: "urn:broadloom:problem:unreachable",
    title: "The server cannot be reached",
    detail: "It may be stopped or starting. The request stays as it is and can be sent again.",
  });
}

/** @param {Response} response */
async function problemOf(response) {
  const retry = Number(response.headers.get("retry-after")) || undefined;
  const text = await response.text();
  try {
    return new Problem(JSON.parse(text), retry);
  } catch {
    return new Problem({ title: `The server answered ${response.status}`, detail: text.slice(0, 500), status: response.status }, retry);
  }
}

/** @param {string} path @param {AbortSignal} [signal] */
export function getJson(path, signal) {
  return request(path, { signal, headers: { accept: "application/json" } }, (response) => response.json());
}

/** Was the request given up by the page itself? @param {unknown} error */
export function isGivenUp(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

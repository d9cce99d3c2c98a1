// Figures of two periods: what changed, and is it bad? Rules of thumb for a page, with room for chance; no test of
// significance.

/** @typedef {{calls: number, errors: number, p50_ns: number | null, p99_ns: number | null}} Figures */

// Fewer calls say nothing about a percentile.
const CALLS_MIN = 30;
const ERRORS_MIN = 5;
const ERROR_SHARE_MIN = 0.01;
const WORSE = 2;
const NAMED = 1.5;

/** @template T @param {T[]} rows @param {(row: T) => string} key @returns {Map<string, T[]>} */
export function group(rows, key) {
  /** @type {Map<string, T[]>} */
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    const own = groups.get(name);
    if (own === undefined) groups.set(name, [row]);
    else own.push(row);
  }
  return groups;
}

/** The two periods of rows with `is_now`, and what changed. @param {any[]} rows */
export function compare(rows) {
  /** @type {Figures | null} */
  const now = rows.find((row) => row.is_now === true) ?? null;
  /** @type {Figures | null} */
  const before = rows.find((row) => row.is_now === false) ?? null;
  return { now, before, change: verdict(now, before) };
}

/**
 * @param {Figures | null} now @param {Figures | null} before
 * @returns {{words: string, isBad: boolean, size: number}}
 */
export function verdict(now, before) {
  const none = { words: "", isBad: false, size: 0 };
  if (now === null || before === null) return none;
  const errors = { now: now.errors / now.calls, before: before.errors / before.calls };
  const isFailing = now.errors >= ERRORS_MIN && errors.now >= ERROR_SHARE_MIN && errors.now >= WORSE * errors.before;
  const isEnough = now.calls >= CALLS_MIN && before.calls >= CALLS_MIN;
  const slower = isEnough && now.p99_ns && before.p99_ns ? now.p99_ns / before.p99_ns : 1;
  if (isFailing && (errors.before === 0 || errors.now / errors.before > slower)) {
    const times = errors.before === 0 ? 100 : errors.now / errors.before;
    return { words: errors.before === 0 ? "errors, none before" : `errors ×${times3(times)}`, isBad: true, size: times };
  }
  if (slower >= NAMED) return { words: `p99 ×${times3(slower)}`, isBad: slower >= WORSE, size: slower };
  const calls = now.calls / before.calls;
  if (isEnough && slower <= 1 / NAMED) return { words: `p99 ÷${times3(1 / slower)}`, isBad: false, size: 0.5 };
  if (isEnough && (calls >= WORSE || calls <= 1 / WORSE)) {
    return { words: calls >= 1 ? `calls ×${times3(calls)}` : `calls ÷${times3(1 / calls)}`, isBad: false, size: 0.75 };
  }
  return none;
}

/** @param {number} value */
function times3(value) {
  return value >= 10 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, "");
}

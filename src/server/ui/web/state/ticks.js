// Where an axis has marks, and what is written at them.

import { stepOf } from "./range.js";
import { clockOf, dateOf, parseLocal } from "./time.js";
import { wordsOf } from "./figures.js";

/** @typedef {{at: bigint, words: string}} TimeTick */
/** @typedef {{at: number, words: string}} ValueTick */

/**
 * Full steps of the clock that is shown, and not of UTC.
 * @param {bigint} from @param {bigint} to @param {number} max about as many @returns {TimeTick[]}
 */
export function timeTicks(from, to, max) {
  const step = stepOf({ from, to, words: "" }, Math.max(2, max));
  const isDays = step >= 86_400_000_000_000n;
  const first = parseLocal(isDays ? dateOf(from) : `${dateOf(from)} 00:00`) ?? from;
  const ticks = [];
  for (let at = from > first ? first + ((from - first + step - 1n) / step) * step : first; at < to; at += step) {
    ticks.push({ at, words: isDays ? dateOf(at).slice(5) : clockOf(at, step < 60_000_000_000n ? 0 : -1) });
  }
  return ticks;
}

/** Lengths of time that people name, in nanoseconds. */
const LENGTHS = [1, 60, 600, 3600, 6 * 3600, 86_400, 10 * 86_400, 100 * 86_400].map((seconds) => seconds * 1e9);
/** @type {Partial<Record<import("./figures.js").Unit, number>>} */
const NS = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/**
 * Marks of a logarithmic axis: powers of ten, and 2 and 5 between them where there is room; above a second the lengths
 * of time that people name.
 * @param {number} low @param {number} high both above 0 @param {import("./figures.js").Unit} unit @param {number} max @returns {ValueTick[]}
 */
export function logTicks(low, high, unit, max) {
  const ns = NS[unit];
  const decades = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) decades.push(10 ** power);
  const fine = decades.flatMap((one) => [one, 2 * one, 5 * one]);
  const tens = ns === undefined ? decades : [...decades.filter((one) => one * ns < 6e10), ...LENGTHS.filter((one) => one >= 6e10).map((one) => one / ns)];
  const within = (/** @type {number[]} */ all) => all.filter((one) => one >= low * 0.999 && one <= high * 1.001);
  let chosen = within(tens);
  if (chosen.length < 2 || within(fine).length <= max) chosen = ns === undefined || high * ns <= 6e10 ? within(fine) : chosen;
  while (chosen.length > max) chosen = chosen.filter((_, i) => i % 2 === 0);
  return chosen.map((at) => ({ at, words: wordsOf(at, unit) }));
}

/**
 * Marks of a linear axis, at 1, 2 or 5 times a power of ten.
 * @param {number} low @param {number} high @param {import("./figures.js").Unit} unit @param {number} max @returns {ValueTick[]}
 */
export function linearTicks(low, high, unit, max) {
  const step = niceStep((high - low) / Math.max(1, max));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9) + 0; i * step <= high * (1 + 1e-9); i += 1) ticks.push({ at: i * step, words: wordsOf(Number((i * step).toPrecision(12)), unit) });
  return ticks;
}

/** The least of 1, 2, 5 times a power of ten that is not less. @param {number} wanted */
export function niceStep(wanted) {
  if (!(wanted > 0) || !Number.isFinite(wanted)) return 1;
  const power = 10 ** Math.floor(Math.log10(wanted));
  return (/** @type {number} */ ([1, 2, 5, 10].find((times) => times * power >= wanted * (1 - 1e-9))) ?? 10) * power;
}

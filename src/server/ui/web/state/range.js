// The time range of a page: how it stands in the address, and which instants it means.
//
// `t=1h` counts back from `at`; without `at` from now. `t=2026-11-29T14:00:00Z..2026-11-29T15:00:00Z` is absolute.

import { clockOf, dateOf, isoOf, now, parseInstant, zoneName } from "./time.js";

/** @typedef {import("./time.js").Instant} Instant */
/** @typedef {{from: Instant, to: Instant, words: string}} Range */

/** @type {Record<string, bigint>} */
const UNITS = { s: 1_000_000_000n, m: 60_000_000_000n, h: 3_600_000_000_000n, d: 86_400_000_000_000n };

export const USUAL = "1h";
export const CHOICES = ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "1d", "2d", "7d", "30d"];

/** Nanoseconds of `15m`, `2d`; null for other text. @param {string} text @returns {bigint | null} */
export function parseSpan(text) {
  const found = /^(\d{1,6})([smhd])$/.exec(text);
  const span = found === null ? 0n : BigInt(found[1]) * UNITS[found[2]];
  return span > 0n ? span : null;
}

/** The shortest text of a span of time that `parseSpan` reads back. @param {bigint} ns */
export function spanText(ns) {
  for (const unit of ["d", "h", "m"]) {
    if (ns >= UNITS[unit] && ns % UNITS[unit] === 0n) return `${ns / UNITS[unit]}${unit}`;
  }
  return `${ns / UNITS.s > 0n ? ns / UNITS.s : 1n}s`;
}

/** @param {bigint} ns */
export function spanWords(ns) {
  const words = { d: "day", h: "hour", m: "minute", s: "second" };
  const found = /^(\d+)(.)$/.exec(spanText(ns));
  if (found === null) return spanText(ns);
  const name = words[/** @type {"s"} */ (found[2])];
  return found[1] === "1" ? `1 ${name}` : `${found[1]} ${name}s`;
}

/**
 * The range that an address means; null when its parameters are wrong.
 * @param {URLSearchParams} params
 * @returns {Range | null}
 */
export function rangeOf(params) {
  const t = params.get("t") ?? USUAL;
  const edges = t.split("..");
  if (edges.length === 2) {
    const [from, to] = [parseInstant(edges[0]), parseInstant(edges[1])];
    return from !== null && to !== null && from < to ? { from, to, words: daysOf(from, to) } : null;
  }
  const span = parseSpan(t);
  const at = params.get("at");
  const to = at === null ? now() : parseInstant(at);
  if (span === null || to === null) return null;
  return { from: to - span, to, words: `Last ${spanWords(span)}` };
}

/** The day of a range, or its first and last. @param {Instant} from @param {Instant} to */
function daysOf(from, to) {
  return dateOf(from) === dateOf(to) ? dateOf(from) : `${dateOf(from)} – ${dateOf(to)}`;
}

/** Times of day of both ends, with seconds where there are some, and the zone. @param {Range} range */
export function edgesOf({ from, to }) {
  const digits = from % UNITS.m === 0n && to % UNITS.m === 0n ? -1 : 0;
  return `${clockOf(from, digits)} – ${clockOf(to, digits)} ${zoneName(to)}`;
}

/** @param {Instant} from @param {Instant} to */
export function absolute(from, to) {
  return { t: `${isoOf(from)}..${isoOf(to)}`, at: null };
}

/** Parameters of the same range, one length earlier (-1) or later (1). @param {Range} range @param {number} by */
export function shifted(range, by) {
  const step = (range.to - range.from) * BigInt(by);
  return absolute(range.from + step, range.to + step);
}

/** Parameters of twice the range (2) or half of it (0.5), around its middle. @param {Range} range @param {2 | 0.5} by */
export function scaled(range, by) {
  const length = range.to - range.from;
  const grow = by === 2 ? length / 2n : -length / 4n;
  return absolute(range.from - grow, range.to + grow);
}

/** A step that divides a range into about `count` buckets, as people like it. @param {Range} range @param {number} count */
export function stepOf(range, count) {
  const wanted = (range.to - range.from) / BigInt(count);
  const s = UNITS.s;
  const steps = [1n, 2n, 5n, 10n, 15n, 30n, 60n, 120n, 300n, 600n, 900n, 1800n, 3600n, 7200n, 10800n, 21600n, 43200n];
  for (const step of steps) if (step * s >= wanted) return step * s;
  const days = (wanted + UNITS.d - 1n) / UNITS.d;
  return days * UNITS.d;
}

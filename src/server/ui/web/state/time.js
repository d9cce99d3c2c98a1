// Instants: nanoseconds since 1970 as BigInt, and how they are read and written. Nothing else formats times.

/** @typedef {bigint} Instant */

const MS = 1_000_000n;
const FORM = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?(Z|[+-]\d{2}:?\d{2})?$/i;

/**
 * The instant that RFC 3339 text names; seconds, time of day and zone (then UTC) may be left out.
 * @param {string} text
 * @returns {Instant | null}
 */
export function parseInstant(text) {
  const found = FORM.exec(text.trim());
  if (found === null) return null;
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = found;
  const ms = Date.UTC(+year, +month - 1, +day, +hour, +minute, +second);
  const back = new Date(ms);
  if (back.getUTCMonth() !== +month - 1 || back.getUTCDate() !== +day || +hour > 23 || +minute > 59) return null;
  return BigInt(ms - offsetMs(zone)) * MS + BigInt(fraction.padEnd(9, "0"));
}

/** @param {string} zone */
function offsetMs(zone) {
  if (zone.toUpperCase() === "Z") return 0;
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
  return (zone.startsWith("-") ? -minutes : minutes) * 60_000;
}

/**
 * RFC 3339 in UTC, with as many digits as there are.
 * @param {Instant} ns
 */
export function isoOf(ns) {
  const { ms, rest } = split(ns);
  const whole = new Date(ms).toISOString().slice(0, 19);
  const digits = (BigInt(ms) - BigInt(Math.floor(ms / 1000)) * 1000n) * MS + rest;
  const fraction = digits.toString().padStart(9, "0").replace(/0+$/, "");
  return fraction === "" ? `${whole}Z` : `${whole}.${fraction}Z`;
}

/** @param {Instant} ns @returns {{ms: number, rest: bigint}} */
function split(ns) {
  let ms = ns / MS;
  let rest = ns % MS;
  if (rest < 0n) {
    rest += MS;
    ms -= 1n;
  }
  return { ms: Number(ms), rest };
}

/** @returns {Instant} */
export function now() {
  return BigInt(Date.now()) * MS;
}

const STORED = "broadloom.zone";

/** The zone that times are shown in: an IANA name. */
export function zone() {
  const stored = localStorage.getItem(STORED);
  return stored === null || stored === "local" ? localZone() : stored;
}

export function localZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** @param {string} name "local", "UTC" or an IANA name */
export function chooseZone(name) {
  localStorage.setItem(STORED, name);
  formats.clear();
}

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string} key @param {Intl.DateTimeFormatOptions} options @param {string} timeZone */
function format(key, options, timeZone) {
  const name = `${key} ${timeZone}`;
  let known = formats.get(name);
  if (known === undefined) {
    known = new Intl.DateTimeFormat("en-GB", { ...options, timeZone, hourCycle: "h23" });
    formats.set(name, known);
  }
  return known;
}

const DATE = /** @type {const} */ ({ year: "numeric", month: "2-digit", day: "2-digit" });
const CLOCK = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** @param {Instant} ns @param {string} [timeZone] */
export function dateOf(ns, timeZone = zone()) {
  const parts = format("date", DATE, timeZone).formatToParts(split(ns).ms);
  const of = (/** @type {string} */ type) => parts.find((part) => part.type === type)?.value ?? "";
  return `${of("year")}-${of("month")}-${of("day")}`;
}

/**
 * Time of day.
 * @param {Instant} ns
 * @param {number} [digits] of the fraction: 0, 3, 6 or 9; -1 leaves out the seconds
 * @param {string} [timeZone]
 */
export function clockOf(ns, digits = 3, timeZone = zone()) {
  const { ms, rest } = split(ns);
  const clock = format("clock", CLOCK, timeZone).format(ms);
  if (digits < 0) return clock.slice(0, 5);
  if (digits === 0) return clock;
  const fraction = String(((ms % 1000) + 1000) % 1000).padStart(3, "0") + rest.toString().padStart(6, "0");
  return `${clock}.${fraction.slice(0, digits)}`;
}

/** Short name of the zone at an instant: "CET", "GMT+5:30", "UTC". @param {Instant} ns @param {string} [timeZone] */
export function zoneName(ns, timeZone = zone()) {
  if (timeZone === "UTC") return "UTC";
  const parts = format("name", { timeZoneName: "short" }, timeZone).formatToParts(split(ns).ms);
  return parts.find((part) => part.type === "timeZoneName")?.value ?? timeZone;
}

/** Date, time to the nanosecond, and zone; in UTC too where that differs. @param {Instant} ns @returns {string[]} */
export function bothZones(ns) {
  const here = `${dateOf(ns)} ${clockOf(ns, 9)} ${zoneName(ns)}`;
  return zoneName(ns) === "UTC" ? [here] : [here, isoOf(ns)];
}

/** The same in one line. @param {Instant} ns */
export function inFull(ns) {
  const [here, utc] = bothZones(ns);
  return utc === undefined ? here : `${here} (${utc})`;
}

/** The instant at which a clock in `timeZone` shows `text`: `2026-11-29 14:00` or with seconds. @param {string} text */
export function parseLocal(text, timeZone = zone()) {
  const trimmed = text.trim();
  if (/Z$|[+-]\d{2}:?\d{2}$/i.test(trimmed) && /[T ]\d/.test(trimmed)) return parseInstant(trimmed);
  const naive = parseInstant(trimmed);
  if (naive === null) return null;
  // Two steps, since the offset is that of the instant looked for and not of its guess.
  let guess = naive;
  for (let step = 0; step < 2; step += 1) {
    const shown = parseInstant(`${dateOf(guess, timeZone)} ${clockOf(guess, 9, timeZone)}`);
    if (shown === null) return null;
    guess += naive - shown;
  }
  return guess;
}

// Numbers for people: durations, counts, shares, rates, bytes.

/** Three significant digits. @param {number} value */
function three(value) {
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value))) + 1;
  const digits = Math.max(0, Math.min(2, 3 - size));
  return value.toFixed(digits).replace(/\.0+$|(\.\d*[1-9])0+$/, "$1");
}

/** @param {number | null | undefined} ns @returns {string} */
export function duration(ns) {
  if (ns === null || ns === undefined || !Number.isFinite(ns)) return "–";
  if (ns < 0) return `−${duration(-ns)}`;
  if (ns < 1e3) return `${Math.round(ns)} ns`;
  if (ns < 999_500) return `${three(ns / 1e3)} µs`;
  if (ns < 999_500_000) return `${three(ns / 1e6)} ms`;
  if (ns < 59_950_000_000) return `${three(ns / 1e9)} s`;
  const seconds = Math.round(ns / 1e9);
  if (seconds < 3600) return two(seconds, 60, "min", 1, "s");
  return seconds < 86_400 ? two(seconds, 3600, "h", 60, "min") : two(seconds, 86_400, "d", 3600, "h");
}

/** `1 h 5 min`, or `1 h` where the second is 0. @param {number} seconds @param {number} large @param {string} name @param {number} small @param {string} smallName */
function two(seconds, large, name, small, smallName) {
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${name}${rest === 0 ? "" : ` ${rest} ${smallName}`}`;
}

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** @param {number} value */
export function count(value) {
  return WHOLE.format(value);
}

/** Any number: whole from a thousand on, else four significant digits. @param {number} value */
export function number(value) {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.abs(value) < 1e15 ? count(value) : value.toExponential(3);
  return Math.abs(value) < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(4)));
}

/** 1,234 as it is; 12.3 k, 4.5 M beyond. @param {number} value */
export function short(value) {
  if (Math.abs(value) < 10_000) return Number.isInteger(value) ? count(value) : three(value);
  if (Math.abs(value) < 999_500) return `${three(value / 1e3)} k`;
  if (Math.abs(value) < 999_500_000) return `${three(value / 1e6)} M`;
  return `${three(value / 1e9)} G`;
}

/** A share of one as per cent. @param {number | null} share */
export function percent(share) {
  if (share === null || !Number.isFinite(share)) return "–";
  if (share === 0) return "0 %";
  if (share < 0.001) return "< 0.1 %";
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return `${share < 0.1 ? (share * 100).toFixed(1).replace(/\.0$/, "") : Math.round(share * 100)} %`;
}

/** Events a second. @param {number} value */
export function rate(value) {
  if (value === 0) return "0";
  return value < 0.01 ? "< 0.01" : value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : short(Math.round(value));
}

/** @param {number} value */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [size, unit] = [value, 0];
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size : three(size)} ${units[unit]}`;
}

/** "1 span", "1,204 spans". @param {number} n @param {string} one @param {string} [many] */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

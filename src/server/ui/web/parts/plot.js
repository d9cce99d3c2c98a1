// What charts over time have in common, so that they stand exactly below each other: margins, the axis of time, the
// marks of values, the cursor.

import { timeTicks } from "../state/ticks.js";
import { zoneName } from "../state/time.js";
import { svg } from "./dom.js";

export const LEFT = 66;
export const RIGHT = 12;
export const AXIS = 20;
const TICK_PX = 96;
// Room of the zone's name at the end of the axis.
const ZONE_PX = 62;

/** @typedef {{from: bigint, to: bigint}} Times */

/** Pixels from the left edge of a chart. @param {bigint} at @param {Times} range @param {number} width of the chart */
export function xOf(at, range, width) {
  return LEFT + (Number(at - range.from) / Number(range.to - range.from)) * (width - LEFT - RIGHT);
}

/** The instant at `x`, within the range. @param {number} x @param {Times} range @param {number} width */
export function timeAt(x, range, width) {
  const share = Math.max(0, Math.min(1, (x - LEFT) / Math.max(1, width - LEFT - RIGHT)));
  return range.from + BigInt(Math.round(share * Number(range.to - range.from)));
}

/** The axis of time with its zone, below `y`. @param {Times} range @param {number} width @param {number} y */
export function timeAxis(range, width, y) {
  const end = width - RIGHT;
  const marks = [svg("line", { class: "axis", x1: LEFT, x2: end, y1: y + 0.5, y2: y + 0.5 })];
  for (const { at, words } of timeTicks(range.from, range.to, Math.min(12, Math.floor((end - LEFT) / TICK_PX)))) {
    const x = xOf(at, range, width);
    marks.push(svg("line", { class: "axis", x1: x, x2: x, y1: y, y2: y + 4 }));
    if (x <= end - ZONE_PX - 40) marks.push(svg("text", { class: "tick", x: x + 3, y: y + 15 }, words));
  }
  marks.push(svg("text", { class: "tick", x: end, y: y + 15, "text-anchor": "end" }, zoneName(range.to)));
  return marks;
}

/** Marks of values at the left edge. @param {{y: number, words: string}[]} ticks */
export function valueMarks(ticks) {
  return ticks.map(({ y, words }) => svg("text", { class: "tick", x: LEFT - 8, y: y + 4, "text-anchor": "end" }, words));
}

/** The lines that go with them, to stand behind the data. @param {{y: number}[]} ticks @param {number} width */
export function gridLines(ticks, width) {
  return ticks.map(({ y }) => svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
}

/** The line that all charts of a page show at the same instant. */
export function cursorLine() {
  const line = svg("line", { class: "cursor", visibility: "hidden" });
  return {
    line,
    /** @param {number | null} x @param {number} top @param {number} bottom */
    put(x, top, bottom) {
      line.setAttribute("visibility", x === null ? "hidden" : "visible");
      for (const [name, value] of Object.entries({ x1: x ?? 0, x2: x ?? 0, y1: top, y2: bottom })) line.setAttribute(name, String(value));
    },
  };
}

/** Tells several charts where the pointer of one of them is. */
export function sharedCursor() {
  /** @type {Set<(at: bigint | null) => void>} */
  const followers = new Set();
  return {
    /** @param {(at: bigint | null) => void} follow */
    follow: (follow) => void followers.add(follow),
    /** @param {bigint | null} at */
    put: (at) => followers.forEach((follow) => follow(at)),
  };
}

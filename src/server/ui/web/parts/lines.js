// A figure over time, a line for each group. It has the margins and the axis of the heat map, and shows the same
// cursor. Groups differ by colour and by dashes.

import { wordsOf } from "../state/figures.js";
import { linearTicks } from "../state/ticks.js";
import { clockOf, dateOf, zoneName } from "../state/time.js";
import { fill, h, svg } from "./dom.js";
import { AXIS, LEFT, RIGHT, cursorLine, gridLines, timeAt, timeAxis, valueMarks, xOf } from "./plot.js";

const [TOP, ROOM, MARGIN] = [8, 104, 6];
const TIP_PX = 250;

/** @typedef {{name: string, place: number | null, values: (number | null)[]}} Series `place` counts from 1; null is all others */
/** @typedef {{range: import("./plot.js").Times, step: bigint, unit: import("../state/figures.js").Unit, series: Series[], hasAxis: boolean}} Data */

/** A line's class: colour and dashes. @param {number | null} place */
export function lineClass(place) {
  return place === null ? "line-others" : `line-${place}`;
}

/** A short piece of a line, for legends and tables. @param {number | null} place */
export function lineSample(place) {
  return svg("svg", { class: "line-sample", width: 18, height: 10, "aria-hidden": "true" }, svg("path", { class: `line ${lineClass(place)}`, d: "M0 5H18" }));
}

/** @param {{title: string, hover: (at: bigint | null) => void, choose: (times: import("./plot.js").Times) => void}} options */
export function lineChart(options) {
  const picture = /** @type {SVGSVGElement} */ (svg("svg", { role: "img", "aria-label": `${options.title} over time` }));
  const tip = h("div.tip");
  tip.hidden = true;
  const box = h("div.line-box", null, picture, tip);
  const element = h("section.line-chart", null, h("h3", null, options.title), box);
  const cursor = cursorLine();
  const chosen = svg("rect", { class: "line-selection", visibility: "hidden" });
  /** @type {Data | null} */
  let data = null;
  /** @type {import("./plot.js").Times | null} */
  let times = null;
  /** The point at which a drag began. @type {number | null} */
  let begun = null;

  const width = () => Math.max(200, box.clientWidth);
  const bottom = TOP + ROOM;

  const draw = () => {
    if (data === null) return;
    const { range, series, unit, step } = data;
    picture.setAttribute("width", String(width()));
    picture.setAttribute("height", String(bottom + (data.hasAxis ? AXIS : MARGIN)));
    const [low, high] = ends(series);
    const y = (/** @type {number} */ value) => bottom - ((value - low) / (high - low)) * ROOM;
    const ticks = linearTicks(low, high, unit, 3).filter(({ at }) => at >= low && at <= high).map(({ at, words }) => ({ y: y(at), words }));
    const x = (/** @type {number} */ i) => Math.min(width() - RIGHT, xOf(range.from + step * BigInt(i) + step / 2n, range, width()));
    // The greatest last, so that the first group lies on top.
    const paths = [...series].reverse().map(({ place, values }) => svg("path", { class: `line ${lineClass(place)}`, d: pathOf(values, x, y) }));
    const axis = data.hasAxis ? timeAxis(range, width(), bottom) : [svg("line", { class: "axis", x1: LEFT, x2: width() - RIGHT, y1: bottom + 0.5, y2: bottom + 0.5 })];
    picture.replaceChildren(...gridLines(ticks, width()), ...valueMarks(ticks), ...axis, chosen, ...paths, cursor.line);
    drawTimes(times);
  };

  /** @param {import("./plot.js").Times | null} some */
  const drawTimes = (some) => {
    chosen.setAttribute("visibility", some === null || data === null ? "hidden" : "visible");
    if (some === null || data === null) return;
    const { range } = data;
    const [left, right] = [some.from, some.to].map((at) => Math.max(LEFT, Math.min(width() - RIGHT, xOf(at, range, width()))));
    for (const [name, value] of Object.entries({ x: left, width: Math.max(1, right - left), y: TOP, height: ROOM })) chosen.setAttribute(name, String(value));
  };

  /** @param {number} a @param {number} b points */
  const between = (a, b) => {
    const { range, step } = /** @type {Data} */ (data);
    const to = range.from + step * BigInt(Math.max(a, b) + 1);
    return { from: range.from + step * BigInt(Math.min(a, b)), to: to < range.to ? to : range.to };
  };

  /** @param {number} i @param {number} px */
  const showTip = (i, px) => {
    if (data === null) return;
    const { range, step, unit } = data;
    const from = range.from + step * BigInt(i);
    const lines = data.series.filter(({ values }) => values[i] !== null && values[i] !== undefined);
    fill(tip,
      h("div.tip-title", null, `${dateOf(from)} ${clockOf(from, 0)} – ${clockOf(from + step < range.to ? from + step : range.to, 0)} ${zoneName(from)}`),
      ...lines.map(({ name, place, values }) => h("div.tip-line", null, lineSample(place), h("span.tip-name", null, name), h("b", null, wordsOf(values[i], unit)))),
      ...(lines.length === 0 ? [h("div", null, "nothing")] : []));
    tip.hidden = false;
    tip.style.left = `${Math.max(0, px + 18 + TIP_PX > width() ? px - TIP_PX - 18 : px + 18)}px`;
  };

  /** @param {PointerEvent} event */
  const place = (event) => {
    const { range, step } = /** @type {Data} */ (data);
    const x = event.clientX - picture.getBoundingClientRect().left;
    const at = timeAt(x, range, width());
    return { x, at, point: Math.max(0, Math.min(count({ range, step }) - 1, Number((at - range.from) / step))) };
  };

  box.addEventListener("pointerdown", (event) => {
    if (data === null || event.button !== 0) return;
    begun = place(event).point;
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    if (data === null) return;
    const now = place(event);
    showTip(now.point, now.x);
    options.hover(now.at);
    if (begun !== null && begun !== now.point) drawTimes(between(begun, now.point));
  });
  box.addEventListener("pointerup", (event) => {
    if (data === null || begun === null) return;
    const [from, to] = [begun, place(event).point];
    begun = null;
    if (from !== to) options.choose(between(from, to));
  });
  box.addEventListener("pointercancel", () => {
    begun = null;
    drawTimes(times);
  });
  box.addEventListener("pointerleave", () => {
    tip.hidden = true;
    options.hover(null);
  });
  const sizes = new ResizeObserver(draw);
  sizes.observe(box);
  return {
    element,
    /** @param {Data} next */
    show(next) {
      data = next;
      draw();
    },
    /** The time that is selected. @param {import("./plot.js").Times | null} some */
    select(some) {
      times = some;
      drawTimes(some);
    },
    /** @param {bigint | null} at */
    cursor(at) {
      cursor.put(at === null || data === null ? null : xOf(at, data.range, width()), TOP, bottom);
    },
    close: () => sizes.disconnect(),
  };
}

/** Points of a range. @param {{range: import("./plot.js").Times, step: bigint}} data */
export function count({ range, step }) {
  return Math.max(1, Number((range.to - range.from + step - 1n) / step));
}

/** From 0, or below where there is less, to the greatest value. @param {Series[]} series @returns {[number, number]} */
function ends(series) {
  let [low, high] = [0, 0];
  for (const { values } of series) {
    for (const value of values) {
      if (value === null) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return high > low ? [low, high] : [low, low + 1];
}

/** A line with gaps where there is nothing; a point alone is a short dash. @param {(number | null)[]} values @param {(i: number) => number} x @param {(value: number) => number} y */
function pathOf(values, x, y) {
  /** @type {string[]} */
  const parts = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const place = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    const [before, after] = [values[i - 1] ?? null, values[i + 1] ?? null];
    parts.push(before === null ? `M${place}` : `L${place}`);
    if (before === null && after === null) parts.push("h2.5");
  });
  return parts.join("");
}

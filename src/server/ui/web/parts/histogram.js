// Counts over time as stacked bars. A drag over it, or Shift with arrows, chooses a range. Its table twin says the
// same in numbers.

import { stepOf } from "../state/range.js";
import { clockOf, dateOf, parseLocal, zoneName } from "../state/time.js";
import { short } from "../state/units.js";
import { fill, h, svg } from "./dom.js";

const HEIGHT = 88;
const [TOP, BOTTOM, LEFT] = [6, 18, 44];
// Room of the zone's name at the end of the axis.
const ZONE_PX = 84;

/** @typedef {{name: string, counts: number[], kind: string}} Series */
/** @typedef {{from: bigint, step: bigint, buckets: number, series: Series[], to: bigint}} Data */

/** @param {{choose: (from: bigint, to: bigint) => void, label: string}} options */
export function histogram(options) {
  const picture = /** @type {SVGSVGElement} */ (svg("svg", { height: HEIGHT, role: "img", "aria-label": options.label }));
  const tip = h("div.tip");
  tip.hidden = true;
  const element = h("div.histogram", null, picture, tip);
  /** @type {Data | null} */
  let data = null;
  /** @type {number | null} */
  let begun = null;
  const selection = svg("rect", { class: "selection", y: TOP, height: HEIGHT - TOP - BOTTOM, width: 0 });

  const width = () => Math.max(120, element.clientWidth);
  const plot = () => width() - LEFT - 8;
  const bucketAt = (/** @type {PointerEvent} */ event) => {
    const x = event.clientX - picture.getBoundingClientRect().left - LEFT;
    return Math.max(0, Math.min((data?.buckets ?? 1) - 1, Math.floor((x / plot()) * (data?.buckets ?? 1))));
  };

  const draw = () => {
    if (data === null) return;
    picture.setAttribute("width", String(width()));
    const totals = Array.from({ length: data.buckets }, (_, i) => sum(/** @type {Data} */ (data).series, i));
    const max = Math.max(1, ...totals);
    picture.replaceChildren(...axis(data, max, plot()), ...bars(data, max, plot()), selection);
  };

  element.addEventListener("pointerdown", (event) => {
    if (data === null || event.button !== 0) return;
    begun = bucketAt(event);
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (data === null) return;
    const bucket = bucketAt(event);
    const step = plot() / data.buckets;
    const [low, high] = begun === null ? [bucket, bucket] : [Math.min(begun, bucket), Math.max(begun, bucket)];
    selection.setAttribute("x", String(LEFT + low * step));
    selection.setAttribute("width", String((high - low + 1) * step));
    tip.hidden = false;
    fill(tip, ...tipWords(data, low, high));
    const x = LEFT + low * step;
    tip.style.left = `${Math.min(x, Math.max(0, width() - 230))}px`;
  });
  element.addEventListener("pointerleave", () => {
    tip.hidden = true;
    if (begun === null) selection.setAttribute("width", "0");
  });
  element.addEventListener("pointerup", (event) => {
    if (data === null || begun === null) return;
    const [low, high] = [Math.min(begun, bucketAt(event)), Math.max(begun, bucketAt(event))];
    begun = null;
    selection.setAttribute("width", "0");
    if (low !== high) options.choose(data.from + data.step * BigInt(low), data.from + data.step * BigInt(high + 1));
  });
  element.addEventListener("pointercancel", () => {
    begun = null;
  });
  new ResizeObserver(draw).observe(element);
  return {
    element,
    /** @param {Data} next */
    show(next) {
      data = next;
      draw();
    },
  };
}

/** @param {Series[]} series @param {number} bucket */
function sum(series, bucket) {
  return series.reduce((total, one) => total + one.counts[bucket], 0);
}

/** @param {Data} data @param {number} max @param {number} plot */
function bars(data, max, plot) {
  const step = plot / data.buckets;
  const room = HEIGHT - TOP - BOTTOM;
  const all = [];
  for (let bucket = 0; bucket < data.buckets; bucket += 1) {
    let y = HEIGHT - BOTTOM;
    for (const one of data.series) {
      const height = (one.counts[bucket] / max) * room;
      if (height === 0) continue;
      const shown = Math.max(1, height);
      y -= shown;
      all.push(svg("rect", { class: `bar ${one.kind}`, x: LEFT + bucket * step, y, width: Math.max(1, step - 1), height: shown }));
    }
  }
  return all;
}

/** @param {Data} data @param {number} max @param {number} plot */
function axis(data, max, plot) {
  const base = HEIGHT - BOTTOM;
  const marks = [
    svg("line", { class: "axis", x1: LEFT, x2: LEFT + plot, y1: base + 0.5, y2: base + 0.5 }),
    svg("text", { class: "tick", x: LEFT - 6, y: TOP + 8, "text-anchor": "end" }, short(max)),
    svg("text", { class: "tick", x: LEFT - 6, y: base, "text-anchor": "end" }, "0"),
  ];
  const length = data.to - data.from;
  const step = stepOf({ from: data.from, to: data.to, words: "" }, Math.max(2, Math.min(9, Math.floor(plot / 100))));
  const isDays = step >= 86_400_000_000_000n;
  const zone = zoneName(data.to);
  // Full hours and days of the zone, not of UTC.
  const first = (parseLocal(isDays ? dateOf(data.from) : `${dateOf(data.from)} 00:00`) ?? data.from);
  for (let at = first; at < data.to; at += step) {
    const x = LEFT + (Number(at - data.from) / Number(length)) * plot;
    if (at < data.from || x > LEFT + plot - ZONE_PX) continue;
    const words = isDays ? dateOf(at).slice(5) : clockOf(at, step < 60_000_000_000n ? 0 : -1);
    marks.push(svg("line", { class: "axis", x1: x, x2: x, y1: base, y2: base + 4 }));
    marks.push(svg("text", { class: "tick", x: x + 3, y: HEIGHT - 4 }, words));
  }
  marks.push(svg("text", { class: "tick", x: LEFT + plot, y: HEIGHT - 4, "text-anchor": "end" }, zone));
  return marks;
}

/** @param {Data} data @param {number} low @param {number} high */
function tipWords(data, low, high) {
  const from = data.from + data.step * BigInt(low);
  const to = data.from + data.step * BigInt(high + 1);
  const total = (/** @type {Series} */ one) => one.counts.slice(low, high + 1).reduce((a, b) => a + b, 0);
  const lines = data.series.map((one) => ({ one, count: total(one) })).filter(({ count }) => count > 0).reverse();
  return [
    h("div.tip-title", null, `${clockOf(from, 0)} – ${clockOf(to, 0)} ${zoneName(from)}`),
    ...lines.map(({ one, count }) => h("div", null, h(`span.swatch.${one.kind}`), `${one.name} `, h("b", null, short(count)))),
    ...(lines.length === 0 ? [h("div", null, "none")] : []),
  ];
}

// How numbers are distributed: a bar for each range, of one set of events, or of two side by side, each as the share
// of its own set.

import { wordsOf } from "../state/figures.js";
import { count, percent } from "../state/units.js";
import { h, svg } from "./dom.js";

const [WIDTH, HEIGHT, AXIS] = [360, 72, 16];

/**
 * @param {NonNullable<ReturnType<typeof import("../state/attribute-statements.js").binsOf>>} data
 * @param {{unit: import("../state/figures.js").Unit, names: [string, string] | null}} options names of both sets
 */
export function distributionPicture(data, { unit, names }) {
  const isTwo = names !== null;
  const share = (/** @type {number} */ events, /** @type {number} */ all) => (all === 0 ? 0 : events / all);
  const shares = data.bins.map((bin) => ({ ...bin, a: share(bin.selected, data.selected), b: share(bin.others, data.others) }));
  const most = Math.max(...shares.flatMap(({ a, b }) => [a, b]), 1e-9);
  const step = WIDTH / shares.length;
  const bars = shares.flatMap((bin, i) => {
    const x = i * step;
    const said = `${wordsOf(bin.low, unit)} – ${wordsOf(bin.high, unit)}: ${isTwo ? `${names[0]} ${percent(bin.a)} (${count(bin.selected)}), ${names[1]} ${percent(bin.b)} (${count(bin.others)})` : `${count(bin.selected)} events, ${percent(bin.a)}`}`;
    const bar = (/** @type {number} */ part, /** @type {number} */ at, /** @type {number} */ width, /** @type {string} */ kind) => {
      const height = part === 0 ? 0 : Math.max(1.5, (part / most) * (HEIGHT - 2));
      return svg("rect", { class: kind, x: at, width, y: HEIGHT - height, height });
    };
    const room = Math.max(1, step - 1.5);
    return [svg("g", {}, svg("title", {}, said), svg("rect", { class: "dist-room", x, y: 0, width: step, height: HEIGHT }),
      ...(isTwo ? [bar(bin.b, x + room / 2, room / 2, "dist-others"), bar(bin.a, x, room / 2, "dist-selected")] : [bar(bin.a, x, room, "dist-plain")]))];
  });
  const ticks = [
    svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT + 0.5, y2: HEIGHT + 0.5 }),
    svg("text", { class: "tick", x: 0, y: HEIGHT + 13 }, wordsOf(data.low, unit)),
    ...(data.high > data.low ? [svg("text", { class: "tick", x: WIDTH / 2, y: HEIGHT + 13, "text-anchor": "middle" }, wordsOf(shares[Math.floor(shares.length / 2)].low, unit)),
      svg("text", { class: "tick", x: WIDTH, y: HEIGHT + 13, "text-anchor": "end" }, wordsOf(data.high, unit))] : []),
  ];
  const words = `Distribution from ${wordsOf(data.low, unit)} to ${wordsOf(data.high, unit)}${data.isLog ? ", on a logarithmic scale" : ""}`;
  return h("div.distribution", null, svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + AXIS}`, role: "img", "aria-label": words }, ...bars, ...ticks));
}

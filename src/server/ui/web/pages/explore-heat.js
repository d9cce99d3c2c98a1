// The heat map of the explore page: its statement, its switches, and its cells as a table.

import { ask, objects } from "../data/sql.js";
import { asProblem, isGivenUp } from "../data/request.js";
import { heatMapOf } from "../state/explore.js";
import * as statements from "../state/explore-statements.js";
import { unitOfValue, wordsOf } from "../state/figures.js";
import { Grid } from "../state/heat.js";
import { rangeOf } from "../state/range.js";
import { niceStep } from "../state/ticks.js";
import { clockOf, inFull, zoneName } from "../state/time.js";
import { count, plural, short } from "../state/units.js";
import { joined, termsOf } from "../state/where.js";
import { fill, h } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { heatMap } from "../parts/heat-map.js";
import { list } from "../parts/list.js";
import { Panel } from "../parts/panel.js";
import { traceAddress } from "../parts/search-box.js";

const ROWS = 48;
// A pointer that only passes by asks for nothing.
const PAINT_AFTER_MS = 150;

/** @typedef {import("../state/explore.js").State} State */
/** @typedef {import("../state/heat.js").Cell} Cell */

/**
 * @param {{frame: import("../app.js").Frame, state: () => State, look: (changes: Partial<State>) => void,
 *   cursor: ReturnType<typeof import("../parts/plot.js").sharedCursor>}} page
 */
export function heatPanel({ frame, state, look, cursor }) {
  /** @param {Cell} cell */
  const open = (cell) => {
    if (cell.trace_id !== null) frame.go(traceAddress(cell.trace_id, cell.span_id));
  };
  const map = heatMap({
    choose: (block) => grid !== null && look({ sel: grid.select(block, heatMapOf(state()) ?? "") }),
    open, hover: cursor.put,
  });
  cursor.follow(map.cursor);
  const scales = /** @type {const} */ (["log", "linear"]).map((scale) => h("button", { type: "button", onclick: () => look({ scale }) }, scale === "log" ? "Log" : "Linear"));
  const colours = /** @type {const} */ (["count", "errors"]).map((colour) => h("button", { type: "button", onclick: () => look({ colour }) }, colour === "count" ? "Count" : "Errors"));
  const table = h("button.tool", { type: "button", title: "The same cells as a table  T", onclick: () => look({ isTable: !state().isTable }) }, "Table");
  const panel = new Panel({
    name: "heat", title: "Heat map", draw, empty,
    tools: [h("div.segments.small", { role: "group", "aria-label": "Scale" }, ...scales), h("div.segments.small", { role: "group", "aria-label": "Colour" }, ...colours), table],
  });
  const legend = h("p.heat-legend");
  /** @type {Cell[]} */
  let cells = [];
  const found = list({
    name: "cell-list", label: "Cells of the heat map", rowHeight: 28, narrowHeight: 40,
    columns: [{ name: "time", words: "Time" }, { name: "low", words: "From", isNumber: true }, { name: "high", words: "Below", isNumber: true }, { name: "events", words: "Events", isNumber: true }, { name: "failed", words: "Failed", isNumber: true }, { name: "trace", words: "Greatest" }],
    write: (elements, row) => writeCell(elements, cells[row]),
    onOpen: (row) => open(cells[row]),
  });
  /** @type {Grid | null} */
  let grid = null;
  let width = /** @type {number | null} */ (null);
  let painting = new AbortController();
  let turn = 0;

  const update = async () => {
    const [now, range] = [state(), rangeOf(frame.params())];
    const of = heatMapOf(now);
    panel.element.hidden = of === null;
    if (of === null || range === null) return panel.stop();
    scales.forEach((button, i) => button.setAttribute("aria-pressed", String(["log", "linear"][i] === now.scale)));
    colours.forEach((button, i) => button.setAttribute("aria-pressed", String(["count", "errors"][i] === now.colour)));
    table.setAttribute("aria-pressed", String(now.isTable));
    turn += 1;
    const own = turn;
    const wide = now.scale === "log" ? null : await widthOf(now, range, of);
    if (own !== turn) return;
    width = wide;
    const sql = statements.heatMap(now, range, of, width);
    if (!panel.has(sql)) await panel.show({ sql });
    // Only its look may have changed.
    else if (panel.run === null && panel.answer !== null) await panel.picture(panel.answer);
  };

  /** Height of a cell on a linear scale. @param {State} now @param {import("../state/range.js").Range} range @param {string} of */
  const widthOf = async (now, range, of) => {
    try {
      const [{ low, high }] = objects(await ask(statements.extent(now, range, of)));
      const [least, most] = [Number(low), Number(high)];
      const wide = niceStep((most - least) / ROWS);
      return Number.isInteger(least) && Number.isInteger(most) ? Math.max(1, wide) : wide;
    } catch {
      // The statement of the cells fails too, and says why.
      return 1;
    }
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function draw(answer) {
    const [now, range] = [state(), rangeOf(frame.params())];
    const of = heatMapOf(now);
    if (of === null || range === null || answer.rows === 0) return null;
    grid = new Grid(objects(answer), range, statements.columnOf(range), width);
    const what = now.of === "logs" ? "log record" : now.of.slice(0, -1);
    const name = of === "duration_ns" ? "Duration" : of;
    fill(/** @type {HTMLElement} */ (panel.head.querySelector("h2")), `${name} of ${plural(grid.events, what)}`);
    const unit = unitOfValue(of);
    map.show({ grid, of, unit, colour: now.colour, what });
    map.select(now.sel);
    void paint(null);
    fill(legend, ...legendOf(now, grid));
    if (!now.isTable) return h("div", null, map.element, legend);
    cells = [...grid.cells.values()].sort((a, b) => a.column - b.column || a.row - b.row);
    found.head("time", `Time (${zoneName(range.to)})`);
    requestAnimationFrame(() => found.show(cells.length));
    return found.element;
  }

  async function empty() {
    const [now, range] = [state(), rangeOf(frame.params())];
    const of = heatMapOf(now) ?? "";
    fill(/** @type {HTMLElement} */ (panel.head.querySelector("h2")), "Heat map");
    if (range === null) return rangeIsWrong();
    try {
      const [{ events }] = objects(await ask(statements.extent(now, range, of)));
      if (Number(events) > 0) return h("p.empty", null, `None of the ${plural(Number(events), "event")} has a number as ${of}.`);
    } catch (error) {
      return h("p.empty", null, asProblem(error).message);
    }
    return whyEmpty(frame, now.of, range, now.where);
  }

  /**
   * Paints the events that meet a condition, besides that of the page; null those that are selected by one.
   * @param {string | null} condition
   */
  const paint = async (condition) => {
    painting.abort();
    const own = new AbortController();
    painting = own;
    const [now, range] = [state(), rangeOf(frame.params())];
    const [term, of] = [condition ?? now.sel?.where ?? null, heatMapOf(now)];
    if (term === null || grid === null || range === null || of === null) return map.mark(null);
    await new Promise((resolve) => setTimeout(resolve, PAINT_AFTER_MS));
    const on = grid;
    if (own.signal.aborted) return;
    try {
      const answer = await ask(statements.heatMap({ ...now, where: joined([...termsOf(now.where), term]) }, range, of, width), { signal: own.signal });
      if (!own.signal.aborted && grid === on) map.mark(grid.sharesOf(objects(answer)));
    } catch (error) {
      // The map without paint is right too; the panel that the condition is from says what is wrong.
      if (!isGivenUp(error)) map.mark(null);
    }
  };

  /** @param {HTMLElement[]} elements @param {Cell} cell */
  function writeCell(elements, cell) {
    if (grid === null) return;
    const [time, low, high, events, failed, trace] = elements;
    const unit = unitOfValue(heatMapOf(state()) ?? "");
    const { from } = grid.timesOf(cell.column);
    time.textContent = clockOf(from, 0);
    time.title = inFull(from);
    low.textContent = cell.row < grid.rest ? "–" : wordsOf(cell.low, unit);
    high.textContent = cell.row < grid.rest ? "≤ 0" : wordsOf(cell.high, unit);
    events.textContent = count(cell.events);
    failed.textContent = cell.errors === 0 ? "" : count(cell.errors);
    fill(trace, cell.trace_id === null ? "" : h("a.mono", { href: traceAddress(cell.trace_id, cell.span_id), tabIndex: -1 }, cell.trace_id.slice(0, 8)));
  }

  return {
    panel, update: () => void update(),
    paint: (/** @type {string | null} */ condition) => void paint(condition),
    focus: () => (state().isTable ? found.element : map.element).focus({ focusVisible: true }),
    close: () => {
      painting.abort();
      map.close();
    },
  };
}

/** What the colours mean. @param {State} state @param {Grid} grid */
function legendOf(state, grid) {
  const [low, high, words] = state.colour === "count" ? ["1", short(grid.most), "events in a cell"] : ["0 %", "100 %", "of the events of a cell failed; 25 % is the middle"];
  return [
    h("span", null, low), h(`span.ramp.${state.colour}`), h("span", null, high), h("span", null, words), h("span.grow"),
    h("span.heat-hint", null, "drag: what is different · Shift: one axis only · click: a trace"),
  ];
}

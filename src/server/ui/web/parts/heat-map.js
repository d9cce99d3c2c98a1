// A heat map: how many events there are at each time and value. A drag, or Shift with arrows, selects cells; a click
// opens the slowest event of one. The selection is kept in units of the data, so it outlives every size and scale.

import { wordsOf } from "../state/figures.js";
import { sum } from "../state/heat.js";
import { linearTicks, logTicks } from "../state/ticks.js";
import { clockOf, dateOf, zoneName } from "../state/time.js";
import { count, percent, plural } from "../state/units.js";
import { coloursOfClasses, onRamp, onTheme } from "./colours.js";
import { fill, h, svg } from "./dom.js";
import { AXIS, LEFT, RIGHT, cursorLine, gridLines, timeAt, timeAxis, valueMarks, xOf } from "./plot.js";

const [TOP, HEIGHT] = [8, 260];
// A pointer that moved less is a click.
const CLICK_PX = 4;
const TIP_PX = 250;
const COLOURS = 64;

/** @typedef {import("../state/heat.js").Grid} Grid */
/** @typedef {import("../state/heat.js").Block} Block */
/** @typedef {import("../state/heat.js").Cell} Cell */
/** @typedef {import("../state/selection.js").Selection} Selection */
/** @typedef {{grid: Grid, of: string, unit: import("../state/figures.js").Unit, colour: "count" | "errors", what: string}} Data */
/**
 * @typedef {{choose: (block: Block) => void, open: (cell: Cell) => void, hover: (at: bigint | null) => void}} Options
 */

/** @param {Options} options */
export function heatMap(options) {
  const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { "aria-hidden": "true" }));
  const [grounds, picture] = [0, 1].map(() => svg("svg", { height: HEIGHT, "aria-hidden": "true" }));
  const tip = h("div.tip.heat-tip");
  tip.hidden = true;
  const spoken = h("span.off-screen", { role: "status" });
  const element = h("div.heat-map", {
    tabIndex: 0, role: "application", "aria-roledescription": "heat map", "aria-label": "Heat map. Arrows move, Shift with arrows extends, Enter selects, T shows a table",
  }, grounds, canvas, picture, tip, spoken);
  const back = svg("g", {});
  const chosen = svg("rect", { class: "heat-selection", visibility: "hidden" });
  const pending = svg("rect", { class: "heat-pending", visibility: "hidden" });
  const cursor = cursorLine();
  picture.append(back, cursor.line, chosen, pending);

  /** @type {Data | null} */
  let data = null;
  /** @type {Selection | null} */
  let selection = null;
  /** Cells that are painted, by the share of their events that is meant. @type {Map<number, number> | null} */
  let marks = null;
  /** Where a drag began, in pixels and cells. @type {{x: number, y: number, column: number, row: number} | null} */
  let begun = null;
  /** The keyboard's place, and where its block began. @type {{column: number, row: number, fromColumn: number, fromRow: number} | null} */
  let key = null;

  const width = () => Math.max(200, element.clientWidth);
  const room = HEIGHT - TOP - AXIS;
  const rowHeight = (/** @type {Grid} */ grid) => room / grid.rows;
  const yOf = (/** @type {Grid} */ grid, /** @type {number} */ row) => TOP + room - row * rowHeight(grid);
  const columnX = (/** @type {Grid} */ grid, /** @type {number} */ column) => Math.max(LEFT, Math.min(width() - RIGHT, xOf(grid.timesOf(column).from, grid.range, width())));

  const draw = () => {
    if (data === null) return;
    const { grid } = data;
    for (const one of [grounds, picture]) one.setAttribute("width", String(width()));
    paint(canvas, element, { ...data, marks }, width(), { columnX, yOf });
    const ticks = valueTicks(data, room).map(({ at, words }) => ({ y: yOf(grid, grid.rowOf(at)), words }));
    if (grid.rest > 0) ticks.push({ y: yOf(grid, 0.5), words: "≤ 0" });
    grounds.replaceChildren(...gridLines(ticks, width()));
    back.replaceChildren(...valueMarks(ticks), ...timeAxis(grid.range, width(), TOP + room));
    drawSelection();
    drawKey();
  };

  const drawSelection = () => {
    if (data === null) return;
    const isHere = selection !== null && selection.where === null && (selection.value === null || selection.value.of === data.of);
    if (!isHere || selection === null) return chosen.setAttribute("visibility", "hidden");
    const { grid } = data;
    const { time, value } = selection;
    const clip = (/** @type {number} */ x) => Math.max(LEFT, Math.min(width() - RIGHT, x));
    const [left, right] = time === null ? [LEFT, width() - RIGHT] : [clip(xOf(time.from, grid.range, width())), clip(xOf(time.to, grid.range, width()))];
    const row = (/** @type {number} */ at) => Math.max(0, Math.min(grid.rows, grid.rowOf(at)));
    const [low, high] = value === null ? [0, grid.rows] : [value.low === null ? 0 : row(value.low), row(value.high)];
    put(chosen, left, yOf(grid, high), right - left, (high - low) * rowHeight(grid));
  };

  /** @param {Element} rect @param {Block} block */
  const putBlock = (rect, { columns, rows }) => {
    if (data === null) return;
    const left = columnX(data.grid, columns[0]);
    put(rect, left, yOf(data.grid, rows[1] + 1), columnX(data.grid, columns[1] + 1) - left, (rows[1] - rows[0] + 1) * rowHeight(data.grid));
  };

  /** @param {PointerEvent} event */
  const place = (event) => {
    const box = picture.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { grid } = /** @type {Data} */ (data);
    const column = Math.floor(grid.columnOf(timeAt(x, grid.range, width())));
    return {
      x, y, isOutside: x < LEFT - 1 || x > width() - RIGHT + 1 || y > TOP + room || y < TOP,
      column: Math.max(0, Math.min(grid.columns - 1, column)),
      row: Math.max(0, Math.min(grid.rows - 1, Math.floor((TOP + room - y) / rowHeight(grid)))),
    };
  };

  /** What a drag to `now` selects; with Shift only along its longer way. @param {ReturnType<typeof place>} now @param {boolean} isShift @returns {Block} */
  const blockTo = (now, isShift) => {
    const { grid } = /** @type {Data} */ (data);
    const start = begun ?? now;
    /** @type {Block} */
    const block = { columns: ordered(start.column, now.column), rows: ordered(start.row, now.row) };
    if (!isShift) return block;
    const isTime = Math.abs(now.x - start.x) >= Math.abs(now.y - start.y);
    return isTime ? { ...block, rows: [0, grid.rows - 1] } : { ...block, columns: [0, grid.columns - 1] };
  };

  /** @param {Block} block @param {number} x @param {number} y */
  const showTip = (block, x, y) => {
    if (data === null) return;
    fill(tip, ...words(data, block).map((line, i) => h(i === 0 ? "div.tip-title" : "div", null, line)));
    tip.hidden = false;
    tip.style.left = `${Math.max(0, x + 18 + TIP_PX > width() ? x - TIP_PX - 18 : x + 18)}px`;
    tip.style.top = `${Math.max(0, Math.min(y - 20, HEIGHT - 92))}px`;
  };

  const isDrag = (/** @type {{x: number, y: number}} */ now) => begun !== null && Math.hypot(now.x - begun.x, now.y - begun.y) >= CLICK_PX;
  const quiet = () => {
    tip.hidden = true;
    pending.setAttribute("visibility", "hidden");
    begun = null;
  };

  element.addEventListener("pointerdown", (event) => {
    if (data === null || event.button !== 0 || place(event).isOutside) return;
    begun = place(event);
    key = null;
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (data === null) return;
    const now = place(event);
    if (now.isOutside && begun === null) {
      options.hover(null);
      return quiet();
    }
    const block = blockTo(now, event.shiftKey && isDrag(now));
    putBlock(pending, block);
    showTip(block, now.x, now.y);
    options.hover(timeAt(now.x, data.grid.range, width()));
  });
  element.addEventListener("pointerleave", () => {
    if (begun === null) quiet();
    options.hover(null);
  });
  element.addEventListener("pointercancel", quiet);
  element.addEventListener("pointerup", (event) => {
    if (data === null || begun === null) return;
    const now = place(event);
    const [wasDrag, block] = [isDrag(now), blockTo(now, event.shiftKey)];
    const cell = data.grid.at(begun.column, begun.row);
    quiet();
    if (wasDrag) options.choose(block);
    else if (cell !== null) options.open(cell);
  });

  const drawKey = () => {
    if (data === null || key === null || document.activeElement !== element) return;
    const block = { columns: ordered(key.fromColumn, key.column), rows: ordered(key.fromRow, key.row) };
    putBlock(pending, block);
    showTip(block, columnX(data.grid, key.column), yOf(data.grid, key.row));
    spoken.textContent = words(data, block).join(", ");
    options.hover(data.grid.timesOf(key.column).from + data.grid.step / 2n);
  };

  element.addEventListener("focus", () => {
    if (data === null || begun !== null || !element.matches(":focus-visible")) return;
    const most = [...data.grid.cells.values()].reduce((a, b) => (b.events > a.events ? b : a), { events: -1, column: 0, row: 0 });
    key ??= { column: most.column, row: most.row, fromColumn: most.column, fromRow: most.row };
    drawKey();
  });
  element.addEventListener("blur", quiet);
  element.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (data === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (step !== undefined) {
      const { grid } = data;
      key ??= { column: 0, row: 0, fromColumn: 0, fromRow: 0 };
      key.column = Math.max(0, Math.min(grid.columns - 1, key.column + step[0]));
      key.row = Math.max(0, Math.min(grid.rows - 1, key.row + step[1]));
      if (!event.shiftKey) [key.fromColumn, key.fromRow] = [key.column, key.row];
      drawKey();
    } else if (key === null) return;
    else if (event.key === "Enter") options.choose({ columns: ordered(key.fromColumn, key.column), rows: ordered(key.fromRow, key.row) });
    else if (event.key === "t") {
      const cell = data.grid.at(key.column, key.row);
      if (cell !== null) options.open(cell);
    } else if (event.key === "Escape" && (key.fromColumn !== key.column || key.fromRow !== key.row)) {
      [key.fromColumn, key.fromRow] = [key.column, key.row];
      drawKey();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const sizes = new ResizeObserver(draw);
  sizes.observe(element);
  const endTheme = onTheme(() => requestAnimationFrame(draw));

  return {
    element,
    /** @param {Data} next */
    show(next) {
      if (data !== null && (data.grid.rows !== next.grid.rows || data.grid.columns !== next.grid.columns)) key = null;
      if (data?.grid !== next.grid) marks = null;
      data = next;
      draw();
    },
    /** Paints some events, and dims the others. @param {Map<number, number> | null} next */
    mark(next) {
      if (marks === next) return;
      marks = next;
      draw();
    },
    /** @param {Selection | null} next */
    select(next) {
      selection = next;
      drawSelection();
    },
    /** @param {bigint | null} at */
    cursor(at) {
      cursor.put(at === null || data === null ? null : xOf(at, data.grid.range, width()), TOP, TOP + room);
    },
    focus: () => element.focus({ focusVisible: true }),
    close() {
      sizes.disconnect();
      endTheme();
    },
  };
}

/** @param {number} a @param {number} b @returns {[number, number]} */
function ordered(a, b) {
  return a < b ? [a, b] : [b, a];
}

/** @param {Element} rect @param {number} x @param {number} y @param {number} width @param {number} height */
function put(rect, x, y, width, height) {
  for (const [name, value] of Object.entries({ x, y, width: Math.max(1, width), height: Math.max(1, height), visibility: "visible" })) rect.setAttribute(name, String(value));
}

/**
 * The cells: darker (in the dark: brighter) is more, on a logarithmic scale; or redder is a larger share of errors, by
 * its root, since one in twenty matters.
 * @param {HTMLCanvasElement} canvas @param {HTMLElement} place @param {Data & {marks: Map<number, number> | null}} data
 * @param {number} width @param {{columnX: (grid: Grid, column: number) => number, yOf: (grid: Grid, row: number) => number}} at
 */
function paint(canvas, place, { grid, colour, marks }, width, { columnX, yOf }) {
  const began = performance.now();
  const ratio = Math.max(1, devicePixelRatio);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(HEIGHT * ratio);
  const context = canvas.getContext("2d");
  if (context === null) return;
  const ramp = coloursOfClasses(place, [0, 1, 2, 3, 4].map((i) => (colour === "errors" ? `errors-${i}` : `heat-${i}`)));
  const [selected] = coloursOfClasses(place, ["selected-colour"]);
  const top = Math.log(Math.max(2, grid.most));
  const palette = Array.from({ length: COLOURS }, (_, i) => `rgb(${onRamp(ramp, i / (COLOURS - 1)).join(" ")})`);
  const edges = Array.from({ length: grid.columns + 1 }, (_, i) => Math.round(columnX(grid, i) * ratio));
  // A hair between cells that are large enough for one.
  const gap = edges[2] - edges[1] > 6 * ratio && (yOf(grid, 0) - yOf(grid, 1)) * ratio > 6 * ratio ? 1 : 0;
  for (const cell of grid.cells.values()) {
    const share = colour === "errors" ? Math.sqrt(cell.errors / cell.events) : Math.log(cell.events) / top;
    context.fillStyle = palette[Math.round(share * (COLOURS - 1))];
    const [x, y] = [edges[cell.column], Math.round(yOf(grid, cell.row + 1) * ratio)];
    const [right, bottom] = [edges[cell.column + 1], Math.round(yOf(grid, cell.row) * ratio)];
    context.globalAlpha = marks === null ? 1 : 0.3;
    context.fillRect(x, y, Math.max(1, right - x - gap), Math.max(1, bottom - y - gap));
    const marked = marks?.get(grid.key(cell.column, cell.row)) ?? 0;
    if (marked === 0) continue;
    context.fillStyle = `rgb(${selected.join(" ")})`;
    context.globalAlpha = 0.3 + 0.7 * marked;
    context.fillRect(x, y, Math.max(1, right - x - gap), Math.max(1, bottom - y - gap));
  }
  performance.measure("heat-map", { start: began });
}

/** @param {Data} data @param {number} room */
function valueTicks({ grid, unit }, room) {
  const max = Math.floor(room / 26);
  return grid.width === null ? logTicks(grid.low, grid.high, unit, max) : linearTicks(grid.low, grid.high, unit, max);
}

/** What a block of cells is, in lines. @param {Data} data @param {Block} block @returns {string[]} */
function words({ grid, unit, what }, block) {
  const cells = grid.within(block);
  const [events, errors] = [sum(cells, "events"), sum(cells, "errors")];
  const [from, to] = [grid.timesOf(block.columns[0]).from, grid.timesOf(block.columns[1]).to];
  const { low, high } = grid.valuesOf(block.rows[0], block.rows[1]);
  const values = low === null ? `up to ${wordsOf(high, unit)}` : `${wordsOf(low, unit)} – ${wordsOf(high, unit)}`;
  const isOne = block.columns[0] === block.columns[1] && block.rows[0] === block.rows[1];
  const exemplar = isOne ? cells[0]?.trace_id : null;
  return [
    `${dateOf(from)} ${clockOf(from, 0)} – ${clockOf(to, 0)} ${zoneName(from)}`, values,
    `${plural(events, what)}${errors > 0 ? `, ${count(errors)} failed (${percent(errors / events)})` : ""}`,
    ...(exemplar ? [`Click: trace of the greatest, ${exemplar.slice(0, 8)}`] : []),
  ];
}

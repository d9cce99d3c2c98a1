// The cells of a heat map as a grid of columns (time) and rows (value), and how places in it and units of the data
// belong together. No pixels here.

import { parseInstant } from "./time.js";

/**
 * @typedef {{column: number, row: number, low: number, high: number, events: number, errors: number,
 *   trace_id: string | null, span_id: string | null}} Cell
 * @typedef {{columns: [number, number], rows: [number, number]}} Block of cells, both ends among them
 * @typedef {import("./selection.js").Times} Times
 */

export class Grid {
  /**
   * @param {Record<string, any>[]} answer rows of the statement @param {Times} range @param {bigint} step
   * @param {number | null} width of a row on a linear scale; null is a logarithmic one
   */
  constructor(answer, range, step, width) {
    this.range = range;
    this.step = step;
    this.width = width;
    const times = answer.map((row) => parseInstant(row.time) ?? range.from);
    // Columns begin where those of the answer do; the first and the last may reach beyond the range.
    const phase = times.length === 0 ? range.from : times[0];
    this.origin = range.from - (((range.from - phase) % step) + step) % step;
    this.columns = Math.max(1, Number((range.to - this.origin + step - 1n) / step));
    /** On a logarithmic scale the values that have no place on it: 0 and below. */
    const hasRest = width === null && answer.some((row) => !(row.low > 0));
    const sized = answer.filter((row) => width !== null || row.low > 0);
    this.perDecade = perDecade(sized);
    const levels = sized.map((row) => this.level(row.low));
    this.bottom = levels.reduce((a, b) => Math.min(a, b), Infinity);
    const top = levels.reduce((a, b) => Math.max(a, b), -Infinity);
    if (this.bottom === Infinity) this.bottom = 0;
    this.rest = hasRest ? 1 : 0;
    this.rows = Math.max(1, (top === -Infinity ? 0 : top - this.bottom + 1) + this.rest);
    /** @type {Map<number, Cell>} */
    this.cells = new Map();
    answer.forEach((row, i) => this.add(row, Number((times[i] - this.origin) / step)));
    this.events = sum([...this.cells.values()], "events");
    this.most = [...this.cells.values()].reduce((most, cell) => Math.max(most, cell.events), 0);
  }

  /** Which row of the grid a row of the answer is in. @param {Record<string, any>} row */
  placeOf(row) {
    return this.width === null && !(row.low > 0) ? 0 : this.level(row.low) - this.bottom + this.rest;
  }

  /**
   * The share of each cell's events that some of them are, by `key`.
   * @param {Record<string, any>[]} some rows of the same statement with one more condition @returns {Map<number, number>}
   */
  sharesOf(some) {
    const shares = new Map();
    for (const row of some) {
      const key = this.key(Number(((parseInstant(row.time) ?? this.origin) - this.origin) / this.step), this.placeOf(row));
      const cell = this.cells.get(key);
      if (cell !== undefined) shares.set(key, Math.min(1, Number(row.events) / cell.events));
    }
    return shares;
  }

  /** @param {Record<string, any>} row @param {number} column */
  add(row, column) {
    const place = this.placeOf(row);
    const known = this.cells.get(this.key(column, place));
    const cell = { column, row: place, low: Number(row.low), high: Number(row.high), events: Number(row.events), errors: Number(row.errors), trace_id: row.trace_id, span_id: row.span_id };
    if (known !== undefined) {
      cell.events += known.events;
      cell.errors += known.errors;
    }
    this.cells.set(this.key(column, place), cell);
  }

  /** @param {number} column @param {number} row */
  key(column, row) {
    return row * 100_000 + column;
  }

  /** Which step of the scale begins at `low`. @param {number} low */
  level(low) {
    return Math.round(this.width === null ? Math.log10(low) * this.perDecade : low / this.width);
  }

  /** @param {number} column @param {number} row @returns {Cell | null} */
  at(column, row) {
    return this.cells.get(this.key(column, row)) ?? null;
  }

  /** @param {number} column */
  timesOf(column) {
    const from = this.origin + this.step * BigInt(column);
    return { from, to: from + this.step };
  }

  /** Where row `row` begins, on the scale; null is no lower end. @param {number} row @returns {number | null} */
  lowOf(row) {
    if (row < this.rest) return null;
    const level = row - this.rest + this.bottom;
    // As the server calculates it: 12 per decade are 10^(level / 12).
    return this.width === null ? 10 ** (level / this.perDecade) : Number((level * this.width).toPrecision(15));
  }

  /** The values of rows from `first` to `last`. @param {number} first @param {number} last */
  valuesOf(first, last) {
    const low = this.exact(first)?.low ?? this.lowOf(first);
    const high = this.exact(last)?.high ?? /** @type {number} */ (this.lowOf(last + 1));
    return { low: first < this.rest ? null : low, high: last < this.rest ? this.low : high };
  }

  /** A cell of that row, whose ends are those of the server. @param {number} row */
  exact(row) {
    if (row < this.rest) return null;
    for (const cell of this.cells.values()) if (cell.row === row) return cell;
    return null;
  }

  /** The least and greatest value of the scale that is drawn. */
  get low() {
    return /** @type {number} */ (this.lowOf(this.rest));
  }

  get high() {
    return /** @type {number} */ (this.lowOf(this.rows));
  }

  /** Place of an instant: 1.5 is the middle of the second column. @param {bigint} time */
  columnOf(time) {
    return Number(time - this.origin) / Number(this.step);
  }

  /** Place of a value on the scale, from below. @param {number} value */
  rowOf(value) {
    if (this.width !== null) return value / this.width - this.bottom;
    return value > 0 ? Math.max(0, Math.log10(value) * this.perDecade - this.bottom + this.rest) : 0;
  }

  /** The cells of a block, in the order of time. @param {Block} block */
  within({ columns, rows }) {
    return [...this.cells.values()].filter(({ column, row }) => column >= columns[0] && column <= columns[1] && row >= rows[0] && row <= rows[1]);
  }

  /** What a block selects; a block of all rows or all columns leaves that axis out. @param {Block} block @param {string} of */
  select({ columns, rows }, of) {
    const isAllTimes = columns[0] <= 0 && columns[1] >= this.columns - 1;
    const isAllValues = rows[0] <= 0 && rows[1] >= this.rows - 1;
    const time = isAllTimes && !isAllValues ? null : { from: this.timesOf(columns[0]).from, to: this.timesOf(columns[1]).to };
    return { time, value: isAllValues ? null : { of, ...this.valuesOf(rows[0], rows[1]) }, where: null };
  }
}

/** Steps of a decade, by the width of a cell. @param {Record<string, any>[]} rows */
function perDecade(rows) {
  const row = rows.find(({ low, high }) => low > 0 && high > low);
  return row === undefined ? 1 : Math.max(1, Math.round(1 / Math.log10(row.high / row.low)));
}

/** @param {Cell[]} cells @param {"events" | "errors"} what */
export function sum(cells, what) {
  return cells.reduce((total, cell) => total + cell[what], 0);
}

// A trace as columns: typed arrays in tree order, and which rows are seen. No DOM.
//
// Rows are in pre-order; a row's depth says where its subtree ends. Seen entries are rows (0 and up), and records
// between them (logs and span events) as -1 - index.

import { coloursOf } from "../parts/service-colour.js";

/** Bits of `marks`, as `GET /v1/traces/{id}/rows` documents them. */
export const MARK = { orphan: 1, early: 2, links: 4, cycle: 8 };
export const STATUS_ERROR = 2;
export const KINDS = ["", "internal", "server", "client", "producer", "consumer"];

/** @typedef {"all" | "critical" | "errors"} Only */

export class TraceModel {
  /** @param {any} head the first line of the answer */
  constructor(head) {
    const spans = head.spans;
    this.head = head;
    this.spans = spans;
    this.loaded = 0;
    this.depth = new Uint32Array(spans);
    this.start = new Float64Array(spans);
    this.duration = new Float64Array(spans);
    this.service = new Uint32Array(spans);
    this.name = new Uint32Array(spans);
    this.status = new Uint8Array(spans);
    this.kind = new Uint8Array(spans);
    this.marks = new Uint8Array(spans);
    /** One past the last row of the subtree. */
    this.end = new Int32Array(spans);
    this.parent = new Int32Array(spans);
    this.shut = new Uint8Array(spans);
    /** Critical path: parts of each row that lie on it, as [from, to]. @type {Map<number, [number, number][]>} */
    this.critical = new Map();
    for (const [row, from, to] of head.critical) this.critical.set(row, [...(this.critical.get(row) ?? []), [from, to]]);
    /** @type {{row: number, at: number, kind: string, level: string, text: string}[]} */
    this.records = [];
    /** First record of each row; records are sorted by row. @type {Map<number, number[]>} */
    this.recordsOf = new Map();
    this.seen = new Int32Array(0);
    this.seenCount = 0;
    /** Rows on the way down while chunks arrive. @type {number[]} */
    this.open = [];
    this.length = Math.max(1, head.duration_ns);
    /** @type {Map<string, number> | null} */
    this.colours = null;
  }

  /** Takes a chunk of rows. @param {any} rows */
  add(rows) {
    const count = rows.depth.length;
    for (let i = 0; i < count; i += 1) {
      const row = rows.from + i;
      this.depth[row] = rows.depth[i];
      this.start[row] = rows.start[i];
      this.duration[row] = rows.duration[i] ?? NaN;
      this.service[row] = rows.service[i];
      this.name[row] = rows.name[i];
      this.status[row] = rows.status[i];
      this.kind[row] = rows.kind[i];
      this.marks[row] = rows.marks[i];
      this.close(row, rows.depth[i]);
      this.parent[row] = this.open.length === 0 ? -1 : this.open[this.open.length - 1];
      this.open.push(row);
    }
    this.loaded = rows.from + count;
    this.colours = null;
    // Subtrees that are not closed yet end where the rows do, for now.
    for (const row of this.open) this.end[row] = this.loaded;
  }

  /** @param {number} row @param {number} depth */
  close(row, depth) {
    while (this.open.length > depth) this.end[/** @type {number} */ (this.open.pop())] = row;
  }

  /** Takes logs and span events. @param {any} records */
  addRecords(records) {
    records.row.forEach((/** @type {number} */ row, /** @type {number} */ i) => {
      const index = this.records.push({ row, at: records.at[i], kind: records.kind[i], level: records.level[i], text: records.text[i] }) - 1;
      const own = this.recordsOf.get(row);
      if (own === undefined) this.recordsOf.set(row, [index]);
      else own.push(index);
    });
  }

  /** @param {number} row */
  serviceOf(row) {
    return /** @type {string} */ (this.head.strings[this.service[row]]);
  }

  /** The colour of a row's service; two services of a trace share one only where there are more than twelve. @param {number} row */
  colourOf(row) {
    const service = this.service[row];
    if (this.colours === null) {
      const seen = new Set(this.service.subarray(0, this.loaded));
      this.colours = coloursOf([...seen].map((number) => this.head.strings[number]));
    }
    return this.colours.get(this.head.strings[service]) ?? 0;
  }

  /** @param {number} row */
  nameOf(row) {
    return /** @type {string} */ (this.head.strings[this.name[row]]);
  }

  /** @param {number} row */
  hasChildren(row) {
    return this.end[row] > row + 1;
  }

  /** Finds out which entries are seen. @param {Only} only @param {boolean} withRecords */
  look(only, withRecords) {
    const wanted = only === "all" ? null : this.kept(only);
    const room = this.loaded + (withRecords ? this.records.length : 0);
    if (this.seen.length < room) this.seen = new Int32Array(room);
    let count = 0;
    let row = 0;
    while (row < this.loaded) {
      if (wanted === null || wanted[row] === 1) {
        this.seen[count] = row;
        count += 1;
        if (withRecords && only === "all" && this.shut[row] === 0) {
          for (const record of this.recordsOf.get(row) ?? []) {
            this.seen[count] = -1 - record;
            count += 1;
          }
        }
      }
      row = this.shut[row] === 1 ? this.end[row] : row + 1;
    }
    this.seenCount = count;
  }

  /** Rows that are wanted, with the way down to them. @param {Only} only */
  kept(only) {
    const kept = new Uint8Array(this.loaded);
    for (let row = 0; row < this.loaded; row += 1) {
      const is = only === "errors" ? this.status[row] === STATUS_ERROR : this.critical.has(row);
      for (let at = is ? row : -1; at >= 0 && kept[at] === 0; at = this.parent[at]) kept[at] = 1;
    }
    return kept;
  }

  /**
   * Where an entry is among those seen; -1 if it is not.
   * @param {number} row @param {number} [record] of its records; the row itself where that is not seen
   */
  placeOf(row, record = -1) {
    // Entries of rows ascend; records stand behind their row.
    let [low, high] = [0, this.seenCount - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const at = this.rowAt(middle);
      if (at === row && this.seen[middle] >= 0) return record >= 0 && this.seen[middle + record + 1] < 0 && middle + record + 1 < this.seenCount ? middle + record + 1 : middle;
      if (at < row) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** The row of an entry: itself, or the one that a record belongs to. @param {number} place */
  rowAt(place) {
    const entry = this.seen[place];
    return entry >= 0 ? entry : this.records[-1 - entry].row;
  }

  /** Which of its row's records an entry is, counted from 0; -1 for a row itself. @param {number} place */
  recordAt(place) {
    const entry = this.seen[place];
    return entry >= 0 ? -1 : (this.recordsOf.get(this.rowAt(place)) ?? []).indexOf(-1 - entry);
  }

  /** Opens everything above a row. @param {number} row */
  reveal(row) {
    for (let at = this.parent[row]; at >= 0; at = this.parent[at]) this.shut[at] = 0;
  }

  /** @param {boolean} isShut */
  foldAll(isShut) {
    for (let row = 0; row < this.loaded; row += 1) this.shut[row] = isShut && this.depth[row] > 0 && this.hasChildren(row) ? 1 : 0;
  }

  /** Rows whose service or name contains a text, in any case. @param {string} text @returns {Int32Array} */
  find(text) {
    const wanted = text.toLowerCase();
    if (wanted === "") return new Int32Array(0);
    const is = Uint8Array.from(this.head.strings, (/** @type {string} */ one) => (one.toLowerCase().includes(wanted) ? 1 : 0));
    const found = [];
    for (let row = 0; row < this.loaded; row += 1) if (is[this.service[row]] === 1 || is[this.name[row]] === 1) found.push(row);
    return Int32Array.from(found);
  }

  /** The next row with an error after `row`, or before it; -1 if there is none. @param {number} row @param {1 | -1} by */
  nextError(row, by) {
    for (let at = row + by; at >= 0 && at < this.loaded; at += by) if (this.status[at] === STATUS_ERROR) return at;
    return -1;
  }

  /** Time of a row that no child takes, as one interval or more covered by none. @param {number} row */
  selfTime(row) {
    const [from, to] = [this.start[row], this.start[row] + this.duration[row]];
    let covered = 0;
    let reached = from;
    for (let child = row + 1; child < this.end[row]; child = this.end[child]) {
      const begin = Math.max(reached, this.start[child]);
      const end = Math.min(to, this.start[child] + this.duration[child]);
      if (end > begin) {
        covered += end - begin;
        reached = end;
      }
    }
    return Math.max(0, to - from - covered);
  }

  /** Part of the critical path that lies on a row, in nanoseconds. @param {number} row */
  criticalTime(row) {
    return (this.critical.get(row) ?? []).reduce((sum, [from, to]) => sum + to - from, 0);
  }
}

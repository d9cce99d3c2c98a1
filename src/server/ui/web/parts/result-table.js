// Rows of any columns: a grid as wide as its columns, and one row with everything it says.

import { inFull, parseInstant } from "../state/time.js";
import { oneLine } from "../state/text.js";
import { fields } from "./attribute-list.js";
import { fill, h } from "./dom.js";
import { list } from "./list.js";
import { traceAddress } from "./search-box.js";

const [CHARACTER_PX, MONO_PX] = [7.6, 8.1];
const [WIDTH_MIN_PX, WIDTH_MAX_PX] = [64, 420];
const LOOKED_AT_ROWS = 200;
const TRACE_ID = /^[0-9a-f]{32}$/;

/** @param {import("../app.js").Frame} frame */
export function resultTable(frame) {
  const place = h("div.columns");
  const detail = h("aside.detail", { "aria-label": "Row" });
  /** @type {import("../data/sql.js").Answer | null} */
  let answer = null;
  /** @type {ReturnType<typeof list> | null} */
  let shown = null;

  /** @param {number} row */
  const open = (row) => {
    if (answer === null) return;
    const entries = answer.columns.map((column, i) => /** @type {[string, unknown]} */ ([column.name, answer?.data[i][row]]));
    const plain = entries.filter(([, value]) => !isMap(value));
    const maps = entries.filter(([, value]) => isMap(value));
    fill(detail,
      h("header", null, h("h2", null, `Row ${row + 1}`), h("button.icon", { type: "button", "aria-label": "Close", onclick: () => closeDetail() }, "×")),
      fields(plain, "spans", frame),
      ...maps.flatMap(([name, value]) => [h("h3.caps", null, name), fields(Object.entries(/** @type {object} */ (value)), "spans", frame)]));
    detail.hidden = false;
  };

  const closeDetail = () => {
    if (detail.hidden) return false;
    detail.hidden = true;
    shown?.element.focus();
    return true;
  };

  /** @param {HTMLElement[]} cells @param {number} row */
  const write = (cells, row) => {
    answer?.columns.forEach((column, i) => {
      const value = answer?.data[i][row];
      const cell = cells[i];
      cell.className = classOf(column.type, value);
      const text = wordsOf(value);
      if (typeof value === "string" && column.type === "id" && TRACE_ID.test(value)) fill(cell, h("a", { href: traceAddress(value, null), tabIndex: -1 }, value));
      else cell.textContent = text;
      const instant = column.type === "timestamp" && typeof value === "string" ? parseInstant(value) : null;
      cell.title = instant === null ? (text.length > 50 ? text : "") : inFull(instant);
    });
  };

  return {
    closeDetail,
    /** @param {import("../data/sql.js").Answer} next */
    show(next) {
      answer = next;
      detail.hidden = true;
      shown?.rows.destroy();
      shown = list({
        name: "result-table", label: "Rows", rowHeight: 28, narrowHeight: 40,
        columns: next.columns.map((column) => ({ name: "cell", words: column.name, isNumber: isNumber(column.type) })),
        write, onActive: open, onOpen: open,
      });
      const widths = next.columns.map((column, i) => widthOf(column, next.data[i]));
      shown.element.style.setProperty("--cols", widths.map((width) => `${width}px`).join(" "));
      shown.element.style.setProperty("--width", `${widths.reduce((a, b) => a + b, 0)}px`);
      fill(place, shown.element, detail);
      const { show } = shown;
      requestAnimationFrame(() => show(next.rows));
      return place;
    },
  };
}

/** @param {unknown} value */
function isMap(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {string} type */
function isNumber(type) {
  return ["integer", "double", "decimal"].includes(type);
}

/** @param {unknown} value */
function wordsOf(value) {
  if (value === null || value === undefined) return "null";
  return oneLine(typeof value === "object" ? JSON.stringify(value) : String(value), 300);
}

/** @param {string} type @param {unknown} value */
function classOf(type, value) {
  if (value === null || value === undefined) return "null";
  if (isNumber(type)) return "number";
  return isMono(type) ? "mono" : "";
}

/** @param {string} type */
function isMono(type) {
  return type === "id" || type === "timestamp";
}

/** Pixels that a column takes. @param {import("../data/sql.js").Column} column @param {unknown[]} values */
function widthOf(column, values) {
  let longest = column.name.length + 1;
  for (let row = 0; row < Math.min(values.length, LOOKED_AT_ROWS); row += 1) longest = Math.max(longest, wordsOf(values[row]).length);
  return Math.round(Math.max(WIDTH_MIN_PX, Math.min(WIDTH_MAX_PX, longest * (isMono(column.type) ? MONO_PX : CHARACTER_PX) + 26)));
}

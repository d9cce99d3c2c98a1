// A list with a header: a grid of virtual rows, each a line of cells.

import { h, newId } from "./dom.js";
import { VirtualRows } from "./virtual-rows.js";

/** Phones, as the style sheets have it. */
export const NARROW = "(max-width: 760px)";

/** @typedef {{name: string, words: string, isNumber?: boolean}} ListColumn */

/**
 * @param {{
 *   name: string, label: string, columns: ListColumn[], rowHeight: number, narrowHeight: number,
 *   write: (cells: HTMLElement[], row: number, element: HTMLElement) => void,
 *   onActive?: (row: number, by: "key" | "click") => void, onOpen?: (row: number) => void,
 * }} options
 */
export function list(options) {
  const cell = (/** @type {string} */ role) => (/** @type {ListColumn} */ column) =>
    h(`span.${column.name}${column.isNumber ? ".number" : ""}`, { role }, role === "columnheader" ? column.words : "");
  const headCells = options.columns.map(cell("columnheader"));
  const head = h("div.list-head", { role: "row", "aria-rowindex": "1" }, ...headCells);
  const box = h(`div.list.${options.name}`, { role: "grid", "aria-label": options.label, id: newId("list") }, head);
  const isNarrow = matchMedia(NARROW);
  const rows = new VirtualRows({
    box,
    rowHeight: isNarrow.matches ? options.narrowHeight : options.rowHeight,
    make: () => h("div.list-row", { role: "row" }, ...options.columns.map(cell("gridcell"))),
    write: (element, row) => options.write(/** @type {HTMLElement[]} */ ([...element.children]), row, element),
    onActive: options.onActive,
    onOpen: options.onOpen,
  });
  isNarrow.addEventListener("change", () => {
    rows.options.rowHeight = isNarrow.matches ? options.narrowHeight : options.rowHeight;
    rows.show(rows.rows);
  });
  return {
    element: box, rows,
    /** @param {number} count */
    show(count) {
      box.setAttribute("aria-rowcount", String(count + 1));
      rows.show(count);
    },
    /** @param {string} name @param {string} words */
    head(name, words) {
      const at = options.columns.findIndex((column) => column.name === name);
      if (at >= 0) headCells[at].textContent = words;
    },
  };
}

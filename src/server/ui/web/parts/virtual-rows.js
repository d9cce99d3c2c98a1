// A scrolled list of any number of rows of one height. About as many elements exist as are seen; the element of a row
// is its number modulo their count, and is written only when its row or the list's version changed.

import { h } from "./dom.js";

// Beyond it browsers lose rows (Firefox drops heights above 17.8 million pixels), so positions are scaled.
const HEIGHT_MAX_PX = 12_000_000;
const SPARE_ROWS = 6;

/**
 * @typedef {{
 *   box: HTMLElement, rowHeight: number, make: () => HTMLElement,
 *   write: (element: HTMLElement, row: number, isActive: boolean) => void,
 *   onActive?: (row: number, by: "key" | "click") => void, onOpen?: (row: number) => void,
 *   onKey?: (event: KeyboardEvent, row: number) => boolean,
 * }} Options
 */

export class VirtualRows {
  /** @param {Options} options `box` scrolls and has the focus; `make` and `write` fill rows */
  constructor(options) {
    this.options = options;
    this.box = options.box;
    this.rows = 0;
    this.active = -1;
    this.version = 0;
    /** @type {HTMLElement[]} */
    this.pool = [];
    this.inner = h("div.virtual-inner", { role: "rowgroup" });
    this.box.append(this.inner);
    this.box.tabIndex = 0;
    this.isDue = false;
    this.box.addEventListener("scroll", () => this.later(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.inner.addEventListener("click", (event) => this.click(event));
    this.inner.addEventListener("dblclick", () => this.options.onOpen?.(this.active));
    this.watcher = new ResizeObserver(() => this.later());
    this.watcher.observe(this.box);
  }

  /** Shows `rows` rows, all of them written anew. @param {number} rows */
  show(rows) {
    this.rows = rows;
    this.version += 1;
    if (this.active >= rows) this.active = rows - 1;
    const height = Math.min(rows * this.options.rowHeight, HEIGHT_MAX_PX);
    this.inner.style.height = `${height}px`;
    this.draw();
  }

  later() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  /** Pixels above the first row that are not part of the list: a header that sticks. */
  get head() {
    return this.inner.offsetTop;
  }

  get seenPx() {
    return Math.max(0, this.box.clientHeight - this.head);
  }

  /** The row at the top, with its fraction. */
  get first() {
    const { rowHeight } = this.options;
    const whole = this.rows * rowHeight;
    if (whole <= HEIGHT_MAX_PX) return this.box.scrollTop / rowHeight;
    const share = this.box.scrollTop / Math.max(1, HEIGHT_MAX_PX - this.seenPx);
    return share * (this.rows - this.seenPx / rowHeight);
  }

  /** @param {number} row with its fraction */
  scrollTo(row) {
    const { rowHeight } = this.options;
    const whole = this.rows * rowHeight;
    if (whole <= HEIGHT_MAX_PX) this.box.scrollTop = row * rowHeight;
    else this.box.scrollTop = (row / (this.rows - this.seenPx / rowHeight)) * (HEIGHT_MAX_PX - this.seenPx);
  }

  draw() {
    const { rowHeight, make, write } = this.options;
    const seen = Math.ceil(this.seenPx / rowHeight) + 2 * SPARE_ROWS;
    while (this.pool.length < Math.min(seen, this.rows)) {
      const element = make();
      this.pool.push(element);
      this.inner.append(element);
    }
    while (this.pool.length > seen) this.pool.pop()?.remove();
    // Elements change their rows when their number changes.
    const top = this.first;
    const from = Math.max(0, Math.min(Math.floor(top) - SPARE_ROWS, this.rows - this.pool.length));
    const shift = this.rows * rowHeight <= HEIGHT_MAX_PX ? 0 : this.box.scrollTop - top * rowHeight;
    for (let i = 0; i < this.pool.length; i += 1) {
      const row = from + i;
      const element = this.pool[row % this.pool.length];
      const isShown = row < this.rows;
      element.hidden = !isShown;
      if (!isShown) continue;
      const stamp = `${row}/${this.version}/${row === this.active ? 1 : 0}`;
      if (element.dataset.stamp !== stamp) {
        element.dataset.stamp = stamp;
        element.setAttribute("aria-rowindex", String(row + 2));
        element.classList.toggle("active", row === this.active);
        element.id = `${this.box.id}-row-${row}`;
        write(element, row, row === this.active);
      }
      element.style.transform = `translateY(${row * rowHeight + shift}px)`;
    }
    // A row that is scrolled away has no element.
    if (this.active >= from && this.active < from + this.pool.length) this.box.setAttribute("aria-activedescendant", `${this.box.id}-row-${this.active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  /** Makes `row` the active one and brings it into view. @param {number} row @param {"key" | "click" | null} by */
  activate(row, by = null) {
    if (this.rows === 0) return;
    const next = Math.max(0, Math.min(row, this.rows - 1));
    const hasChanged = next !== this.active;
    this.active = next;
    const seen = this.seenPx / this.options.rowHeight;
    if (next < this.first) this.scrollTo(by === null ? Math.max(0, next - seen / 3) : next);
    else if (next + 1 > this.first + seen) this.scrollTo(by === null ? next - seen / 3 : next + 1 - seen);
    this.draw();
    if (by !== null && hasChanged) this.options.onActive?.(next, by);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const element = target.closest("[data-stamp]");
    if (!(element instanceof HTMLElement) || target.closest("a, button") !== null) return;
    this.activate(Number(element.dataset.stamp?.split("/")[0]), "click");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.target !== this.box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.options.onKey?.(event, this.active) === true) {
      event.preventDefault();
      return;
    }
    const page = Math.max(1, Math.floor(this.seenPx / this.options.rowHeight) - 1);
    const moves = /** @type {Record<string, number>} */ ({
      j: this.active + 1, ArrowDown: this.active + 1, k: this.active - 1, ArrowUp: this.active - 1,
      PageDown: this.active + page, PageUp: this.active - page, Home: 0, End: this.rows - 1,
    });
    if (event.key in moves) this.activate(moves[event.key], "key");
    else if (event.key === "Enter" && this.active >= 0) this.options.onOpen?.(this.active);
    else return;
    event.preventDefault();
  }

  destroy() {
    this.watcher.disconnect();
  }
}

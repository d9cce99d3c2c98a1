// The waterfall: a tree grid of the rows that are seen, each with its bar in time.

import { newId, h } from "../parts/dom.js";
import { NARROW } from "../parts/list.js";
import { VirtualRows } from "../parts/virtual-rows.js";
import { oneLine } from "../state/text.js";
import { duration } from "../state/units.js";
import { MARK, STATUS_ERROR } from "./trace-model.js";

const ROW_PX = 26;
const NARROW_ROW_PX = 44;
const INDENT_PX = 14;
const INDENTS_MAX = 24;

/** @typedef {import("./trace-model.js").TraceModel} TraceModel */

/**
 * @param {{
 *   model: TraceModel, zoom: () => [number, number], toggle: (row: number) => void, matches: () => Set<number>,
 *   onActive: (place: number) => void, onKey: (event: KeyboardEvent, place: number) => boolean,
 * }} options
 */
export function waterfall(options) {
  const { model } = options;
  const axis = h("span.axis-cell", { role: "columnheader" });
  const head = h("div.wf-head", { role: "row", "aria-rowindex": "1" }, h("span.name-cell", { role: "columnheader" }, "Service and operation"), axis);
  const box = h("div.waterfall", { role: "treegrid", "aria-label": "Spans", id: newId("waterfall") }, head);
  const isNarrow = matchMedia(NARROW);
  const rows = new VirtualRows({
    box, rowHeight: isNarrow.matches ? NARROW_ROW_PX : ROW_PX, make, onActive: (place) => options.onActive(place), onKey: options.onKey,
    onOpen: (place) => options.onActive(place),
    write: (element, place) => {
      const entry = model.seen[place];
      element.classList.toggle("is-record", entry < 0);
      if (entry < 0) writeRecord(element, model, -1 - entry, options.zoom());
      else writeSpan(element, model, entry, options.zoom(), options.matches());
    },
  });
  isNarrow.addEventListener("change", () => {
    rows.options.rowHeight = isNarrow.matches ? NARROW_ROW_PX : ROW_PX;
    show();
  });
  box.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest(".fold");
    if (button instanceof HTMLElement && button.dataset.row !== undefined) options.toggle(Number(button.dataset.row));
  });

  const show = () => {
    box.setAttribute("aria-rowcount", String(model.seenCount + 1));
    drawAxis(axis, options.zoom());
    rows.show(model.seenCount);
  };
  return { element: box, rows, show };
}

function make() {
  return h("div.wf-row", { role: "row" },
    h("span.name-cell", { role: "gridcell" }, h("button.fold", { type: "button", tabIndex: -1 }), h("span.swatch"), h("b.service"), h("span.op"), h("span.flags")),
    h("span.bar-cell", { role: "gridcell" }, h("span.bar"), h("span.path"), h("span.dots"), h("span.label")));
}

/** @param {HTMLElement} element */
function partsOf(element) {
  const [name, bar] = /** @type {HTMLElement[]} */ ([...element.children]);
  return { name: /** @type {HTMLElement[]} */ ([...name.children]), bar: /** @type {HTMLElement[]} */ ([...bar.children]), nameCell: name };
}

/** @param {HTMLElement} element @param {TraceModel} model @param {number} row @param {[number, number]} zoom @param {Set<number>} matches */
function writeSpan(element, model, row, zoom, matches) {
  const { name, bar, nameCell } = partsOf(element);
  const [fold, swatch, service, op, flags] = name;
  const hasChildren = model.hasChildren(row);
  const isShut = model.shut[row] === 1;
  const colour = model.colourOf(row);
  nameCell.style.paddingLeft = `${6 + Math.min(model.depth[row], INDENTS_MAX) * INDENT_PX}px`;
  fold.hidden = !hasChildren;
  fold.dataset.row = String(row);
  fold.textContent = isShut ? "▸" : "▾";
  fold.setAttribute("aria-label", isShut ? `Unfold ${model.end[row] - row - 1} spans` : "Fold");
  nameCell.classList.toggle("leaf", !hasChildren);
  swatch.className = `swatch s${colour}`;
  service.textContent = oneLine(model.serviceOf(row) || "(no service)", 60);
  op.textContent = oneLine(model.nameOf(row), 200);
  flags.textContent = flagsOf(model, row, isShut);
  flags.className = model.status[row] === STATUS_ERROR ? "flags worse" : "flags";
  element.setAttribute("aria-level", String(model.depth[row] + 1));
  if (hasChildren) element.setAttribute("aria-expanded", String(!isShut));
  else element.removeAttribute("aria-expanded");
  element.classList.toggle("match", matches.has(row));
  element.classList.toggle("is-error", model.status[row] === STATUS_ERROR);
  element.title = "";
  nameCell.title = `${service.textContent} ${op.textContent}`;
  writeBar(bar, model, row, zoom, colour);
}

/** @param {TraceModel} model @param {number} row @param {boolean} isShut */
function flagsOf(model, row, isShut) {
  const words = [];
  if (model.status[row] === STATUS_ERROR) words.push("▲ error");
  if (isShut) words.push(`+${model.end[row] - row - 1}`);
  if (model.marks[row] & MARK.orphan) words.push("┄ parent missing");
  if (model.marks[row] & MARK.cycle) words.push("┄ its parents form a circle");
  if (model.marks[row] & MARK.early) words.push("┄ starts before its parent");
  if (model.marks[row] & MARK.links) words.push("↗");
  return words.join("  ");
}

/** @param {HTMLElement[]} parts @param {TraceModel} model @param {number} row @param {[number, number]} zoom @param {number} colour */
function writeBar(parts, model, row, zoom, colour) {
  const [bar, path, dots, label] = parts;
  const length = model.duration[row];
  const isKnown = Number.isFinite(length);
  const { left, width } = placed(model.start[row], model.start[row] + Math.max(0, isKnown ? length : 0), zoom);
  bar.className = `bar s${colour}${model.marks[row] & (MARK.early | MARK.cycle) ? " dashed" : ""}`;
  bar.hidden = width < 0;
  bar.style.left = `${left}%`;
  bar.style.width = `${Math.max(0, width)}%`;
  const critical = model.critical.get(row);
  path.hidden = critical === undefined;
  path.replaceChildren(...(critical ?? []).map(([from, to]) => {
    const part = placed(from, to, zoom);
    return h("i", { style: { left: `${part.left}%`, width: `${Math.max(0, part.width)}%` } });
  }).slice(0, 50));
  dots.replaceChildren(...(model.recordsOf.get(row) ?? []).slice(0, 50).map((index) => {
    const record = model.records[index];
    const { left: x, width: seen } = placed(record.at, record.at, zoom);
    return h(`i.${record.kind}${levelClass(record.level)}`, { hidden: seen < 0, style: { left: `${x}%` } }, record.kind === "log" ? "◆" : "●");
  }));
  label.textContent = isKnown ? duration(length) : "no end";
  placeLabel(label, left, Math.max(0, width));
}

/** A label stands behind its bar, or before it where there is more room. @param {HTMLElement} label @param {number} left @param {number} width */
function placeLabel(label, left, width) {
  const isAfter = left + width < 78;
  label.classList.toggle("inside", !isAfter && left < 22);
  label.style.left = isAfter ? `${left + width}%` : "";
  label.style.right = isAfter ? "" : left < 22 ? `${Math.max(0, 100 - left - width)}%` : `${100 - left}%`;
}

/** Per cent of the cell; a width below zero is out of sight. @param {number} from @param {number} to @param {[number, number]} zoom */
function placed(from, to, zoom) {
  const length = zoom[1] - zoom[0];
  if (to < zoom[0] || from > zoom[1]) return { left: from > zoom[1] ? 100 : 0, width: -1 };
  const left = Math.max(0, ((from - zoom[0]) / length) * 100);
  return { left, width: Math.min(100, ((to - zoom[0]) / length) * 100) - left };
}

/** @param {HTMLElement} element @param {TraceModel} model @param {number} index @param {[number, number]} zoom */
function writeRecord(element, model, index, zoom) {
  const { name, bar, nameCell } = partsOf(element);
  const [fold, swatch, service, op, flags] = name;
  const record = model.records[index];
  nameCell.style.paddingLeft = `${6 + Math.min(model.depth[record.row] + 1, INDENTS_MAX) * INDENT_PX}px`;
  nameCell.classList.add("leaf");
  fold.hidden = true;
  swatch.className = `record-sign ${record.kind}${levelClass(record.level)}`.replaceAll(".", " ");
  service.textContent = record.kind === "log" ? record.level || "log" : "event";
  op.textContent = oneLine(record.text, 300);
  flags.textContent = "";
  nameCell.title = op.textContent ?? "";
  element.setAttribute("aria-level", String(model.depth[record.row] + 2));
  element.removeAttribute("aria-expanded");
  element.classList.remove("match", "is-error");
  const [line, path, dots, label] = bar;
  const { left, width } = placed(record.at, record.at, zoom);
  line.hidden = true;
  path.hidden = true;
  dots.replaceChildren(h(`i.${record.kind}${levelClass(record.level)}`, { hidden: width < 0, style: { left: `${left}%` } }, record.kind === "log" ? "◆" : "●"));
  label.textContent = `+${duration(record.at)}`;
  placeLabel(label, left, 0.6);
}

/** @param {string} level */
function levelClass(level) {
  return ["WARN", "ERROR", "FATAL"].includes(level) ? `.${level.toLowerCase()}` : "";
}

/** @param {HTMLElement} cell @param {[number, number]} zoom */
function drawAxis(cell, zoom) {
  const parts = matchMedia(NARROW).matches ? 2 : 4;
  cell.replaceChildren(...Array.from({ length: parts + 1 }, (_, i) => {
    const at = zoom[0] + ((zoom[1] - zoom[0]) * i) / parts;
    const words = at === 0 ? "0" : duration(at);
    return h(`span.tick${i === 0 ? ".first" : i === parts ? ".last" : ""}`, { style: { left: `${(i / parts) * 100}%` } }, words);
  }));
}

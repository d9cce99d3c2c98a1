// All spans of a trace as one small picture, and the part of the time that the waterfall shows. A drag over it chooses
// another part.

import { h } from "../parts/dom.js";
import { STATUS_ERROR } from "./trace-model.js";

const HEIGHT = 56;
const DRAG_MIN_PX = 4;

/** @param {{choose: (from: number, to: number) => void}} options times as offsets in nanoseconds */
export function minimap(options) {
  const canvas = /** @type {HTMLCanvasElement} */ (h("canvas.minimap-picture", { "aria-hidden": "true" }));
  const window = h("div.minimap-window");
  const element = h("div.minimap", { title: "Drag to zoom" }, canvas, window);
  /** @type {import("./trace-model.js").TraceModel | null} */
  let model = null;
  let [from, to] = [0, 1];
  let begun = -1;

  const draw = () => {
    if (model === null || element.clientWidth === 0) return;
    performance.mark("minimap-begin");
    const width = element.clientWidth;
    canvas.width = width;
    canvas.height = HEIGHT;
    paint(canvas, model);
    performance.measure("minimap", "minimap-begin");
    show(from, to);
  };

  /** @param {number} begin @param {number} end */
  const show = (begin, end) => {
    [from, to] = [begin, end];
    const length = model?.length ?? 1;
    window.style.left = `${(begin / length) * 100}%`;
    window.style.width = `${Math.max(0.2, ((end - begin) / length) * 100)}%`;
    window.hidden = begin <= 0 && end >= length;
  };

  const at = (/** @type {PointerEvent} */ event) => {
    const box = element.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * (model?.length ?? 1);
  };
  let beganX = 0;
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    begun = at(event);
    beganX = event.clientX;
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (begun < 0) return;
    const [low, high] = [Math.min(begun, at(event)), Math.max(begun, at(event))];
    window.hidden = false;
    window.style.left = `${(low / (model?.length ?? 1)) * 100}%`;
    window.style.width = `${((high - low) / (model?.length ?? 1)) * 100}%`;
  });
  element.addEventListener("pointerup", (event) => {
    if (begun < 0) return;
    const [low, high] = [Math.min(begun, at(event)), Math.max(begun, at(event))];
    begun = -1;
    if (Math.abs(event.clientX - beganX) >= DRAG_MIN_PX) options.choose(low, high);
    else show(from, to);
  });
  new ResizeObserver(draw).observe(element);
  addEventListener("broadloom-theme", draw);
  return {
    element, show,
    close: () => removeEventListener("broadloom-theme", draw),
    /** @param {import("./trace-model.js").TraceModel} next */
    picture(next) {
      model = next;
      draw();
    },
  };
}

/** @param {HTMLCanvasElement} canvas @param {import("./trace-model.js").TraceModel} model */
function paint(canvas, model) {
  const context = canvas.getContext("2d");
  if (context === null) return;
  const { width, height } = canvas;
  const colours = palette(canvas);
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = width / model.length;
  const band = Math.max(1, Math.min(4, Math.floor(height / model.loaded)));
  /** @type {number[]} */
  const ofString = [];
  for (let row = 0; row < model.loaded; row += 1) {
    const y = Math.floor((row * (height - band + 1)) / model.loaded);
    const x = Math.max(0, Math.min(width - 1, Math.floor(model.start[row] * scale)));
    const end = Math.min(width, Math.max(x + 1, Math.ceil((model.start[row] + (model.duration[row] || 0)) * scale)));
    const service = model.service[row];
    ofString[service] ??= colours.services[model.colourOf(row)];
    const colour = model.status[row] === STATUS_ERROR ? colours.error : ofString[service];
    const rows = Math.max(1, band - (band > 2 ? 1 : 0));
    for (let line = y; line < Math.min(height, y + rows); line += 1) pixels.fill(colour, line * width + x, line * width + end);
  }
  context.putImageData(image, 0, 0);
}

/** Colours of the theme as the pixels of an image have them. @param {HTMLElement} element */
function palette(element) {
  const probe = h("span");
  element.parentElement?.append(probe);
  const pixel = (/** @type {string} */ name) => {
    probe.style.color = `var(${name})`;
    const [r, g, b] = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? ["0", "0", "0"]).map(Number);
    return (255 << 24) | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r);
  };
  const services = Array.from({ length: 12 }, (_, i) => pixel(`--s${i}`));
  const error = pixel("--error");
  probe.remove();
  return { services, error };
}

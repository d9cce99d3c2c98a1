// Small lines: the course of one figure over the range, without axes. The figure itself stands beside it.

import { h } from "./dom.js";

const [WIDTH, HEIGHT] = [60, 20];

/**
 * @param {(number | null)[]} values from left to right; null where there is nothing
 * @param {"plain" | "error"} kind
 */
export function spark(values, kind) {
  const canvas = /** @type {HTMLCanvasElement} */ (h(`canvas.spark.${kind}`, { "aria-hidden": "true" }));
  const ratio = Math.max(1, devicePixelRatio);
  canvas.width = WIDTH * ratio;
  canvas.height = HEIGHT * ratio;
  requestAnimationFrame(() => draw(canvas, values, ratio));
  return canvas;
}

/** @param {HTMLCanvasElement} canvas @param {(number | null)[]} values @param {number} ratio */
function draw(canvas, values, ratio) {
  const context = canvas.getContext("2d");
  if (context === null || values.length === 0) return;
  const style = getComputedStyle(canvas);
  context.scale(ratio, ratio);
  const max = Math.max(...values.map((value) => value ?? 0));
  const step = WIDTH / values.length;
  context.fillStyle = style.color;
  values.forEach((value, i) => {
    if (value === null || value === 0 || max === 0) return;
    const height = Math.max(1, (value / max) * (HEIGHT - 1));
    context.globalAlpha = 0.75;
    context.fillRect(i * step, HEIGHT - height, Math.max(1, step - 0.75), height);
  });
  context.globalAlpha = 0.35;
  context.fillRect(0, HEIGHT - 0.75, WIDTH, 0.75);
}

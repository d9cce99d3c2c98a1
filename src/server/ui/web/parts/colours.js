// Colours of the style sheet for canvases, and word when they change.

import { h } from "./dom.js";

/**
 * Colours of classes, as the browser calculates them: of variables it tells only the text.
 * @param {HTMLElement} place within which the classes are looked at @param {string[]} classes
 * @returns {[number, number, number][]}
 */
export function coloursOfClasses(place, classes) {
  const probe = h("i");
  probe.hidden = true;
  place.append(probe);
  const found = classes.map((name) => {
    probe.className = name;
    const [r, g, b] = (getComputedStyle(probe).color.match(/[\d.]+/g) ?? []).map(Number);
    return /** @type {[number, number, number]} */ ([r ?? 0, g ?? 0, b ?? 0]);
  });
  probe.remove();
  return found;
}

/** A colour of an ordered ramp; 0 is its first, 1 its last one. @param {[number, number, number][]} ramp @param {number} share */
export function onRamp(ramp, share) {
  const at = Math.max(0, Math.min(1, share)) * (ramp.length - 1);
  const [low, part] = [Math.min(ramp.length - 2, Math.floor(at)), at - Math.min(ramp.length - 2, Math.floor(at))];
  return ramp[low].map((value, i) => Math.round(value + (ramp[low + 1][i] - value) * part));
}

/** Calls `changed` when the theme is another one. @param {() => void} changed @returns {() => void} ends it */
export function onTheme(changed) {
  const watcher = new MutationObserver(changed);
  watcher.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", changed);
  return () => {
    watcher.disconnect();
    dark.removeEventListener("change", changed);
  };
}

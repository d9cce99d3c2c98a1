// The banner that says that the server cannot be reached. It looks again, less and less often, and what is on the page
// stays usable.

import { fill, h } from "./dom.js";

const FIRST_WAIT_MS = 1000;
const WAIT_MAX_MS = 15_000;

/**
 * @param {(watcher: (isReachable: boolean) => void) => void} watch
 * @param {() => void} back called when the server answers again
 */
export function banner(watch, back) {
  const place = /** @type {HTMLElement} */ (document.getElementById("gone"));
  let wait = FIRST_WAIT_MS;
  let timer = 0;
  let isGone = false;

  const look = async () => {
    clearTimeout(timer);
    const isThere = await fetch("/healthz", { cache: "no-store" }).then((response) => response.ok).catch(() => false);
    if (isThere) return found(true);
    wait = Math.min(wait * 2, WAIT_MAX_MS);
    timer = setTimeout(look, wait);
  };

  /** @param {boolean} isReachable */
  const found = (isReachable) => {
    if (isReachable && isGone) {
      isGone = false;
      clearTimeout(timer);
      place.replaceChildren();
      back();
    } else if (!isReachable && !isGone) {
      isGone = true;
      wait = FIRST_WAIT_MS;
      const button = h("button.tool", { type: "button", onclick: () => void look() }, "Try now");
      fill(place, h("div.note.problem", { role: "alert" }, h("span", null, h("strong", null, "▲ The server cannot be reached."), " Trying again by itself."), button));
      timer = setTimeout(look, wait);
    }
  };
  watch(found);
}

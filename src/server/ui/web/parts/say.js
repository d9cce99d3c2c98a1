// Short confirmations, for eyes at the bottom of the page and for screen readers. Never errors: those have a place.

const SHOWN_MS = 2500;
let timer = 0;

/** @param {string} text */
export function say(text) {
  const place = /** @type {HTMLElement} */ (document.getElementById("said"));
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => place.classList.remove("shown"), SHOWN_MS);
}

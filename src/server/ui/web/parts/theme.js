// Light, dark, or as the system says.

import { h } from "./dom.js";
import { say } from "./say.js";

const ORDER = ["system", "light", "dark"];
/** @type {Record<string, string>} */
const WORDS = { system: "as the system says", light: "light", dark: "dark" };

export function themeButton() {
  const button = h("button.icon", { type: "button", title: "Theme", onclick: () => next() }, "◐");
  const label = () => button.setAttribute("aria-label", `Theme: ${WORDS[chosen()]}`);
  const next = () => {
    const theme = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
    localStorage.setItem("broadloom.theme", theme);
    document.documentElement.dataset.theme = theme;
    label();
    say(`Theme: ${WORDS[theme]}`);
    dispatchEvent(new Event("broadloom-theme"));
  };
  label();
  return button;
}

function chosen() {
  const theme = document.documentElement.dataset.theme ?? "system";
  return ORDER.includes(theme) ? theme : "system";
}

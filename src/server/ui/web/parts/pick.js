// A button that opens a list of texts, one of which is used.

import { h } from "./dom.js";

/**
 * @param {string} words @param {() => {text: string, element: Node}[]} choices
 * @param {(text: string) => void} use @param {string} none what to say when there is nothing to choose
 */
export function pickButton(words, choices, use, none) {
  const button = h("button.tool", { type: "button", "aria-haspopup": "dialog", onclick: () => open() }, words);
  const open = () => {
    const all = choices();
    const items = all.map(({ text, element }) => h("li", null, h("button", { type: "button", onclick: () => (dialog.close(), use(text)) }, element)));
    const dialog = /** @type {HTMLDialogElement} */ (h(
      "dialog.pick-dialog", { "aria-label": words, onclose: () => dialog.remove() },
      h("header", null, h("h2", null, words), h("button.icon", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
      items.length === 0 ? h("p.empty", null, none) : h("ul", null, ...items)));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    dialog.showModal();
  };
  return button;
}

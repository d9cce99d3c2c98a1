// Copies text. Over plain http:// from another machine browsers have no clipboard API, so an old way is kept, and
// when that fails too the text stands selected in a dialog.

import { h } from "./dom.js";
import { say } from "./say.js";

/** @param {string} text @param {string} what for the message: "Link copied" */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied`);
  } catch {
    if (copyBySelection(text)) say(`${what} copied`);
    else offer(text, what);
  }
}

/** @param {string} text */
function copyBySelection(text) {
  const field = h("textarea.off-screen", { value: text, "aria-hidden": "true" });
  document.body.append(field);
  const before = document.activeElement;
  /** @type {HTMLTextAreaElement} */ (field).select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return isCopied;
}

/** @param {string} text @param {string} what */
function offer(text, what) {
  const field = h("textarea", { value: text, readOnly: true, rows: 4, "aria-label": what });
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = /** @type {HTMLDialogElement} */ (
    h("dialog.small-dialog", { onclose: () => dialog.remove() }, h("p", null, `${what}: copy with Ctrl+C`), field, close)
  );
  document.body.append(dialog);
  dialog.showModal();
  /** @type {HTMLTextAreaElement} */ (field).select();
}

/** @param {string} name @param {string} type @param {string} text */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Signing in with a key, where the server needs one, and out again. The server keeps the session in a cookie that no
// script can read.

import { fill, h, newId } from "./dom.js";
import { say } from "./say.js";

/** @type {Promise<void> | null} */
let asking = null;

/** Asks for a key until the server takes one. Requests that need one meanwhile wait for the same answer. */
export function signIn() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

/** @returns {Promise<void>} */
function ask() {
  return new Promise((resolve) => {
    const id = newId("key");
    const input = /** @type {HTMLInputElement} */ (h("input", {
      id, type: "password", required: true, autocomplete: "current-password", placeholder: "bl_…", spellcheck: false,
    }));
    const wrong = h("p.sign-in-wrong", { role: "alert" });
    const button = /** @type {HTMLButtonElement} */ (h("button.primary", { type: "submit" }, "Sign in"));
    const send = async () => {
      button.disabled = true;
      fill(wrong);
      const problem = await begin(input.value.trim());
      button.disabled = false;
      if (problem !== null) {
        fill(wrong, problem);
        input.select();
        return;
      }
      dialog.close();
      dialog.remove();
      resolve();
      dispatchEvent(new Event("broadloom-signed-in"));
    };
    const dialog = /** @type {HTMLDialogElement} */ (h(
      "dialog.sign-in", { "aria-label": "Sign in", oncancel: (/** @type {Event} */ event) => event.preventDefault() },
      h("h2", null, "Sign in"),
      h("p", null, "This server needs a key. ", h("code", null, "broadloom key create"), " makes one."),
      h("form", { onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        void send();
      } }, h("label", { htmlFor: id }, "Key"), input, button),
      wrong,
    ));
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}

/** @param {string} key @returns {Promise<string | null>} what is wrong, or null */
async function begin(key) {
  try {
    const options = { method: "POST", body: JSON.stringify({ key }), headers: { "content-type": "application/json" } };
    const response = await fetch("/v1/session", options);
    if (response.ok) return null;
    const problem = await response.json().catch(() => ({}));
    return problem.detail ?? `The server answered ${response.status}`;
  } catch {
    return "The server cannot be reached";
  }
}

/** A button that names the user and signs out; hidden where no key is needed. */
export function signOutButton() {
  const button = h("button.icon.sign-out", { type: "button", hidden: true, onclick: () => void end() }, "⏏");
  const look = async () => {
    const response = await fetch("/v1/session").catch(() => null);
    const user = response?.ok === true ? await response.json() : null;
    button.hidden = user === null || user.name === null;
    const words = button.hidden ? "" : `Sign out ${user.name}`;
    button.setAttribute("aria-label", words);
    button.title = words;
  };
  const end = async () => {
    await fetch("/v1/session", { method: "DELETE" }).catch(() => null);
    say("Signed out");
    await look();
    void signIn();
  };
  addEventListener("broadloom-signed-in", () => void look());
  void look();
  return button;
}

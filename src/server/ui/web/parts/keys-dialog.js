// All keys of the page.

import { h } from "./dom.js";

/** @type {[string, [string, string][]][]} */
const KEYS = [
  ["Everywhere", [
    ["Ctrl K", "go to a trace, a span or text"], ["g o", "overview"], ["g e", "explore"], ["g t", "traces"], ["g l", "logs"], ["g s", "SQL"],
    ["g a", "attributes"], ["g i", "status"], ["y", "copy the link"], ["v", "SQL of a panel"], ["u", "times in UTC or local"], [".", "what can be done with a value"], ["x", "without this value"], ["Esc", "cancel a request"], ["?", "these keys"],
  ]],
  ["Time range", [["r", "to now"], ["[ ]", "back, forward"], ["- +", "double, halve"]]],
  ["Lists and waterfall", [
    ["j k", "down, up"], ["PgUp PgDn Home End", "move further"], ["Enter", "open"], ["/", "condition, find in trace"], ["Space", "hold what comes, or go on"],
  ]],
  ["Waterfall", [
    ["→ ←", "unfold, fold; else child, parent"], ["n N", "next, previous match"], ["e E", "next, previous error"],
    ["z 0", "zoom to the row, to all"], ["c", "critical path"], ["d", "compare with another trace"],
  ]],
  ["Explore", [
    ["Ctrl Enter", "run"], ["h", "to the heat map"], ["← ↑ ↓ →", "cell"], ["Shift →", "select more cells"], ["Enter", "what is different about them"],
    ["t", "trace of the cell"], ["T", "cells as a table"], ["Esc", "clear the selection"],
  ]],
  ["SQL", [["Ctrl Enter", "run"], ["Ctrl Space", "complete"]]],
];

export function keysDialog() {
  const groups = KEYS.map(([title, keys]) => h("section", null, h("h3", null, title), h("dl", null, ...keys.flatMap(([key, words]) => [
    h("dt", null, ...key.split(" ").map((one) => h("kbd", null, one))), h("dd", null, words),
  ]))));
  const dialog = /** @type {HTMLDialogElement} */ (h(
    "dialog.keys-dialog", { "aria-label": "Keys", onclose: () => dialog.remove() },
    h("header", null, h("h2", null, "Keys"), h("button.icon", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
    h("div.key-groups", null, ...groups),
  ));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

// Chooses the time range of a page: usual lengths, a start and an end, a step back or forward, the zone.

import { CHOICES, absolute, edgesOf, parseSpan, rangeOf, shifted, spanWords } from "../state/range.js";
import { chooseZone, clockOf, dateOf, isoOf, localZone, now, parseLocal, zone } from "../state/time.js";
import { fill, h } from "./dom.js";

/** @typedef {{params: () => URLSearchParams, set: (changes: Record<string, string | null>) => void, redraw: () => void}} Frame */

/** Parameters that put the end of the range at now. @param {URLSearchParams} params */
export function toNow(params) {
  const t = params.get("t");
  return { t: t !== null && t.includes("..") ? null : t, at: isoOf(now()) };
}

/** @param {Frame} frame */
export function rangePicker(frame) {
  const button = h("button.range-button", { type: "button", "aria-haspopup": "dialog", onclick: () => open(frame) });
  const step = (/** @type {number} */ by) => () => {
    const range = rangeOf(frame.params());
    if (range !== null) frame.set(shifted(range, by));
  };
  const element = h(
    "div.range", { role: "group", "aria-label": "Time range" },
    h("button.step", { type: "button", "aria-label": "Earlier", title: "Earlier  [", onclick: step(-1) }, "‹"),
    button,
    h("button.step", { type: "button", "aria-label": "Later", title: "Later  ]", onclick: step(1) }, "›"),
    h("button.step", { type: "button", "aria-label": "To now", title: "To now  r", onclick: () => frame.set(toNow(frame.params())) }, "↻"),
  );
  const update = () => {
    const range = rangeOf(frame.params());
    fill(button, ...(range === null ? ["Range?"] : [range.words, h("span.edges", null, edgesOf(range))]));
  };
  return { element, update };
}

/** @param {Frame} frame */
function open(frame) {
  const range = rangeOf(frame.params());
  const show = (/** @type {bigint | undefined} */ ns) => (ns === undefined ? "" : `${dateOf(ns)} ${clockOf(ns, 0)}`);
  const from = /** @type {HTMLInputElement} */ (h("input", { value: show(range?.from), spellcheck: false }));
  const to = /** @type {HTMLInputElement} */ (h("input", { value: show(range?.to), spellcheck: false }));
  const wrong = h("p.field-error", { role: "alert" });
  const choose = (/** @type {string} */ t) => () => (dialog.close(), frame.set({ t, at: isoOf(now()) }));
  const chosen = frame.params().get("t") ?? "1h";
  const usual = CHOICES.map((t) =>
    h("button", { type: "button", "aria-pressed": String(t === chosen), onclick: choose(t) }, spanWords(/** @type {bigint} */ (parseSpan(t)))),
  );
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const [begin, end] = [parseLocal(from.value), parseLocal(to.value)];
    if (begin === null || end === null) wrong.textContent = "Write times as 2026-11-29 14:00 or 2026-11-29 14:00:30.";
    else if (begin >= end) wrong.textContent = "The end must be after the start.";
    else {
      dialog.close();
      frame.set(absolute(begin, end));
    }
  };
  const dialog = /** @type {HTMLDialogElement} */ (h(
    "dialog.range-dialog", { "aria-label": "Time range", onclose: () => dialog.remove() },
    h("h2", null, "Last"), h("div.choices", null, ...usual),
    h("form", { onsubmit: submit },
      h("h2", null, "From – to"),
      h("label", null, "From", from), h("label", null, "To", to), zoneField(frame), wrong,
      h("div.buttons", null, h("button.primary", { type: "submit" }, "Apply"), h("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    ),
  ));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {Frame} frame */
function zoneField(frame) {
  const names = [...new Set([zone(), localZone(), "UTC", ...Intl.supportedValuesOf("timeZone")])];
  const choice = /** @type {HTMLSelectElement} */ (h("select", null, ...names.map((name) => {
    const words = name === localZone() ? `${name} (this browser)` : name;
    return h("option", { value: name, selected: name === zone() }, words);
  })));
  choice.addEventListener("change", () => {
    chooseZone(choice.value === localZone() ? "local" : choice.value);
    frame.redraw();
  });
  return h("label", null, "Times are shown in", choice);
}

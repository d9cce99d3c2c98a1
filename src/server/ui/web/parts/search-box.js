// The box at the top: an id, or text that contains one, goes to the trace; other text is looked for in logs.

import { ask } from "../data/sql.js";
import { findId } from "../state/ids.js";
import { addressOf, rangeParams } from "../state/address.js";
import { literalOf } from "../state/where.js";
import { h } from "./dom.js";

/** @param {{params: () => URLSearchParams, go: (address: string) => void}} frame */
export function searchBox(frame) {
  const input = /** @type {HTMLInputElement} */ (h("input", {
    type: "search", "aria-label": "Trace id, span id or text", placeholder: "Trace id or text", spellcheck: false,
    autocomplete: "off", enterKeyHint: "go",
  }));
  const hint = h("kbd", { "aria-hidden": "true" }, "Ctrl K");
  const said = h("p.search-said", { role: "status" });
  const form = h("form.search", { role: "search" }, input, hint, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void open();
  });
  const open = async () => {
    const found = findId(input.value);
    said.textContent = "";
    if (found.kind === "none") return;
    if (found.kind === "trace") go(traceAddress(found.trace, found.span));
    else if (found.kind === "text") {
      const text = found.text.replace(/[\\%_]/g, "\\$&");
      go(addressOf("/logs", { where: `body ilike ${literalOf(`%${text}%`)}`, ...rangeParams(frame.params()) }));
    } else await openSpan(found.span);
  };
  const openSpan = async (/** @type {string} */ span) => {
    const sql = `select trace_id from events where span_id = '${span}' and trace_id is not null limit 1`;
    try {
      const answer = await ask(sql, { fresh: true });
      if (answer.rows > 0) go(traceAddress(String(answer.data[0][0]), span));
      else said.textContent = `No span has the id ${span}.`;
    } catch (error) {
      said.textContent = error instanceof Error ? error.message : String(error);
    }
  };
  const go = (/** @type {string} */ address) => {
    input.value = "";
    input.blur();
    frame.go(address);
  };
  return { element: form, focus: () => (input.focus(), input.select()) };
}

/** @param {string} trace @param {string | null} span */
export function traceAddress(trace, span) {
  return addressOf(`/trace/${trace}`, { span });
}

// A dialog that chooses the trace to compare one with: a typical one of the same operation, or any by its id.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { sqlAddress } from "../state/address.js";
import { findId } from "../state/ids.js";
import { clockOf, dateOf, parseInstant, zoneName } from "../state/time.js";
import { comparable } from "../state/trace-diff.js";
import { duration, plural } from "../state/units.js";
import { oneLine } from "../state/text.js";
import { fill, h } from "./dom.js";
import { problemNote } from "./panel.js";

/** The page that compares two traces. @param {string} a @param {string} b */
export function compareAddress(a, b) {
  return `/trace/${a}/vs/${b}`;
}

/** @param {{trace: string, service: string | null, name: string | null, start: bigint}} of @param {(address: string) => void} go */
export function compareDialog(of, go) {
  const run = new AbortController();
  const place = h("div.compare-choices", null, h("p.dim", null, "Reading …"));
  const field = /** @type {HTMLInputElement} */ (h("input", { type: "text", "aria-label": "Other trace", placeholder: "Trace id, or text that has one", spellcheck: false, autocomplete: "off" }));
  const wrong = h("p.field-error", { role: "alert" });
  const to = (/** @type {string} */ other) => {
    dialog.close();
    go(compareAddress(of.trace, other));
  };
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const found = findId(field.value);
    if (found.kind !== "trace") wrong.textContent = "Write the id of a trace: 32 hexadecimal digits.";
    else if (found.trace === of.trace) wrong.textContent = "That is this trace.";
    else to(found.trace);
  };
  const dialog = /** @type {HTMLDialogElement} */ (h(
    "dialog.pick-dialog.compare-dialog", { "aria-label": "Compare with", onclose: () => (run.abort(), dialog.remove()) },
    h("header", null, h("h2", null, `Compare with another ${oneLine(of.name ?? "trace", 80)}`), h("button.icon", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, "×")),
    place, h("form.compare-form", { onsubmit: submit }, h("label", null, "Another trace", field), h("button.primary", { type: "submit" }, "Compare"), wrong)));

  const look = async (/** @type {boolean} */ isFar) => {
    const sql = comparable(of, isFar);
    const link = h("a.underlined", { href: sqlAddress(sql), onclick: () => dialog.close() }, "SQL");
    try {
      const rows = objects(await ask(sql, { signal: run.signal }));
      const more = isFar ? null : h("button.tool", { type: "button", onclick: () => void look(true) }, "Look at all times");
      const where = isFar ? "" : " within an hour of it";
      if (rows.length === 0) return fill(place, h("p.empty", null, `No other call of this operation${where} that did not fail.`), more);
      fill(place, h("p.dim", null, `${plural(Number(rows[0].calls), "call")} of this operation${where} did not fail. `, link),
        h("ul", null, ...rows.flatMap((row) => choices(row).map((words) => h("li", null, h("button", { type: "button", onclick: () => to(String(row.trace_id)) },
          h("b", null, words), h("span.compare-duration", null, duration(Number(row.duration_ns))), h("code", null, `${timeWords(row.timestamp)}  ${row.trace_id}`)))))), more);
    } catch (error) {
      if (!isGivenUp(error)) fill(place, problemNote(asProblem(error), () => void look(isFar)));
    }
  };

  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  void look(false);
}

/** What a trace is among its like; the typical one first. @param {Record<string, any>} row */
function choices(row) {
  const words = [];
  if (row.is_median) words.push("Typical: median duration");
  if (row.is_last) words.push("The last one before it");
  if (row.is_fastest) words.push("Fastest");
  if (row.is_slowest) words.push("Slowest");
  // One trace is one choice.
  return words.slice(0, 1);
}

/** @param {string} timestamp */
function timeWords(timestamp) {
  const at = parseInstant(timestamp) ?? 0n;
  return `${dateOf(at)} ${clockOf(at, 3)} ${zoneName(at)}`;
}

// One log record with everything it says, and the ways from it: its trace, the records around it.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { addressOf, changed, sqlAddress } from "../state/address.js";
import { eventOf, timeOfEvent } from "../state/records.js";
import * as statements from "../state/statements.js";
import { bothZones, parseInstant } from "../state/time.js";
import { attributeList, fields, valueOf } from "../parts/attribute-list.js";
import { copy } from "../parts/copy.js";
import { fill, h, refill } from "../parts/dom.js";
import { severityWord } from "../parts/log-list.js";
import { problemNote } from "../parts/panel.js";
import { traceAddress } from "../parts/search-box.js";

/** @typedef {import("../state/records.js").LogRecord} LogRecord */

/**
 * The record of an address, with its attributes; null where it is not there any more.
 * @param {string} event @param {AbortSignal} signal @returns {Promise<(LogRecord & Record<string, any>) | null>}
 */
export async function readRecord(event, signal) {
  const time = timeOfEvent(event);
  if (time === null) return null;
  const all = objects(await ask(statements.logDetail(time), { signal }));
  return /** @type {any} */ (all.find((one) => eventOf(/** @type {any} */ (one)) === event)) ?? null;
}

/** @param {{frame: import("../app.js").Frame, close: () => void}} options */
export function logDetail({ frame, close }) {
  const element = h("aside.detail", { "aria-label": "Log record" });
  element.hidden = true;
  let shown = "";
  let reading = new AbortController();

  /** Shows the record of an address, which `known` may have in parts. @param {string} event @param {LogRecord | null} known */
  const show = async (event, known) => {
    const key = `${event} ${isAround(event)}`;
    if (key === shown && !element.hidden) return;
    reading.abort();
    const own = new AbortController();
    reading = own;
    shown = key;
    element.hidden = false;
    const rest = h("div.detail-body", null, h("p.dim", null, "Reading …"));
    fill(element, head(), ...(known === null ? [] : about(known, event)), rest);
    try {
      const record = await readRecord(event, own.signal);
      if (own.signal.aborted) return;
      if (record === null) return fill(rest, h("p.empty", null, "This record is not here. It may have expired, or is of another server."));
      refill(element, head(), ...about(record, event), h("div.detail-body", null, ...everything(record)));
    } catch (error) {
      if (isGivenUp(error)) return;
      shown = "";
      fill(rest, problemNote(asProblem(error), () => void show(event, known)));
    }
  };

  /** Are the records around it shown already? @param {string} event */
  const isAround = (event) => frame.params().get("around") !== null && frame.params().get("event") === event;

  const head = () => h("header", null, h("h2", null, "Log record"), h("button.icon", { type: "button", "aria-label": "Close", onclick: close }, "×"));

  /** @param {LogRecord} record @param {string} event */
  const about = (record, event) => {
    const context = addressOf("/logs", changed(frame.params(), { event, around: "nearest", open: null, patterns: null, live: null }));
    return [
      h("p.times", null, severityWord(record.severity), ...bothZones(parseInstant(record.timestamp) ?? 0n).map((words) => h("span", null, words))),
      h("div.message", { tabIndex: 0 }, valueOf(record.body ?? "")),
      h("div.buttons", null,
        record.trace_id === null ? null : h("a.tool", { href: traceAddress(record.trace_id, record.span_id) }, "Open trace"),
        isAround(event) ? null : h("a.tool", { href: context, title: "The records before and after it" }, "Around it"),
        h("a.tool", { href: sqlAddress(statements.logDetail(record.timestamp)) }, "SQL")),
    ];
  };

  /** @param {Record<string, any>} record */
  const everything = (record) => {
    const core = ["severity_text", "name", "scope.name", "trace_id", "span_id"].map((key) => /** @type {[string, unknown]} */ ([key, record[key === "scope.name" ? "scope" : key]]));
    const known = core.filter(([, value]) => value !== null && value !== undefined && value !== "");
    return [fields(known, "logs", frame), attributeList(record.attributes ?? {}, "logs", frame),
      h("div.buttons", null, h("button.tool", { type: "button", onclick: () => void copy(JSON.stringify(record), "Record") }, "Copy as JSON"))];
  };

  return {
    element, show: (/** @type {string} */ event, /** @type {LogRecord | null} */ known) => void show(event, known),
    hide() {
      reading.abort();
      shown = "";
      element.hidden = true;
    },
  };
}

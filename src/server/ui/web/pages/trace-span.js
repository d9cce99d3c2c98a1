// What is known of one span: times, attributes, events, links, logs.

import { asProblem, isGivenUp, request } from "../data/request.js";
import { addressOf, sqlAddress } from "../state/address.js";
import { eventOf } from "../state/records.js";
import { oneLine } from "../state/text.js";
import { bothZones, parseInstant } from "../state/time.js";
import { duration, percent } from "../state/units.js";
import { attributeList, fields, valueOf } from "../parts/attribute-list.js";
import { copy } from "../parts/copy.js";
import { fill, h } from "../parts/dom.js";
import { problemNote } from "../parts/panel.js";
import { traceAddress } from "../parts/search-box.js";

/**
 * @param {{frame: import("../app.js").Frame, trace: string, model: () => import("./trace-model.js").TraceModel | null,
 *   close: () => void, found: (row: number, span: string) => void, go: (row: number) => void}} options
 */
export function spanDetail(options) {
  const element = h("aside.detail", { "aria-label": "Span" });
  element.hidden = true;
  /** @type {AbortController | null} */
  let run = null;
  // The record to unfold, which may be asked for before the span is read.
  let wanted = -1;

  /** @param {number} row @param {number} record of its records, which is unfolded; -1 for none */
  const show = async (row, record) => {
    const model = options.model();
    if (model === null) return;
    run?.abort();
    const own = new AbortController();
    run = own;
    wanted = record;
    element.hidden = false;
    const body = h("div.detail-body", null, h("p.dim", null, "Reading …"));
    fill(element, head(model, row), body);
    try {
      const path = `/v1/traces/${options.trace}/rows/${row}`;
      const detail = await request(path, { signal: own.signal }, (response) => response.json());
      if (run !== own) return;
      fill(body, ...bodyOf(model, row, detail));
      open(wanted);
      options.found(row, detail.span_id);
    } catch (error) {
      if (run !== own || isGivenUp(error)) return;
      fill(body, problemNote(asProblem(error), () => void show(row, record)));
    }
  };

  /** Unfolds a record and brings it into view. @param {number} record */
  const open = (record) => {
    wanted = record;
    const found = element.querySelectorAll(".records.of-span details")[record];
    if (!(found instanceof HTMLDetailsElement)) return;
    found.open = true;
    found.scrollIntoView({ block: "nearest" });
  };

  /** @param {import("./trace-model.js").TraceModel} model @param {number} row */
  const head = (model, row) => {
    const parent = model.parent[row];
    return h("header", null,
      h("div", null, h("p.dim", null, h(`span.swatch.s${model.colourOf(row)}`), oneLine(model.serviceOf(row) || "(no service)", 60)), h("h2", null, oneLine(model.nameOf(row), 200))),
      h("span.grow"),
      parent < 0 ? null : h("button.tool", { type: "button", onclick: () => options.go(parent) }, "Parent"),
      h("button.icon", { type: "button", "aria-label": "Close", onclick: options.close }, "×"));
  };

  /** @param {import("./trace-model.js").TraceModel} model @param {number} row @param {any} detail */
  const bodyOf = (model, row, detail) => {
    const rows = rowsOf(detail);
    const span = rows.find((one) => one.signal === "span") ?? {};
    const others = rows.filter((one) => one !== span);
    const start = parseInstant(String(span.timestamp ?? "")) ?? 0n;
    const [length, critical] = [model.duration[row], model.criticalTime(row)];
    /** @type {[string, unknown][]} */
    const core = [["kind", span.kind], ["status", span.status], ["status_message", span.status_message], ["span_id", detail.span_id], ["parent_span_id", detail.parent_span_id],
      ["scope.name", span.scope], ["scope.version", span.scope_version], ["trace_state", span.trace_state], ["sample_weight", span.sample_weight === 1 ? null : span.sample_weight]];
    const links = /** @type {any[]} */ (Array.isArray(span.links) ? span.links : []);
    return [
      h("dl.facts", null,
        fact("Starts", `+${duration(model.start[row])}`), fact("Takes", Number.isFinite(length) ? duration(length) : "no end"),
        fact("Itself", model.hasChildren(row) && Number.isFinite(length) ? duration(model.selfTime(row)) : null),
        fact("Critical path", critical > 0 ? `${duration(critical)}, ${percent(critical / model.length)} of the trace` : null)),
      h("p.times", null, ...bothZones(start).map((words) => h("span", null, words))),
      fields(core.filter(([, value]) => value !== null && value !== undefined && value !== ""), "spans", options.frame),
      ...(others.length === 0 ? [] : [h("h3", null, "Logs and events"), h("ul.records.of-span", null, ...others.map((one) => recordOf({ ...one, trace_id: options.trace, span_id: detail.span_id }, start)))]),
      ...(links.length === 0 ? [] : [h("h3", null, "Links"), h("ul.records", null, ...links.map(linkRow))]),
      attributeList(span.attributes ?? {}, "spans", options.frame),
      h("div.buttons", null, h("button.tool", { type: "button", onclick: () => void copy(detail.span_id, "Span id") }, "Copy span id"),
        h("button.tool", { type: "button", onclick: () => void copy(JSON.stringify(span), "Span") }, "Copy as JSON"), h("a.tool", { href: sqlAddress(detail.sql) }, "SQL")),
    ];
  };

  /** @param {any} record @param {bigint} start */
  const recordOf = (record, start) => {
    const at = parseInstant(String(record.timestamp)) ?? start;
    const isLog = record.signal === "log";
    const level = isLog ? String(record.severity ?? "log") : "event";
    const text = isLog ? record.body : record.attributes?.["exception.message"] ?? "";
    return h("li", null, h("details", null,
      h("summary", null, h(`span.sev.${isLog ? level.toLowerCase() : "event"}`, null, oneLine(level, 12)), h("span.dim", null, ` +${duration(Number(at - start))} `), h("span.record-text", null, oneLine(`${isLog ? "" : `${record.name} `}${typeof text === "string" ? text : JSON.stringify(text)}`, 300))),
      isLog ? h("div.message", { tabIndex: 0 }, valueOf(text)) : null,
      isLog ? h("div.buttons", null, h("a.tool", { href: aroundLog(record), title: "The records before and after it" }, "Around it")) : null, attributeList(record.attributes ?? {}, isLog ? "logs" : "spans", options.frame)));
  };

  return {
    element, open, show: (/** @type {number} */ row, /** @type {number} */ record) => void show(row, record),
    hide() {
      run?.abort();
      run = null;
      element.hidden = true;
    },
  };
}

/** The page of the records around a log record. @param {any} record */
function aroundLog(record) {
  const attributes = record.attributes ?? {};
  const log = { ...record, service: attributes["service.name"] ?? null, body: record.body ?? null };
  return addressOf("/logs", { event: eventOf(log), around: "nearest" });
}

/** @param {any} link */
function linkRow(link) {
  const words = `↗ ${String(link.trace_id).slice(0, 8)}… ${link.span_id ?? ""}`;
  return h("li", null, h("a.mono", { href: traceAddress(String(link.trace_id), link.span_id ?? null) }, words));
}

/** @param {string} name @param {string | null} value */
function fact(name, value) {
  return value === null ? null : h("div", null, h("dt", null, name), h("dd", null, value));
}

/** @param {{columns: {name: string}[], data: unknown[][]}} table @returns {any[]} */
function rowsOf(table) {
  const count = table.data[0]?.length ?? 0;
  return Array.from({ length: count }, (_, row) => Object.fromEntries(table.columns.map((column, i) => [column.name, table.data[i][row]])));
}

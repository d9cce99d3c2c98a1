// The attributes of an event, by level, each with its menu.

import { SHOWN_MAX, linkOf, visible } from "../state/text.js";
import { h } from "./dom.js";
import { menuButton, showsValue } from "./value-menu.js";

/** @type {[string, (key: string) => boolean][]} */
const LEVELS = [
  ["Body", (key) => key.startsWith("body.")],
  ["Resource", (key) => key.startsWith("resource.") || RESOURCE.test(key)],
  ["Scope", (key) => key.startsWith("scope.")],
];
// Resource attributes of the semantic conventions; the map of attributes does not say their level.
const RESOURCE = /^(?:service|host|os|process|telemetry|k8s|container|cloud|deployment|faas|device|webengine|aws|gcp|azure|heroku|oci|cgroup)\./;

/**
 * @param {Record<string, unknown>} attributes @param {"spans" | "logs"} source
 * @param {import("./value-menu.js").Frame} frame
 */
export function attributeList(attributes, source, frame) {
  const groups = new Map([["Attributes", /** @type {[string, unknown][]} */ ([])]]);
  for (const entry of Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1))) {
    const level = LEVELS.find(([, is]) => is(entry[0]))?.[0] ?? "Attributes";
    groups.set(level, [...(groups.get(level) ?? []), entry]);
  }
  const shown = [...groups].filter(([, entries]) => entries.length > 0);
  return h("div.attributes", null, ...shown.map(([level, entries]) => h("section", null, h("h3.caps", null, level), fields(entries, source, frame))));
}

/**
 * Names and values, each value with its menu.
 * @param {[string, unknown][]} entries @param {"spans" | "logs"} source @param {import("./value-menu.js").Frame} frame
 */
export function fields(entries, source, frame) {
  return h("dl.fields", null, ...entries.map(([key, value]) => showsValue(h("div.field", null,
    h("dt", null, visible(key)), h("dd", null, valueOf(value), menuButton({ key, value, source }, frame))), { key, value, source }, frame)));
}

/** @param {unknown} value */
export function valueOf(value) {
  const text = typeof value === "string" ? value : value === null ? "null" : JSON.stringify(value);
  const link = linkOf(text);
  if (link !== null) return h("a.value", { href: link, rel: "noreferrer noopener", target: "_blank" }, visible(text));
  const pretty = pretties(text);
  if (pretty.length <= SHOWN_MAX) return h(`span.value${pretty.includes("\n") ? ".lines" : ""}`, null, visible(pretty));
  const place = h("span.value.lines", null, visible(pretty.slice(0, SHOWN_MAX)), "… ");
  place.append(h("button.tool", { type: "button", onclick: () => place.replaceChildren(visible(pretty)) }, `Show all ${pretty.length} characters`));
  return place;
}

/** JSON objects and lists over several lines. @param {string} text */
function pretties(text) {
  if (!/^[[{]/.test(text) || text.length > 100_000) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

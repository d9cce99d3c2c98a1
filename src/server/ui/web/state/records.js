// Which log record is meant: what stands of it in an address, and which records are its neighbours.

import { parseInstant } from "./time.js";
import { literalOf, nameOf } from "./where.js";

/**
 * A record as `logs` gives it. There is no number that all records have, so a record is its time and a hash of what
 * it says: the same after segments are merged, and wherever it is copied to.
 * @typedef {{timestamp: string, severity: string | null, service: string | null, body: unknown, trace_id: string | null, span_id: string | null}} LogRecord
 * @typedef {"instance" | "service" | "trace" | "all"} Around
 */

/** @param {unknown} text @returns {string} eight hex digits of FNV-1a */
function hashOf(text) {
  let hash = 2166136261;
  for (const character of String(text)) hash = Math.imul(hash ^ /** @type {number} */ (character.codePointAt(0)), 16777619);
  return (hash >>> 0).toString(16).padStart(8, "0");
}

/** `2026-11-29T14:36:02.339Z~8c7d1e90` @param {LogRecord} record */
export function eventOf(record) {
  return `${record.timestamp}~${hashOf(JSON.stringify([record.severity, record.service, record.body, record.trace_id, record.span_id]))}`;
}

/** The time of an event in an address; null where it is none. @param {string | null} event */
export function timeOfEvent(event) {
  const found = /^(.+)~[0-9a-f]{8}$/.exec(event ?? "");
  return found === null || parseInstant(found[1]) === null ? null : found[1];
}

// Attributes that tell one instance of a service from another, the most exact first.
const INSTANCE = ["service.instance.id", "k8s.pod.uid", "k8s.pod.name", "container.id", "host.id", "host.name"];

/**
 * What is around a record: the choices there are for it, each with the condition that its neighbours meet.
 * @param {LogRecord} record @param {Record<string, unknown>} attributes of the record
 * @returns {{around: Around, words: string, title: string, where: string}[]}
 */
export function neighbourhoods(record, attributes) {
  const service = record.service === null ? "service.name is null" : `service.name = ${literalOf(record.service)}`;
  const key = INSTANCE.find((one) => typeof attributes[one] === "string" && attributes[one] !== "");
  return [
    ...(key === undefined ? [] : [{ around: /** @type {Around} */ ("instance"), words: "Same instance", title: `${key} = ${attributes[key]}`, where: `${service} and ${nameOf(key)} = ${literalOf(String(attributes[key]))}` }]),
    { around: "service", words: "Same service", title: service, where: service },
    ...(record.trace_id === null ? [] : [{ around: /** @type {Around} */ ("trace"), words: "Same trace", title: `trace ${record.trace_id}`, where: `trace_id = ${literalOf(record.trace_id)}` }]),
    { around: "all", words: "All services", title: "whatever was logged then", where: "" },
  ];
}

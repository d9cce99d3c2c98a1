// What a text pasted into the search box means.

/** @typedef {{kind: "trace", trace: string, span: string | null} | {kind: "span", span: string}
 *   | {kind: "text", text: string} | {kind: "none"}} Found */

const ZEROS = /^0+$/;

/**
 * A trace (32 hex digits, a `traceparent`, or text that contains either), a span (16 hex digits), or other text.
 * @param {string} pasted
 * @returns {Found}
 */
export function findId(pasted) {
  const text = pasted.trim();
  if (text === "") return { kind: "none" };
  const parent = /(?:^|[^0-9a-f])[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?![0-9a-f])/i.exec(text);
  if (parent !== null && !ZEROS.test(parent[1])) {
    return { kind: "trace", trace: parent[1].toLowerCase(), span: parent[2].toLowerCase() };
  }
  const trace = hexOf(text, 32);
  if (trace !== null) return { kind: "trace", trace, span: trace === text.toLowerCase() ? null : hexOf(text, 16) };
  const uuid = /(?:^|[^0-9a-f])([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})(?![0-9a-f])/i.exec(text);
  if (uuid !== null && uuid[0].length === text.length) {
    return { kind: "trace", trace: uuid.slice(1).join("").toLowerCase(), span: null };
  }
  if (/^[0-9a-f]{16}$/i.test(text) && !ZEROS.test(text)) return { kind: "span", span: text.toLowerCase() };
  const span = /span_?id["'\s:=]{1,5}([0-9a-f]{16})(?![0-9a-f])/i.exec(text);
  if (span !== null) return { kind: "span", span: span[1].toLowerCase() };
  return { kind: "text", text };
}

/** The first run of exactly `digits` hex digits. @param {string} text @param {number} digits */
function hexOf(text, digits) {
  for (const [run] of text.matchAll(/[0-9a-f]+/gi)) {
    if (run.length === digits && !ZEROS.test(run)) return run.toLowerCase();
  }
  return null;
}

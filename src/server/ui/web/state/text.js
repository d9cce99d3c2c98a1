// Text from outside, made fit to be looked at. It is shown by text nodes alone; here what is invisible becomes
// visible, and what is long becomes short.

/** Characters of a value that are shown before "show all". */
export const SHOWN_MAX = 4096;

// Control characters but tab and line feed, and those that turn or hide what stands beside them.
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** @param {string} text */
export function visible(text) {
  return text.replace(UNSAFE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** One line of at most `max` characters. @param {string} text @param {number} [max] */
export function oneLine(text, max = 400) {
  const cut = text.length > max ? `${text.slice(0, max)}…` : text;
  return visible(cut.replace(/\s*\n\s*/g, " ⏎ ").replace(/\t/g, " "));
}

/** An address that may be linked: only http and https. @param {string} text @returns {string | null} */
export function linkOf(text) {
  if (!/^https?:\/\//i.test(text) || text.length > 2000) return null;
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** A cell of CSV; text that a spreadsheet would calculate is quoted by an apostrophe. @param {unknown} value */
export function csvCell(value) {
  if (value === null || value === undefined) return "";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows as CSV with a header. @param {{columns: {name: string}[], data: unknown[][], rows: number}} answer */
export function csvOf(answer) {
  const lines = [answer.columns.map((column) => csvCell(column.name)).join(",")];
  for (let row = 0; row < answer.rows; row += 1) lines.push(answer.data.map((column) => csvCell(column[row])).join(","));
  return `${lines.join("\r\n")}\r\n`;
}

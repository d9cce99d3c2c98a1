// Why a list is empty, and the way out.

import { ask } from "../data/sql.js";
import { addressOf, changed } from "../state/address.js";
import { absolute } from "../state/range.js";
import { clockOf, dateOf, parseInstant, zoneName } from "../state/time.js";
import { joined, termsOf } from "../state/where.js";
import { lastBefore } from "../state/statements.js";
import { h } from "./dom.js";

export function rangeIsWrong() {
  return h("p.empty", null, "The address has a time range that cannot be read. Choose one above.");
}

/**
 * Looks for the same rows at earlier times.
 * @param {import("../app.js").Frame} frame @param {"spans" | "logs" | "events"} source
 * @param {import("../state/range.js").Range} range @param {string} where
 */
export async function whyEmpty(frame, source, range, where) {
  const what = source === "logs" ? "log records" : source;
  const lines = [h("p", null, where === "" ? `No ${what} in this range.` : `No ${what} in this range meet the condition.`)];
  try {
    const answer = await ask(lastBefore(source, range, where));
    const last = answer.rows > 0 && answer.data[0][0] !== null ? parseInstant(String(answer.data[0][0])) : null;
    if (last !== null) {
      const to = last + 1_000_000_000n;
      const there = addressOf(location.pathname, changed(frame.params(), absolute(to - (range.to - range.from), to)));
      lines.push(h("p", null, `The last before it is of ${dateOf(last)} ${clockOf(last, 0)} ${zoneName(last)}. `, h("a", { href: there }, "Go there")));
    }
    if (last === null && where === "") lines.push(h("p", null, "None came before either. ", h("a", { href: "/" }, "How to send some")));
  } catch {
    // The panel is empty all the same; its own statement worked.
  }
  const terms = termsOf(where);
  if (terms.length > 1) {
    lines.push(h("p", null, "Leave out one: ", ...terms.flatMap((term, i) => {
      const rest = joined(terms.filter((_, other) => other !== i));
      return [i > 0 ? ", " : "", h("a", { href: addressOf(location.pathname, changed(frame.params(), { where: rest })) }, term)];
    })));
  }
  return h("div.empty", null, ...lines);
}

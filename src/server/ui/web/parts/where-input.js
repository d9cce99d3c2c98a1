// The condition of a page as chips and a field to type the next one. Keys are completed from the catalog, and a
// condition is checked by the server before it becomes a chip.

import { CORE, allKeys, matching } from "../data/keys.js";
import { getCheck } from "../data/check.js";
import { asTyped, joined, nameOf, termsOf } from "../state/where.js";
import { termInput } from "./term-input.js";

const OFFERED_MAX = 8;

/**
 * @param {{source: "spans" | "logs" | "events", where: () => string, set: (where: string) => void, hint: string}} options
 */
export function whereInput(options) {
  return termInput({
    label: "where", name: "Add a condition", hint: options.hint, isHintForFirst: true,
    terms: () => termsOf(options.where()), set: (terms) => options.set(joined(terms)),
    offers: offerKeys, read: asTyped, missing: () => "",
    check: async (term) => (await getCheck(`select 1 from ${options.source} where (${term}\n)`))?.detail ?? null,
  });
}

/** Names that complete the one at the end of what is typed. @param {string} typed @returns {Promise<import("./term-input.js").Offer[]>} */
async function offerKeys(typed) {
  const prefix = keyAtEnd(typed);
  if (prefix === null) return [];
  const names = [...CORE, ...(await allKeys()).map((key) => nameOf(key.key))];
  const found = matching([...new Set(names)], prefix, OFFERED_MAX);
  if (found.length === 1 && found[0] === prefix) return [];
  return found.map((name) => ({ words: name, text: `${typed.slice(0, typed.length - prefix.length)}${name} `, isWhole: false }));
}

/** The beginning of a name at the end of what is typed, if that is where a name is expected. @param {string} text */
function keyAtEnd(text) {
  const found = /(?:^|[(\s]|\band\s|\bor\s|\bnot\s)([A-Za-z_][\w.-]*)$/i.exec(text);
  if (found === null) return null;
  const before = text.slice(0, text.length - found[1].length).trim();
  return before === "" || /(?:\(|\band|\bor|\bnot)$/i.test(before) ? found[1] : null;
}

// What is different about the selected events: attributes in the order of their difference, each with the share of its
// values among the selected events and among the others, and buttons that make a condition of it.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { sqlAddress } from "../state/address.js";
import { binsOf } from "../state/attribute-statements.js";
import { conditionOf, entriesOf } from "../state/difference.js";
import { unitOfValue, wordsOf } from "../state/figures.js";
import { oneLine, visible } from "../state/text.js";
import { count, percent, plural } from "../state/units.js";
import { nameOf } from "../state/where.js";
import { distributionPicture } from "./distribution.js";
import { fill, h } from "./dom.js";
import { actsOn } from "./value-menu.js";

/** @typedef {import("../state/difference.js").Row} Row */
/** @typedef {import("../state/difference.js").Entry} Entry */
/**
 * @typedef {{across: "rows" | "traces", others: string, add: (condition: string) => void, paint: (condition: string | null) => void, group: (key: string) => void,
 *   distribution: (key: string) => string | null}} Options `others`: what the selection is compared with; `distribution`: a statement
 */

const SHOWN_MAX = 12;
const VALUES_MAX = 5;

/** The picture, or null where nothing differs. @param {Row[]} rows @param {Options} options */
export function differences(rows, options) {
  const { entries, unique } = entriesOf(rows);
  if (entries.length === 0 && unique.length === 0) return null;
  const [{ selection_total: selected, baseline_total: others }] = rows;
  const what = options.across === "rows" ? "event" : "trace";
  const list = h("ol.differences", null, ...entries.slice(0, SHOWN_MAX).map((entry) => entryItem(entry, options)));
  const rest = entries.slice(SHOWN_MAX);
  const more = rest.length === 0 ? null : h("button.tool.all", { type: "button", onclick: () => {
    list.append(...rest.map((entry) => entryItem(entry, options)));
    more?.remove();
  } }, `${plural(rest.length, "more attribute")}`);
  return h("div.different-body", null,
    h("p.difference-legend", null,
      h("span", null, h("i.share-sample.of-selection"), `selection, ${plural(Number(selected), what)}`),
      h("span", null, h("i.share-sample.of-others"), `${options.others}, ${count(Number(others))}`)),
    list, more,
    unique.length === 0 ? null : h("p.dim.difference-foot", null, "Different in nearly every event: ", unique.map(({ key }) => visible(key)).join(", "), "."),
    h("p.dim.difference-foot", null, `Exact: all attributes of ${plural(Number(selected) + Number(others), what)}. Differences that chance explains are left out.`));
}

/** @param {Entry} entry @param {Options} options */
function entryItem(entry, options) {
  const values = entry.rows.slice(0, VALUES_MAX);
  return h("li", null,
    h("div.difference-key", null,
      h("h3", null, entry.service === null || entry.service === undefined ? null : h("span.dim", null, `${oneLine(entry.service, 40)} `), visible(entry.key)),
      h("button.tool.quiet", { type: "button", title: `Group by ${entry.key}`, onclick: () => options.group(entry.key) }, "group by")),
    ...values.map((row) => valueRow(row, options)),
    entry.rows.length > values.length ? h("p.dim", null, `and ${plural(entry.rows.length - values.length, "more value")}`) : null,
    options.across === "rows" && entry.rows.some(({ kind }) => kind === "range") ? bothDistributions(entry.key, options) : null,
    entry.goesWith.length === 0 ? null : h("p.dim.goes-with", null, "goes with ", entry.goesWith.map((key) => visible(key)).join(", ")));
}

/** Two distributions of a number, asked for when they are seen. @param {string} key @param {Options} options */
function bothDistributions(key, options) {
  const sql = options.distribution(/^"/.test(key) ? key : nameOf(key));
  if (sql === null) return null;
  const place = h("div.both-distributions");
  const read = async () => {
    try {
      const data = binsOf(objects(await ask(sql)));
      if (data === null) return;
      fill(place, distributionPicture(data, { unit: unitOfValue(key), names: ["selection", options.others] }),
        h("p.dim", null, `${data.isLog ? "logarithmic, " : ""}shares of each side `, h("a.underlined", { href: sqlAddress(sql) }, "SQL")));
    } catch (error) {
      if (!isGivenUp(error)) fill(place, h("p.dim", null, `No distribution: ${asProblem(error).message}`));
    }
  };
  const seen = new IntersectionObserver((entries) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    seen.disconnect();
    void read();
  });
  seen.observe(place);
  return place;
}

/** @param {Row} row @param {Options} options */
function valueRow(row, options) {
  const words = wordsOfRow(row);
  const label = `${row.key} ${words}`;
  const button = (/** @type {string} */ sign, /** @type {"only" | "without"} */ which, /** @type {string} */ name) =>
    h("button.sign", { type: "button", "aria-label": `${sign} ${name} ${label}`, title: `${name} ${label}`, onclick: () => options.add(conditionOf(row, which, options.across)) }, sign);
  const paint = (/** @type {boolean} */ is) => () => options.paint(is ? conditionOf(row, "only", options.across) : null);
  const element = h("div.difference", { onpointerenter: paint(true), onpointerleave: paint(false), onfocusin: paint(true), onfocusout: paint(false) },
    h("div.difference-value", null,
      h("span.value-name", { title: words.length > 40 ? words : "" }, row.kind === "absent" ? h("em", null, words) : words),
      button("=", "only", "Only"), button("≠", "without", "Without")),
    share("of-selection", row.selection, row.selection_rows), share("of-others", row.baseline, row.baseline_rows));
  return actsOn(element, { menu: null, exclude: () => options.add(conditionOf(row, "without", options.across)) });
}

/** @param {Row} row */
function wordsOfRow(row) {
  if (row.kind === "absent") return "not set";
  if (row.kind !== "range") return row.value === "" ? "(empty)" : oneLine(String(row.value), 200);
  const unit = unitOfValue(row.key);
  if (row.low === null) return `below ${wordsOf(row.high, unit)}`;
  return row.high === null ? `from ${wordsOf(row.low, unit)}` : `${wordsOf(row.low, unit)} – ${wordsOf(row.high, unit)}`;
}

/** @param {string} kind @param {number} part @param {number} rows */
function share(kind, part, rows) {
  return h("div.share", null,
    h("span.share-room", null, h(`span.share-bar.${kind}`, { style: { width: `${Math.max(0, Math.min(1, part)) * 100}%` } })),
    h("span.share-words", { title: plural(Number(rows), "event") }, percent(part)));
}

// What is selected, in words, and what can be done with it.

import { wordsOf, unitOfValue } from "../state/figures.js";
import { selectionTerms } from "../state/selection.js";
import { clockOf, dateOf, zoneName } from "../state/time.js";
import { joined } from "../state/where.js";
import { visible } from "../state/text.js";
import { addressOf } from "../state/address.js";
import { absolute } from "../state/range.js";
import { fill, h } from "./dom.js";

/** @typedef {import("../state/explore.js").State} State */
/** @typedef {import("../state/selection.js").Selection} Selection */

/** @param {Selection} selection */
export function selectionWords({ time, value, where }) {
  if (where !== null) return visible(where);
  const parts = [];
  if (time !== null) parts.push(`${dateOf(time.from)} ${clockOf(time.from, 0)} – ${clockOf(time.to, 0)} ${zoneName(time.from)}`);
  if (value !== null) {
    const unit = unitOfValue(value.of);
    const high = wordsOf(value.high, unit);
    parts.push(`${visible(value.of)} ${value.low === null ? `below ${high}` : `${wordsOf(value.low, unit)} – ${high}`}`);
  }
  return parts.join(", ");
}

/**
 * @param {{state: () => State, change: (changes: Partial<State>, range?: Record<string, string | null>) => void,
 *   range: () => Record<string, string | null>}} page
 */
export function selectionBar({ state, change, range }) {
  const element = h("div.selection-bar", { role: "group", "aria-label": "Selection" });
  const update = () => {
    const now = state();
    const { sel } = now;
    element.hidden = sel === null;
    if (sel === null) return fill(element);
    const terms = selectionTerms(sel);
    const only = () => {
      const time = sel.time === null ? undefined : absolute(sel.time.from, sel.time.to);
      change({ where: joined([...(now.where === "" ? [] : [now.where]), ...selectionTerms({ ...sel, time: null })]), sel: null, base: null, vs: null }, time);
    };
    const lists = now.of === "logs" ? "/logs" : "/traces";
    const where = joined([...(now.where === "" ? [] : [now.where]), ...terms]);
    fill(element,
      h("span.selection-words", null, h("i.share-sample.of-selection"), selectionWords(sel)),
      h("button.tool", { type: "button", title: "Only these events: narrows time range and condition", onclick: only }, "Only these"),
      h("a.tool", { href: addressOf(lists, { where, of: now.of === "logs" ? null : "spans", ...range() }) }, "List"),
      now.base === null && now.vs === null ? h("button.tool", { type: "button", title: "Then select again, to compare both", onclick: () => change({ base: sel, sel: null }) }, "Keep to compare") : null,
      h("button.icon", { type: "button", "aria-label": "Clear the selection", title: "Clear the selection  Esc", onclick: () => change({ sel: null }) }, "×"));
  };
  return { element, update };
}

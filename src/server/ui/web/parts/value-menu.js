// What can be done with a value on the screen: filter by it, leave it out, copy it, take it to another page. The same
// everywhere.

import { addressOf } from "../state/address.js";
import { oneLine } from "../state/text.js";
import { condition, joined, nameOf, termsOf } from "../state/where.js";
import { copy } from "./copy.js";
import { h } from "./dom.js";
import { say } from "./say.js";

/** @typedef {{key: string, value: unknown, source: "spans" | "logs" | "events"}} Named */
/**
 * Where the page has a condition; `groupBy` and `compare` where it groups and compares events itself.
 * @typedef {{where: string, setWhere: (where: string) => void, groupBy?: (key: string) => void, compare?: (where: string) => void} | null} Filter
 */
/** @typedef {{filter: () => Filter, range: () => Record<string, string | null>, go: (address: string) => void}} Frame */

/** @typedef {{menu: ((anchor: HTMLElement) => void) | null, exclude: (() => void) | null}} Acts */

/** What the keys do on elements that show a value. @type {WeakMap<Element, Acts>} */
const acts = new WeakMap();

/** Lets the keys act on the value that an element shows. @template {Element} E @param {E} element @param {Acts} own @returns {E} */
export function actsOn(element, own) {
  acts.set(element, own);
  return element;
}

/** The same for a named value, with the menu of all values. @template {Element} E @param {E} element @param {Named} named @param {Frame} frame @returns {E} */
export function showsValue(element, named, frame) {
  return actsOn(element, {
    menu: (anchor) => openMenu(anchor, named, frame),
    exclude: () => {
      const filter = frame.filter();
      if (filter === null) say("This page has no condition");
      else filter.setWhere(joined([...termsOf(filter.where), condition(named.key, named.value, "without")]));
    },
  });
}

/** Opens the menu of the value that has the focus, or the pointer; or leaves the value out. @param {"menu" | "exclude"} what */
export function actOnValue(what) {
  const focused = document.activeElement;
  const row = focused?.getAttribute("aria-activedescendant");
  const pointed = [...document.querySelectorAll(":hover")].at(-1);
  for (const start of [row ? document.getElementById(row) : null, focused, pointed]) {
    for (let at = start ?? null; at !== null; at = at.parentElement) {
      const own = acts.get(at);
      if (own === undefined) continue;
      if (what === "exclude") own.exclude?.();
      else own.menu?.(/** @type {HTMLElement} */ (at.querySelector(".more") ?? at));
      return;
    }
  }
  say("Point at a value, or give it the focus");
}

/** A button that opens the menu of a value. @param {Named} named @param {Frame} frame */
export function menuButton(named, frame) {
  const button = h("button.more", { type: "button", "aria-label": `Actions for ${named.key}`, "aria-haspopup": "menu" }, "⋯");
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    openMenu(button, named, frame);
  });
  return button;
}

/** @param {HTMLElement} anchor @param {Named} named @param {Frame} frame */
export function openMenu(anchor, named, frame) {
  const before = document.activeElement;
  const menu = h("div.menu", { role: "menu", popover: "auto", "aria-label": named.key });
  menu.append(h("div.menu-title", { role: "presentation", "aria-hidden": "true" }, oneLine(`${named.key} = ${shownValue(named.value)}`, 60)));
  for (const entry of entries(named, frame)) {
    if (entry === null) menu.append(h("hr"));
    else {
      const item = h("button", { type: "button", role: "menuitem", onclick: () => (menu.hidePopover(), entry.act()) }, entry.words);
      menu.append(item);
    }
  }
  menu.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "closed") {
      menu.remove();
      const back = anchor.isConnected && anchor.matches("button, [tabindex]") ? anchor : before;
      if (back instanceof HTMLElement && back.isConnected) back.focus();
    }
  });
  menu.addEventListener("keydown", (event) => move(menu, event));
  (document.querySelector("main") ?? document.body).append(menu);
  menu.showPopover();
  place(menu, anchor);
  menu.querySelector("button")?.focus();
}

/** @param {Named} named @param {Frame} frame @returns {({words: string, act: () => void} | null)[]} */
function entries(named, frame) {
  const { key, value, source } = named;
  const only = condition(key, value, "only");
  const name = nameOf(key);
  const filter = frame.filter();
  const to = (/** @type {string} */ path, /** @type {string} */ where) => () => frame.go(addressOf(path, { where, ...frame.range() }));
  const add = (/** @type {string} */ term) => () => filter?.setWhere(joined([...termsOf(filter.where), term]));
  const of = source === "spans" ? null : source;
  const explore = (/** @type {Record<string, string>} */ params) => () => frame.go(addressOf("/explore", { of, ...frame.range(), ...params }));
  const here = { where: filter?.where ?? "" };
  return [
    ...(filter === null ? [] : [
      { words: "Only this value", act: add(only) },
      { words: "Without this value", act: add(condition(key, value, "without")) },
      null,
    ]),
    { words: "Traces with this value", act: to("/traces", only) },
    { words: "Logs with this value", act: to("/logs", only) },
    ...(filter?.groupBy ? [] : [{ words: "Explore with this value", act: explore({ where: joined([...termsOf(here.where), only]) }) }]),
    { words: "Group by this attribute", act: filter?.groupBy ? () => filter.groupBy?.(name) : explore({ ...here, by: name }) },
    { words: "Compare with the others", act: filter?.compare ? () => filter.compare?.(only) : explore({ ...here, sel: `where ${only}` }) },
    null,
    { words: "Copy value", act: () => void copy(shownValue(value), "Value") },
    { words: "Copy as SQL", act: () => void copy(only, "Condition") },
  ];
}

/** @param {unknown} value */
function shownValue(value) {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "null");
}

/** @param {HTMLElement} menu @param {KeyboardEvent} event */
function move(menu, event) {
  const items = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll("button")]);
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to === undefined) return;
  items[(to + items.length) % items.length].focus();
  event.preventDefault();
  event.stopPropagation();
}

/** Below its anchor, within the window. @param {HTMLElement} menu @param {HTMLElement} anchor */
function place(menu, anchor) {
  const at = anchor.getBoundingClientRect();
  const size = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - size.width - 8));
  const isRoom = at.bottom + size.height + 8 < innerHeight;
  menu.style.left = `${left}px`;
  menu.style.top = `${isRoom ? at.bottom + 4 : Math.max(8, at.top - size.height - 4)}px`;
}

// The condition of a page as chips and a field to type the next one. A combobox as WAI-ARIA describes it; keys are
// completed from the catalog, and a condition is checked by the server before it becomes a chip.

import { CORE, allKeys, matching } from "../data/keys.js";
import { getCheck } from "../data/check.js";
import { asTyped, joined, nameOf, termsOf } from "../state/where.js";
import { visible } from "../state/text.js";
import { fill, h, newId } from "./dom.js";

const OFFERED_MAX = 8;

/**
 * @param {{source: "spans" | "logs" | "events", where: () => string, set: (where: string) => void, hint: string}} options
 */
export function whereInput(options) {
  const listId = newId("keys");
  const input = /** @type {HTMLInputElement} */ (h("input.where-field", {
    type: "text", role: "combobox", "aria-label": "Add a condition", "aria-expanded": "false", "aria-controls": listId,
    "aria-autocomplete": "list", placeholder: options.hint, spellcheck: false, autocomplete: "off", autocapitalize: "off",
  }));
  const list = h("ul.offers", { id: listId, role: "listbox", "aria-label": "Attributes" });
  list.hidden = true;
  const chips = h("span.chips");
  const wrong = h("p.field-error", { role: "alert" });
  const label = h("span.where-label", { "aria-hidden": "true" }, "where");
  const box = h("div.where-box", { onclick: (/** @type {Event} */ event) => event.target === box && input.focus() }, label, chips, input);
  const element = h("div.where", null, box, list, wrong);
  /** @type {string[]} */
  let offers = [];
  let chosen = -1;

  const update = () => {
    fill(chips, ...termsOf(options.where()).map((term, i, terms) => chip(term, i, terms)));
    input.placeholder = options.where() === "" ? options.hint : "";
  };

  /** @param {string} term @param {number} i @param {string[]} terms */
  const chip = (term, i, terms) => {
    const without = () => options.set(joined(terms.filter((_, other) => other !== i)));
    const edit = () => {
      without();
      input.value = term;
      input.focus();
    };
    const text = visible(term);
    return h("span.chip", null,
      h("button.chip-text", { type: "button", title: `Edit ${text}`, onclick: edit }, text),
      h("button.chip-x", { type: "button", "aria-label": `Remove ${text}`, onclick: () => (without(), input.focus()) }, "×"));
  };

  const offer = async () => {
    const prefix = keyAtEnd(input.value);
    const keys = prefix === null ? [] : await allKeys();
    if (prefix !== keyAtEnd(input.value)) return;
    const names = [...CORE, ...keys.map((key) => nameOf(key.key))];
    offers = prefix === null ? [] : matching([...new Set(names)], prefix, OFFERED_MAX);
    if (offers.length === 1 && offers[0] === prefix) offers = [];
    choose(-1);
    fill(list, ...offers.map((name, i) => h("li", {
      role: "option", id: `${listId}-${i}`, "aria-selected": "false",
      onpointerdown: (/** @type {Event} */ event) => (event.preventDefault(), accept(name)),
    }, name)));
    show(offers.length > 0 && document.activeElement === input);
  };

  /** @param {boolean} is */
  const show = (is) => {
    list.hidden = !is;
    input.setAttribute("aria-expanded", String(is));
    if (!is) choose(-1);
  };

  /** @param {number} i */
  const choose = (i) => {
    chosen = i;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === i)));
    if (i >= 0) input.setAttribute("aria-activedescendant", `${listId}-${i}`);
    else input.removeAttribute("aria-activedescendant");
  };

  /** @param {string} name */
  const accept = (name) => {
    const prefix = keyAtEnd(input.value) ?? "";
    input.value = `${input.value.slice(0, input.value.length - prefix.length)}${name} `;
    show(false);
    input.focus();
  };

  const add = async () => {
    const term = asTyped(input.value);
    if (term === "") return;
    const problem = await getCheck(`select 1 from ${options.source} where (${term}\n)`);
    if (problem !== null) {
      input.setAttribute("aria-invalid", "true");
      wrong.textContent = problem.detail;
      return;
    }
    input.value = "";
    options.set(joined([...termsOf(options.where()), ...termsOf(term)]));
  };

  input.addEventListener("input", () => {
    wrong.textContent = "";
    input.removeAttribute("aria-invalid");
    void offer();
  });
  input.addEventListener("blur", () => show(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && !list.hidden) choose((chosen + step + offers.length) % offers.length);
    else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) accept(offers[chosen]);
    else if (event.key === "Enter") {
      show(false);
      void add();
    } else if (event.key === "Escape" && !list.hidden) show(false);
    else if (event.key === "Backspace" && input.value === "") {
      const last = chips.lastElementChild?.querySelector(".chip-text");
      if (!(last instanceof HTMLElement)) return;
      last.click();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  update();
  return { element, update, focus: () => input.focus() };
}

/** The beginning of a name at the end of what is typed, if that is where a name is expected. @param {string} text */
function keyAtEnd(text) {
  const found = /(?:^|[(\s]|\band\s|\bor\s|\bnot\s)([A-Za-z_][\w.-]*)$/i.exec(text);
  if (found === null) return null;
  const before = text.slice(0, text.length - found[1].length).trim();
  return before === "" || /(?:\(|\band|\bor|\bnot)$/i.test(before) ? found[1] : null;
}

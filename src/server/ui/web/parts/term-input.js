// A list of terms as chips, with a field for the next one: conditions, figures, groups. A combobox as WAI-ARIA describes it; a term
// is checked before it becomes a chip.

import { visible } from "../state/text.js";
import { fill, h, newId, refill } from "./dom.js";

/** @typedef {{words: string, text: string, isWhole: boolean, detail?: string}} Offer `isWhole` offers are terms, others their beginning */
/**
 * @typedef {{
 *   label: string, name: string, hint: string, isHintForFirst?: boolean, terms: () => string[], set: (terms: string[]) => void,
 *   offers: (typed: string) => Promise<Offer[]>, read: (typed: string) => string | null,
 *   check: (term: string) => Promise<string | null>, missing: (typed: string) => string,
 * }} Options `isHintForFirst`: the hint is shown while there are no terms; `read` makes a term of what is typed, or null where something is `missing`; `check` says what is wrong with a term
 */

/** @param {Options} options */
export function termInput(options) {
  const listId = newId("offers");
  const input = /** @type {HTMLInputElement} */ (h("input.where-field", {
    type: "text", role: "combobox", "aria-label": options.name, "aria-expanded": "false", "aria-controls": listId,
    "aria-autocomplete": "list", placeholder: options.hint, spellcheck: false, autocomplete: "off", autocapitalize: "off",
  }));
  const list = h("ul.offers", { id: listId, role: "listbox", "aria-label": options.name });
  list.hidden = true;
  const chips = h("span.chips");
  const wrong = h("p.field-error", { role: "alert" });
  const box = h("div.where-box", { onclick: (/** @type {Event} */ event) => event.target === box && input.focus() },
    h("span.where-label", { "aria-hidden": "true" }, options.label), chips, input);
  const element = h("div.where", null, box, list, wrong);
  /** @type {Offer[]} */
  let offers = [];
  let chosen = -1;

  const update = () => {
    const terms = options.terms();
    refill(chips, ...terms.map(chip));
    input.placeholder = options.isHintForFirst === true && terms.length > 0 ? "" : options.hint;
  };

  /** @param {string} term @param {number} at @param {string[]} terms */
  const chip = (term, at, terms) => {
    const without = () => options.set(terms.filter((_, other) => other !== at));
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
    const typed = input.value;
    const found = await options.offers(typed);
    if (typed !== input.value) return;
    offers = found;
    choose(-1);
    fill(list, ...offers.map(({ words, detail }, i) => h("li", {
      role: "option", id: `${listId}-${i}`, "aria-selected": "false",
      onpointerdown: (/** @type {Event} */ event) => (event.preventDefault(), accept(offers[i])),
    }, words, detail === undefined ? null : h("small", null, detail))));
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
    list.children[i]?.scrollIntoView({ block: "nearest" });
    if (i >= 0) input.setAttribute("aria-activedescendant", `${listId}-${i}`);
    else input.removeAttribute("aria-activedescendant");
  };

  /** @param {Offer} one */
  const accept = (one) => {
    input.value = one.text;
    show(false);
    input.focus();
    if (one.isWhole) void add();
    else void offer();
  };

  /** Adds what is typed; true unless something is wrong with it. */
  const add = async () => {
    const typed = input.value;
    if (typed.trim() === "") return true;
    const term = options.read(typed);
    const problem = term === null ? options.missing(typed) : await options.check(term);
    if (problem !== null || term === null) {
      input.setAttribute("aria-invalid", "true");
      wrong.textContent = problem ?? "";
      return false;
    }
    input.value = "";
    show(false);
    if (!options.terms().includes(term)) options.set([...options.terms(), term]);
    return true;
  };

  input.addEventListener("input", () => {
    wrong.textContent = "";
    input.removeAttribute("aria-invalid");
    void offer();
  });
  input.addEventListener("click", () => void offer());
  input.addEventListener("blur", () => show(false));
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.ctrlKey || event.metaKey) return;
    if (step !== undefined && list.hidden) void offer();
    else if (step !== undefined) choose((chosen + step + offers.length) % offers.length);
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
  return { element, update, add, focus: () => input.focus() };
}

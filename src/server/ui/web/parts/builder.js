// The builder of the explore page: which events, which figures of them, by what, in which order.

import { CORE, allKeys, matching } from "../data/keys.js";
import { getCheck } from "../data/check.js";
import { LIMIT_MAX, figures, orderOfState } from "../state/explore.js";
import { FUNCTIONS, asFigure, figureOf, sqlOf } from "../state/figures.js";
import { plural } from "../state/units.js";
import { nameOf, termsOf } from "../state/where.js";
import { fill, h, newId } from "./dom.js";
import { termInput } from "./term-input.js";
import { whereInput } from "./where-input.js";

/** @typedef {import("../state/explore.js").State} State */
/** @typedef {{state: () => State, change: (changes: Partial<State>) => void, run: () => void}} Options */

const KEYS_MAX = 8;
const NUMBERS = new Set(["integer", "double", "decimal"]);
/** @type {Record<string, string>} */
const DETAILS = {
  count: "events", rate: "events a second", errors: "events that failed", error_rate: "share that failed",
  distinct: "different values", heatmap: "time × value", p50: "median", p99: "percentile",
};

/** @param {Options} options */
export function builder({ state, change, run }) {
  const where = whereInput({ get source() { return state().of; }, where: () => state().where, set: (text) => change({ where: text }), hint: "attribute = value, for example http.route = /checkout   /" });
  const show = termInput({
    label: "show", name: "Add a figure", hint: "figure", terms: () => state().show,
    set: (terms) => change({ show: terms.length === 0 ? ["count()"] : terms }),
    offers: (typed) => offerFigures(typed, state()), read: (typed) => asFigure(typed, state().of),
    check: (term) => checkFigure(term, state()), missing: (typed) => `Of what? Write ${typed.trim().replace(/\W.*/s, "")}(attribute).`,
  });
  const by = termInput({
    label: "group by", name: "Add a group", hint: "attribute", terms: () => state().by, set: (terms) => change({ by: terms }),
    offers: offerKeys, read: (typed) => (/^[A-Za-z_][\w.-]*$/.test(typed.trim()) ? nameOf(typed.trim()) : typed.trim()),
    check: async (term) => (await getCheck(`select ${term}, count(*) from ${state().of} group by 1`))?.detail ?? null, missing: () => "",
  });
  const sources = /** @type {const} */ (["spans", "logs", "events"]).map((of) => h("button", { type: "button", onclick: () => change({ of, ...usualOf(state()) }) }, `${of[0].toUpperCase()}${of.slice(1)}`));
  const orders = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Order by", onchange: () => change({ order: { what: orders.value, isDescending: orderOfState(state()).isDescending } }) }));
  const direction = h("button.icon", { type: "button", onclick: () => change({ order: { ...orderOfState(state()), isDescending: !orderOfState(state()).isDescending } }) });
  const limit = /** @type {HTMLInputElement} */ (h("input.limit", {
    type: "number", min: 1, max: LIMIT_MAX, "aria-label": "Groups at most",
    onchange: () => change({ limit: Math.max(1, Math.min(LIMIT_MAX, Math.round(Number(limit.value)) || 1)) }),
  }));
  const runButton = h("button.primary", { type: "button", onclick: () => void finish() }, "Run", h("kbd", { "aria-hidden": "true" }, "Ctrl ⏎"));
  const rowsId = newId("builder");
  const summary = h("button.builder-summary", { type: "button", "aria-controls": rowsId, onclick: () => open(!isOpen) });
  const rows = h("div.builder-rows", { id: rowsId },
    where.element, show.element,
    h("div.builder-last", null, by.element,
      h("div.tool-bar", null, h("div.segments", { role: "group", "aria-label": "Events" }, ...sources), h("label.labelled", null, "order", orders), direction, h("label.labelled", null, "limit", limit), runButton)));
  const element = h("section.query.builder", { "aria-label": "Question" }, summary, rows);
  let isOpen = false;

  /** Narrow screens show one line until it is opened. @param {boolean} is */
  const open = (is) => {
    isOpen = is;
    element.classList.toggle("open", is);
    summary.setAttribute("aria-expanded", String(is));
  };

  /** Takes what is typed and not yet a chip, then runs. */
  const finish = async () => {
    if ((await show.add()) && (await by.add())) run();
  };

  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.stopPropagation();
    void finish();
  });

  const update = () => {
    const now = state();
    where.update();
    show.update();
    by.update();
    sources.forEach((button, i) => button.setAttribute("aria-pressed", String(["spans", "logs", "events"][i] === now.of)));
    const order = orderOfState(now);
    fill(orders, ...[...figures(now).map(({ text }) => text), ...now.by].map((what) => h("option", { value: what, selected: what === order.what }, what)));
    const [sign, words] = order.isDescending ? ["↓", "Greatest first"] : ["↑", "Least first"];
    direction.textContent = sign;
    direction.setAttribute("aria-label", words);
    direction.title = words;
    limit.value = String(now.limit);
    fill(summary, h("span", null, summaryWords(now)), h("span", { "aria-hidden": "true" }, "▾"));
  };
  open(false);
  return { element, update, finish, focus: () => (open(true), where.focus()) };
}

/** The question in a few words, for narrow screens. @param {State} state */
function summaryWords(state) {
  const filters = termsOf(state.where).length;
  const parts = [state.of, filters === 0 ? "no filter" : plural(filters, "filter"), `${state.show.length} figures`];
  return [...parts, ...(state.by.length === 0 ? [] : [`by ${state.by.join(", ")}`])].join(" · ");
}

/** What has no meaning for events of another kind. @param {State} state @returns {Partial<State>} */
function usualOf(state) {
  return { show: [], order: null, sel: null, base: null, by: state.by };
}

/** @param {string} typed @returns {Promise<import("./term-input.js").Offer[]>} */
async function offerKeys(typed) {
  if (typed.trim() === "") return [];
  const keys = await allKeys();
  const types = new Map(keys.map((key) => [nameOf(key.key), key.types.join(", ")]));
  const names = matching([...new Set([...CORE, ...types.keys()])], typed.trim(), KEYS_MAX);
  return names.map((name) => ({ words: name, text: name, isWhole: true, detail: types.get(name) }));
}

/** Functions first, then what to calculate with. @param {string} typed @param {State} state @returns {Promise<import("./term-input.js").Offer[]>} */
async function offerFigures(typed, state) {
  const called = /^(\w+)\(\s*([\w."-]*)$/.exec(typed.trim());
  if (called === null) {
    const functions = Object.keys(FUNCTIONS).filter((name) => name.startsWith(typed.trim().toLowerCase()));
    return functions.map((name) => ({ words: FUNCTIONS[name] ? `${name}(…)` : `${name}()`, text: FUNCTIONS[name] ? `${name}(` : `${name}()`, isWhole: !FUNCTIONS[name], detail: DETAILS[name] }));
  }
  const [, name, prefix] = called;
  if (FUNCTIONS[name] !== true) return [];
  const keys = (await allKeys()).filter(({ types }) => name === "distinct" || types.some((type) => NUMBERS.has(type)));
  const core = name === "distinct" ? CORE : state.of === "logs" ? ["severity_number"] : state.of === "spans" ? ["duration_ns"] : ["duration_ns", "value", "severity_number"];
  const names = [...new Set([...core, ...keys.map(({ key }) => nameOf(key))])];
  const chosen = prefix === "" ? names.slice(0, KEYS_MAX) : matching(names, prefix, KEYS_MAX);
  return chosen.map((key) => ({ words: `${name}(${key})`, text: `${name}(${key})`, isWhole: true }));
}

/** What is wrong with a figure. @param {string} term @param {State} state */
async function checkFigure(term, state) {
  const figure = figureOf(term);
  const sql = figure.name === "heatmap" ? `max(try_cast(${figure.argument} as double))` : sqlOf(figure, state.of, "1.0");
  // In groups, so that what is no aggregate is a mistake here already.
  const problem = await getCheck(`select ${sql} from ${state.of} group by trace_id having count(*) > 0`);
  return problem?.detail ?? null;
}

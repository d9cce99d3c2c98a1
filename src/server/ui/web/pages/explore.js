// Explore: figures of any events by any attribute, a heat map of them, and what is different about some of them.

import { objects } from "../data/sql.js";
import { figures, paramsOf, stateOf } from "../state/explore.js";
import * as statements from "../state/explore-statements.js";
import { parseSpan, rangeOf, spanText, spanWords } from "../state/range.js";
import { parseInstant } from "../state/time.js";
import { csvOf, oneLine } from "../state/text.js";
import { joined, termsOf } from "../state/where.js";
import { builder } from "../parts/builder.js";
import { download } from "../parts/copy.js";
import { differences } from "../parts/different.js";
import { fill, h, isTyping } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { groupTable, groupWords, sampledWords } from "../parts/group-table.js";
import { count, lineChart, lineSample } from "../parts/lines.js";
import { Panel } from "../parts/panel.js";
import { sharedCursor } from "../parts/plot.js";
import { selectionBar } from "../parts/selection-bar.js";
import { heatPanel } from "./explore-heat.js";

const BEFORE = ["1h", "1d", "7d"];

/** @typedef {import("../state/explore.js").State} State */

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function explorePage(frame) {
  const state = () => stateOf(frame.params());
  const range = () => rangeOf(frame.params());
  /**
   * @param {Partial<State>} changes @param {Record<string, string | null>} [more] of the range
   * @param {"push" | "replace"} [how] selections and views do not make history
   */
  const change = (changes, more = {}, how = "push") => frame.set({ ...paramsOf({ ...state(), ...changes }), ...more }, how);
  const look = (/** @type {Partial<State>} */ changes) => change(changes, {}, "replace");
  const cursor = sharedCursor();

  const ask = builder({ state, change, run: () => panels.forEach((panel) => panel.again()) });
  const heat = heatPanel({ frame, state, look, cursor });
  const selected = selectionBar({ state, change: (changes, more) => change(changes, more, more === undefined ? "replace" : "push"), range: frame.range });
  const before = h("button.tool", { type: "button", onclick: () => compareBefore() }, "Compare with before");
  const lines = new Panel({ name: "lines", title: "Over time", tools: [before], draw: drawLines, empty: () => h("p.empty", null, "Nothing to draw.") });
  const csv = h("button.tool", { type: "button", onclick: () => groups.answer !== null && download("groups.csv", "text/csv", csvOf(groups.answer)) }, "CSV");
  const groups = new Panel({ name: "groups-panel", title: "Groups", tools: [csv], draw: drawGroups, empty });
  const across = ["rows", "traces"].map((one) => h("button", { type: "button", onclick: () => look({ across: one === "rows" ? "rows" : "traces" }) }, one === "rows" ? "Rows" : "Whole traces"));
  const against = /** @type {HTMLSelectElement} */ (h("select", { "aria-label": "Compare with", onchange: () => compareWith(against.value) }));
  const different = new Panel({ name: "different", title: "What is different", draw: drawDifferent, empty: () => h("p.empty", null, "Nothing that chance does not explain. Select other events, or look at whole traces.") });
  const differentBar = h("div.tool-bar.different-bar", null, h("div.segments", { role: "group", "aria-label": "Compare" }, ...across), h("label.labelled", null, "with", against));
  different.head.after(differentBar);
  // On phones it is a sheet from below, over the half of the screen that does not have the map, or nearly all of it.
  const grip = h("button.icon.sheet-grip", { type: "button", onclick: () => raise(!isRaised) });
  let isRaised = false;
  const raise = (/** @type {boolean} */ is) => {
    isRaised = is;
    different.element.classList.toggle("raised", is);
    grip.textContent = is ? "▾" : "▴";
    grip.setAttribute("aria-expanded", String(is));
    grip.setAttribute("aria-label", is ? "Smaller" : "Larger");
  };
  raise(false);
  different.head.append(grip, h("button.icon", { type: "button", "aria-label": "Close", onclick: () => look({ sel: null, base: null, vs: null }) }, "×"));
  const notes = h("div.panel-notes.page-notes");
  const map = h("div.explore-map", null, heat.panel.element, selected.element);
  const content = h("div.explore", null, map, different.element,
    h("div.explore-figures", null, lines.element, groups.element));
  const element = h("div.page", null, h("h1.off-screen", null, "Explore"), ask.element, notes, content);

  /** @type {ReturnType<typeof lineChart>[]} */
  let charts = [];
  cursor.follow((at) => charts.forEach((chart) => chart.cursor(at)));

  /** Asks only what is another statement. @param {Panel} panel @param {string} sql */
  const show = (panel, sql) => {
    if (!panel.has(sql)) void panel.show({ sql });
  };

  const update = () => {
    const [now, times] = [state(), range()];
    ask.update();
    selected.update();
    const wrong = now.wrong.map((key) => `${key}=${frame.params().get(key)}`);
    fill(notes, wrong.length === 0 ? null : h("div.note.warning", null, `▲ The address has what this page does not know, and leaves it out: ${oneLine(wrong.join(", "), 200)}`),
      now.base === null || now.sel !== null ? null : h("div.note", null, h("span", null, "Now select the events to compare with those that you kept."), h("button.tool", { type: "button", onclick: () => look({ base: null }) }, "Cancel")));
    if (times === null) return fill(content, rangeIsWrong());
    heat.update();
    before.setAttribute("aria-pressed", String(now.vs !== null && now.sel === null));
    map.hidden = heat.panel.element.hidden && now.sel === null;
    lines.element.hidden = figures(now).length === 0;
    charts.forEach((chart) => chart.select(now.sel?.time ?? null));
    if (!lines.element.hidden) show(lines, statements.lines(now, times));
    show(groups, statements.groups(now, times));
    updateDifferent(now, statements.difference(now, times));
  };

  /** @param {State} now @param {string | null} sql */
  const updateDifferent = (now, sql) => {
    different.element.hidden = sql === null;
    content.classList.toggle("compares", sql !== null);
    if (sql === null) return different.stop();
    across.forEach((button, i) => button.setAttribute("aria-pressed", String((i === 0) === (now.across === "rows"))));
    const spans = [...new Set([...BEFORE, ...(now.vs === null ? [] : [now.vs])])];
    const value = now.vs ?? (now.base === null ? "others" : "base");
    const choices = [["others", "the others"], ...(now.base === null ? [] : [["base", "those kept"]]), ...spans.map((span) => [span, `${spanWords(parseSpan(span) ?? 1n)} before`])];
    fill(against, ...choices.map(([name, words]) => h("option", { value: name, selected: name === value }, words)));
    show(different, sql);
  };

  /** The whole range against the same time before it, or no longer. */
  function compareBefore() {
    const times = range();
    if (times === null) return;
    look({ sel: null, base: null, vs: state().vs !== null && state().sel === null ? null : spanText(times.to - times.from) });
  }

  /** @param {string} value */
  function compareWith(value) {
    if (value === "others") look({ vs: null, base: null });
    else look({ vs: value === "base" ? null : value });
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawLines(answer) {
    const [now, times] = [state(), range()];
    if (times === null || answer.rows === 0) return null;
    const step = statements.pointOf(times);
    const points = count({ range: times, step });
    const rows = objects(answer);
    /** By place: null is all others, or all where there are no groups. @type {Map<number | null, any[]>} */
    const byPlace = new Map();
    for (const row of rows) {
      const place = now.by.length === 0 ? 1 : row.place;
      byPlace.set(place, [...(byPlace.get(place) ?? []), row]);
    }
    const places = [...byPlace.keys()].sort((a, b) => (a ?? Infinity) - (b ?? Infinity));
    const names = new Map(places.map((place) => [place, placeName(now, place, byPlace.get(place)?.[0])]));
    const all = figures(now);
    charts.forEach((chart) => chart.close());
    charts = all.map(({ text, unit }, i) => {
      const chart = lineChart({ title: text, hover: cursor.put, choose: (time) => look({ sel: { time, value: null, where: null } }) });
      chart.select(now.sel?.time ?? null);
      chart.show({ range: times, step, unit, hasAxis: i === all.length - 1, series: places.map((place) => {
        /** @type {(number | null)[]} */
        const values = Array(points).fill(["count()", "errors()", "rate()"].includes(text) ? 0 : null);
        for (const row of byPlace.get(place) ?? []) {
          const at = Number(((parseInstant(row.step) ?? times.from) - times.from) / step);
          if (at >= 0 && at < points && row[text] !== null && Number.isFinite(Number(row[text]))) values[at] = Number(row[text]);
        }
        return { name: names.get(place) ?? "", place, values };
      }) });
      return chart;
    });
    const legend = now.by.length === 0 ? null : h("ul.line-legend", null, ...places.map((place) => h("li", null, lineSample(place), names.get(place) ?? "")));
    return h("div.line-charts", null, legend, ...charts.map((chart) => chart.element));
  }

  /** What a line is of. @param {State} now @param {number | null} place @param {any} row */
  function placeName(now, place, row) {
    if (now.by.length === 0) return `all ${now.of}`;
    return place === null ? "others" : now.by.map((_, i) => wordsOfGroup(row[statements.groupName(i)])).join(", ");
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawGroups(answer) {
    const now = state();
    const rows = objects(answer);
    if (rows.length === 0 || Number(rows[0].all_events) === 0) return null;
    fill(/** @type {HTMLElement} */ (groups.head.querySelector("h2")), groupWords(now, rows));
    const sampled = sampledWords(rows);
    return h("div", null, sampled === "" ? null : h("p.dim.table-note", null, sampled), groupTable(now, rows, { frame, change }));
  }

  /** @param {unknown} value */
  function wordsOfGroup(value) {
    return value === null || value === undefined ? "not set" : oneLine(typeof value === "object" ? JSON.stringify(value) : String(value), 40);
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function drawDifferent(answer) {
    const now = state();
    return differences(/** @type {any[]} */ (objects(answer)), {
      across: now.across, others: now.vs !== null ? "before" : now.base !== null ? "kept" : "others",
      add: (term) => change({ where: joined([...termsOf(state().where), term]) }),
      paint: heat.paint, group: (key) => groupBy(key),
      distribution: (key) => {
        const times = range();
        return times === null ? null : statements.bothDistributions(now, times, key);
      },
    });
  }

  function empty() {
    const times = range();
    fill(/** @type {HTMLElement} */ (groups.head.querySelector("h2")), "Groups");
    if (!heat.panel.element.hidden) return h("p.empty", null, "No groups.");
    return times === null ? rangeIsWrong() : whyEmpty(frame, state().of, times, state().where);
  }

  /** @param {string} key as SQL */
  const groupBy = (key) => change({ by: [...new Set([...state().by, key])] });

  const panels = [heat.panel, lines, groups, different];
  return {
    title: "Explore", element, hasRange: true, update,
    filter: {
      get where() { return state().where; },
      setWhere: (where) => change({ where }),
      groupBy, compare: (where) => look({ sel: { time: null, value: null, where } }),
    },
    keys: { "/": () => ask.focus(), h: () => heat.focus(), T: () => look({ isTable: !state().isTable }) },
    close: () => {
      panels.forEach((panel) => panel.stop());
      charts.forEach((chart) => chart.close());
      heat.close();
    },
    cancel: () => {
      if (panels.filter((panel) => !panel.element.hidden).map((panel) => panel.cancel()).includes(true)) return true;
      if (isTyping(document.activeElement) || state().sel === null) return false;
      look({ sel: null });
      return true;
    },
  };
}

// The values of one attribute: how often, since when, until when; of numbers how they are distributed.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { addressOf, sqlAddress } from "../state/address.js";
import { attributeNumbers, attributeShare, attributeValues, binsOf } from "../state/attribute-statements.js";
import { unitOfValue, wordsOf } from "../state/figures.js";
import { rangeOf } from "../state/range.js";
import { clockOf, dateOf, inFull, parseInstant, zoneName } from "../state/time.js";
import { oneLine, visible } from "../state/text.js";
import { count, percent, plural } from "../state/units.js";
import { condition, nameOf } from "../state/where.js";
import { distributionPicture } from "../parts/distribution.js";
import { fill, h } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { groupValue } from "../parts/group-table.js";
import { Panel } from "../parts/panel.js";
import { menuButton, showsValue } from "../parts/value-menu.js";

const VALUES_MAX = 200;
const FIND_AFTER_MS = 300;
const NUMBERS = new Set(["integer", "double", "decimal"]);

/** @typedef {import("../data/keys.js").Key} Key */
/** @typedef {import("../state/figures.js").Source} Source */

/** What the key is called in conditions: with its level, unless it is of the record. @param {Key} key */
export function keyName(key) {
  return key.level === "record" ? key.key : `${key.level}.${key.key}`;
}

/** @param {{frame: import("../app.js").Frame, of: () => Source, close: () => void}} options */
export function valuesView({ frame, of, close }) {
  const field = /** @type {HTMLInputElement} */ (h("input", { type: "search", "aria-label": "Find a value", placeholder: "Part of a value", spellcheck: false }));
  const explore = /** @type {HTMLAnchorElement} */ (h("a.tool", null, "Group by it"));
  const panel = new Panel({ name: "values", title: "Values", draw, empty, tools: [explore] });
  panel.head.append(h("button.icon", { type: "button", "aria-label": "Close", onclick: () => close() }, "×"));
  const facts = h("p.dim.value-facts");
  const numbers = h("div.value-numbers");
  panel.head.after(facts, numbers, h("div.find.value-find", null, field));
  /** @type {Key | null} */
  let key = null;
  let turn = new AbortController();
  let timer = 0;
  let asked = "";
  const find = () => frame.params().get("find") ?? "";

  /** @param {Key} next */
  const update = (next) => {
    const range = rangeOf(frame.params());
    // What is being typed is not in the address yet.
    if (document.activeElement !== field) field.value = find();
    key = next;
    fill(/** @type {HTMLElement} */ (panel.head.querySelector("h2")), h("code", null, visible(next.key)));
    if (range === null) return fill(panel.body, rangeIsWrong());
    const name = nameOf(keyName(next));
    explore.href = addressOf("/explore", { of: of() === "spans" ? null : of(), by: name, where: `${name} is not null`, ...frame.range() });
    const sql = attributeValues({ name, of: of(), find: find() }, range, VALUES_MAX);
    if (!panel.has(sql)) void panel.show({ sql });
    const about = attributeShare({ name, of: of() }, range);
    if (about === asked) return;
    asked = about;
    void drawFacts(next, name, range);
  };

  /** How many events have it, and how its numbers are distributed. @param {Key} own @param {string} name @param {import("../state/range.js").Range} range */
  const drawFacts = async (own, name, range) => {
    turn.abort();
    const run = new AbortController();
    turn = run;
    fill(facts, "…");
    fill(numbers);
    const source = of();
    try {
      const [share] = objects(await ask(attributeShare({ name, of: source }, range), { signal: run.signal }));
      if (run.signal.aborted) return;
      const [all, some] = [Number(share.events), Number(share.with_key)];
      fill(facts, `${own.level === "record" ? "" : `${own.level}, `}${own.types.join(", ")} · in ${count(some)} of ${plural(all, source === "logs" ? "log record" : source.slice(0, -1))} (${percent(all === 0 ? null : some / all)})`);
      if (some === 0 || !own.types.every((type) => NUMBERS.has(type))) return;
      const sql = attributeNumbers({ name, of: source }, range);
      const data = binsOf(objects(await ask(sql, { signal: run.signal })));
      if (data === null || run.signal.aborted) return;
      const unit = unitOfValue(own.key);
      fill(numbers, distributionPicture(data, { unit, names: null }),
        h("p.dim", null, `median ${wordsOf(data.p50, unit)}, p99 ${wordsOf(data.p99, unit)}${data.isLog ? ", logarithmic" : ""} `, h("a.underlined", { href: sqlAddress(sql) }, "SQL")));
    } catch (error) {
      if (!isGivenUp(error)) fill(facts, asProblem(error).message);
    }
  };

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => frame.set({ find: field.value.trim() }, "replace"), FIND_AFTER_MS);
  });

  /** @param {import("../data/sql.js").Answer} answer */
  function draw(answer) {
    if (answer.rows === 0 || key === null) return null;
    const rows = objects(answer);
    const [{ all_values: values, all_events: events }] = rows;
    const most = Number(rows[0].events);
    const name = keyName(key);
    const isShort = isOneDay(rows);
    const time = (/** @type {string} */ text) => {
      const at = parseInstant(text) ?? 0n;
      return h("td.value-time", { title: inFull(at) }, isShort ? clockOf(at, 0) : `${dateOf(at).slice(5)} ${clockOf(at, -1)}`);
    };
    const zone = zoneName(parseInstant(rows[0].last_seen) ?? 0n);
    return h("div.table-box", { tabIndex: 0, role: "region", "aria-label": "Values" }, h("table.figures.value-table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, plural(Number(values), "value"), rows.length < Number(values) ? `, the first ${count(rows.length)}` : ""),
        h("th.number", { scope: "col" }, "Events"), h("th.number", { scope: "col" }, "Share"), h("th", { scope: "col" }, `First (${zone})`), h("th", { scope: "col" }, "Last"))),
      h("tbody", null, ...rows.map((row) => h("tr", null,
        h("th", { scope: "row" }, showsValue(h("span.group-cell", null,
          h("a.value-link", { href: addressOf("/explore", { of: of() === "spans" ? null : of(), where: condition(name, row.value, "only"), ...frame.range() }), title: `Explore events with ${oneLine(String(row.value), 200)}` }, groupValue(row.value)),
          menuButton({ key: name, value: row.value, source: of() }, frame)), { key: name, value: row.value, source: of() }, frame),
          h("span.value-bar", { style: { width: `${(Number(row.events) / most) * 100}%` } })),
        h("td.number", null, count(Number(row.events))), h("td.number", null, percent(Number(row.events) / Number(events))), time(row.first_seen), time(row.last_seen))))));
  }

  function empty() {
    const range = rangeOf(frame.params());
    if (range === null || key === null) return rangeIsWrong();
    if (find() !== "") return h("p.empty", null, "No value contains that.");
    return whyEmpty(frame, of(), range, `${nameOf(keyName(key))} is not null`);
  }

  return {
    panel, element: panel.element, update,
    stop() {
      clearTimeout(timer);
      turn.abort();
      panel.stop();
      asked = "";
    },
  };
}

/** @param {Record<string, any>[]} rows */
function isOneDay(rows) {
  const times = rows.flatMap((row) => [row.first_seen, row.last_seen]).sort();
  return dateOf(parseInstant(times[0]) ?? 0n) === dateOf(parseInstant(times[times.length - 1]) ?? 0n);
}

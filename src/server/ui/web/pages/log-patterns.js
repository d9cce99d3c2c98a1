// Kinds of messages: log records whose texts differ in numbers and ids alone are one kind. Calculated by SQL, of every
// record.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { addressOf } from "../state/address.js";
import * as statements from "../state/log-statements.js";
import { rangeOf, stepOf } from "../state/range.js";
import { clockOf, inFull, parseInstant, zoneName } from "../state/time.js";
import { oneLine, visible } from "../state/text.js";
import { count, percent, plural } from "../state/units.js";
import { joined, literalOf, termsOf } from "../state/where.js";
import { fill, h } from "../parts/dom.js";
import { rangeIsWrong, whyEmpty } from "../parts/empty.js";
import { severityWord } from "../parts/log-list.js";
import { Panel } from "../parts/panel.js";
import { spark } from "../parts/spark.js";

const PATTERNS_MAX = 200;
const STEPS = 30;
const TEXT_MAX = 400;

/** @param {{frame: import("../app.js").Frame, where: () => string, setWhere: (where: string) => void}} options */
export function patternsView({ frame, where, setWhere }) {
  const panel = new Panel({ name: "results", title: "Patterns", draw, empty });
  let turn = new AbortController();

  const update = () => {
    const range = rangeOf(frame.params());
    if (range === null) return fill(panel.body, rangeIsWrong());
    const sql = statements.logPatterns(range, where(), PATTERNS_MAX);
    if (!panel.has(sql)) void panel.show({ sql });
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function draw(answer) {
    const range = rangeOf(frame.params());
    if (answer.rows === 0 || range === null) return null;
    const rows = objects(answer);
    const [all, patterns] = [Number(rows[0].all_records), Number(rows[0].all_patterns)];
    const cut = patterns > rows.length ? `, the ${count(rows.length)} most frequent` : "";
    fill(/** @type {HTMLElement} */ (panel.head.querySelector("h2")), `${plural(patterns, "pattern")} of ${plural(all, "record")}${cut}`);
    /** @type {Map<string, HTMLElement>} */
    const courses = new Map();
    const body = h("tbody", null, ...rows.map((row) => line(row, all, courses, range)));
    void drawCourses(range, courses);
    return h("div.table-box", { tabIndex: 0, role: "region", "aria-label": "Patterns" }, h("table.figures.patterns", null,
      h("thead", null, h("tr", null, h("th.number", { scope: "col" }, "Records"), h("th.number", { scope: "col" }, "Share"), h("td.course", null),
        h("th", { scope: "col" }, "Severity"), h("th", { scope: "col" }, "Pattern"), h("th", { scope: "col" }, "Services"), h("th", { scope: "col", title: "When the first of them came" }, `First (${zoneName(range.to)})`), h("td", null))),
      body));
  }

  /** @param {Record<string, any>} row @param {number} all @param {Map<string, HTMLElement>} courses @param {import("../state/range.js").Range} range */
  function line(row, all, courses, range) {
    const pattern = String(row.pattern ?? "");
    const [first, last] = [parseInstant(row.first) ?? range.from, parseInstant(row.last) ?? range.to];
    const course = h("td.course");
    courses.set(keyOf(row), course);
    const services = /** @type {unknown[]} */ (Array.isArray(row.services) ? row.services : []).filter((one) => one !== null).map(String);
    const add = (/** @type {"only" | "without"} */ which) => () => setWhere(joined([...termsOf(where()), condition(row, which)]));
    // New in this range, and not just at its beginning.
    const isNew = Number(first - range.from) > 0.1 * Number(range.to - range.from);
    return h("tr", null,
      h("td.number", null, count(Number(row.records))), h("td.number", null, percent(Number(row.records) / all)), course,
      h("td", null, severityWord(row.severity)),
      h("th.pattern", { scope: "row", title: `For example: ${visible(String(row.example ?? "").slice(0, 1000))}` },
        h("a.pattern-text", { href: addressOf("/logs", { where: joined([...termsOf(where()), condition(row, "only")]), ...frame.range() }) }, ...signed(oneLine(pattern, TEXT_MAX)))),
      h("td", { title: services.join(", ") }, services.length <= 2 ? oneLine(services.join(", "), 60) : `${services.length} services`),
      h("td", { title: `${inFull(first)} – ${inFull(last)}` }, clockOf(first, 0), isNew ? h("b.pattern-new", null, " new") : null),
      h("td.pattern-acts", null, h("button.sign", { type: "button", "aria-label": `= Only ${oneLine(pattern, 60)}`, title: "Only these records", onclick: add("only") }, "="),
        h("button.sign", { type: "button", "aria-label": `≠ Without ${oneLine(pattern, 60)}`, title: "Without these records", onclick: add("without") }, "≠")));
  }

  /** Small pictures of when they came, after the table. @param {import("../state/range.js").Range} range @param {Map<string, HTMLElement>} courses */
  async function drawCourses(range, courses) {
    turn.abort();
    const own = new AbortController();
    turn = own;
    const step = stepOf(range, STEPS);
    const steps = Math.max(1, Number((range.to - range.from + step - 1n) / step));
    try {
      const answer = objects(await ask(statements.patternsByTime(range, where(), step), { signal: own.signal }));
      /** @type {Map<string, (number | null)[]>} */
      const values = new Map();
      for (const row of answer) {
        const own = values.get(keyOf(row)) ?? Array(steps).fill(null);
        const at = Number(((parseInstant(row.step) ?? range.from) - range.from) / step);
        if (at >= 0 && at < steps) own[at] = Number(row.records);
        values.set(keyOf(row), own);
      }
      for (const [key, cell] of courses) fill(cell, spark(values.get(key) ?? [], "plain"));
    } catch (error) {
      if (!isGivenUp(error)) asProblem(error);
      // The table is right without its small pictures; its own statement worked.
    }
  }

  function empty() {
    const range = rangeOf(frame.params());
    fill(/** @type {HTMLElement} */ (panel.head.querySelector("h2")), "Patterns");
    return range === null ? rangeIsWrong() : whyEmpty(frame, "logs", range, where());
  }

  return {
    panel, element: panel.element, update,
    stop() {
      turn.abort();
      panel.stop();
    },
  };
}

/** @param {Record<string, any>} row @param {"only" | "without"} which */
function condition(row, which) {
  const pattern = row.pattern === null ? "body is null" : statements.patternCondition(String(row.pattern));
  const both = `${pattern} and ${row.severity === null ? "severity is null" : `severity = ${literalOf(String(row.severity))}`}`;
  // Records without a body or a severity are among those that do not meet it.
  return which === "only" ? both : `(${both}) is not true`;
}

/** @param {Record<string, any>} row */
function keyOf(row) {
  return `${row.severity} ${row.pattern}`;
}

/** A pattern with its signs set apart. @param {string} pattern @returns {(string | HTMLElement)[]} */
function signed(pattern) {
  if (pattern === "") return [h("em", null, "(empty)")];
  const parts = [];
  let from = 0;
  for (const found of pattern.matchAll(statements.SIGN)) {
    parts.push(pattern.slice(from, found.index), h("i.hole", null, found[0].slice(1, -1)));
    from = found.index + found[0].length;
  }
  return [...parts, pattern.slice(from)];
}

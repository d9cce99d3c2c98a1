// The SQL of the explore page's panels. Pure, like statements.js.

import { distribution } from "./attribute-statements.js";
import { figures, orderOfState } from "./explore.js";
import { figureOf, sqlOf } from "./figures.js";
import { parseSpan, stepOf } from "./range.js";
import { selectionTerms } from "./selection.js";
import { also, bin, within } from "./statements.js";
import { isoOf } from "./time.js";
import { joined } from "./where.js";

/** @typedef {import("./explore.js").State} State */
/** @typedef {import("./range.js").Range} Range */

const STEPS = 120;
const POINTS = 60;
const PER_DECADE = 12;
/** Lines that have a colour of their own; the other groups are one line. */
export const LINES_MAX = 7;

/** Width of a column of the heat map. @param {Range} range */
export function columnOf(range) {
  return stepOf(range, STEPS);
}

/** Time that a point of the lines stands for. @param {Range} range */
export function pointOf(range) {
  return stepOf(range, POINTS);
}

/** The events that the page is about, as a table. @param {State} state @param {Range} range @param {string} [indent] */
export function source(state, range, indent = "") {
  return `(\n${indent}  select * from ${state.of}\n${indent}  where ${within(range)}${also(state.where, `${indent}  `)}\n${indent})`;
}

/** The least and the greatest value, by which a linear scale is divided. @param {State} state @param {Range} range @param {string} of */
export function extent(state, range, of) {
  return `select min(try_cast(${of} as double)) as low, max(try_cast(${of} as double)) as high, count(*) as events
from ${state.of}
where ${within(range)}${also(state.where)}`;
}

/**
 * Cells of the heat map: events by time and value, and the one with the greatest value of each.
 * @param {State} state @param {Range} range @param {string} of @param {number | null} width of a linear cell; null is a logarithmic scale
 */
export function heatMap(state, range, of, width) {
  const step = `step => interval '${columnOf(range) / 1_000_000_000n} seconds'`;
  const scale = width === null ? `per_decade => ${PER_DECADE}` : `width => ${width}`;
  return `select * from heatmap(${source(state, range)}, ${of}, ${step}, ${scale})\norder by time, low`;
}

/** Groups with their figures, and an event of each. @param {State} state @param {Range} range */
export function groups(state, range) {
  const seconds = secondsOf(range.to - range.from);
  const shown = figures(state).map((figure) => `${sqlOf(figure, state.of, seconds)} as ${quoted(figure.text)}`);
  const [by, groupBy] = [state.by.map((key, i) => `${key} as ${groupName(i)}`), state.by.map((_, i) => i + 1).join(", ")];
  const example = state.of === "spans" ? "duration_ns desc nulls last" : "timestamp desc";
  return `select ${[...by, ...shown, ...["trace_id", "span_id"].map((id) => exampleOf(id, example)), ...totals(groupBy !== "")].join(",\n  ")}
from ${state.of}
where ${within(range)}${also(state.where)}${groupBy === "" ? "" : `
group by ${groupBy}
order by ${orderSql(state, seconds)}
limit ${state.limit}`}`;
}

/** What a group is called in answers: attributes may have the name of a column. @param {number} i */
export function groupName(i) {
  return `group_${i + 1}`;
}

/** @param {string} id @param {string} order */
function exampleOf(id, order) {
  return `first_value(${id} order by ${order}) filter (where trace_id is not null) as example_${id}`;
}

/** Columns that tell about all events: how many groups and events there are, and how many they stand for. @param {boolean} hasGroups */
function totals(hasGroups) {
  if (!hasGroups) return ["count(*) as all_events", "sum(sample_weight) as all_weight"];
  return ["count(*) over () as all_groups", "sum(count(*)) over () as all_events", "sum(sum(sample_weight)) over () as all_weight"];
}

/** @param {State} state @param {string} seconds */
function orderSql(state, seconds) {
  const { what, isDescending } = orderOfState(state);
  const at = state.by.indexOf(what);
  const sql = at >= 0 ? what : sqlOf(figureOf(what), state.of, seconds);
  // Groups of equal figures stand in the same order in the table and the lines.
  return [`${sql} ${isDescending ? "desc" : "asc"} nulls last`, ...state.by.filter((_, i) => i !== at)].join(", ");
}

/** Figures over time, of the first groups and of all others together (where `place` is null). @param {State} state @param {Range} range */
export function lines(state, range) {
  const step = pointOf(range);
  const seconds = stepSeconds(range, step);
  const shown = figures(state).map((figure) => `${sqlOf(figure, state.of, seconds)} as ${quoted(figure.text)}`);
  if (state.by.length === 0) {
    return `select ${[`${bin(range, step)} as step`, ...shown].join(",\n  ")}
from ${state.of}
where ${within(range)}${also(state.where)}
group by 1
order by 1`;
  }
  const order = orderSql(state, secondsOf(range.to - range.from));
  const names = state.by.map((_, i) => groupName(i));
  return `with ranked as (
  select ${state.by.map((key, i) => `${key} as ${groupName(i)}`).join(", ")},
    row_number() over (order by ${order}) as place
  from ${state.of}
  where ${within(range)}${also(state.where, "  ")}
  group by ${state.by.map((_, i) => i + 1).join(", ")}
  order by ${order}
  limit ${LINES_MAX}
)
select ${[`${bin(range, step)} as step`, "ranked.place as place", ...names.map((name) => `ranked.${name} as ${name}`), ...shown].join(",\n  ")}
from (
  select *, ${state.by.map((key, i) => `${key} as own_${groupName(i)}`).join(", ")}
  from ${state.of}
  where ${within(range)}${also(state.where, "  ")}
) as e
left join ranked on ${state.by.map((_, i) => `(e.own_${groupName(i)} is not distinct from ranked.${groupName(i)})`).join(" and ")}
group by ${[1, 2, ...names.map((_, i) => i + 3)].join(", ")}
order by 1, 2`;
}

/** SQL of the seconds that a step covers: the last one may be cut by the end of the range. @param {Range} range @param {bigint} step */
function stepSeconds(range, step) {
  const whole = secondsOf(step);
  if ((range.to - range.from) % step === 0n) return whole;
  return `least(${whole}, date_part('epoch', timestamp '${isoOf(range.to)}' - min(${bin(range, step)})))`;
}

/** @param {bigint} ns */
function secondsOf(ns) {
  const seconds = Number(ns) / 1e9;
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds);
}

/** @param {string} name */
function quoted(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The range of the same length, `ns` earlier. @param {Range} range @param {bigint} ns */
function earlier(range, ns) {
  return { ...range, from: range.from - ns, to: range.to - ns };
}

/**
 * The events that are compared: conditions of both sides within a table. Null when there is nothing to compare.
 * @param {State} state @param {Range} range @returns {{source: string, selection: string, baseline: string | null} | null} without
 *   `baseline` the other side is all others
 */
function sides(state, range) {
  const before = state.vs === null ? null : parseSpan(state.vs);
  if (state.sel === null && before === null) return null;
  const own = state.sel === null ? [] : selectionTerms(state.sel).map(ended);
  if (before === null) {
    return { source: source(state, range), selection: joined(own), baseline: state.base === null ? null : joined(selectionTerms(state.base).map(ended)) };
  }
  const time = { ...range, ...(state.sel?.time ?? {}) };
  const then = earlier(time, before);
  const both = `(\n  select * from ${state.of}\n  where (${within(time)}\n    or ${within(then)})${also(state.where, "  ")}\n)`;
  return { source: both, selection: joined([within(time), ...own.filter((term) => !term.startsWith("timestamp "))]), baseline: within(then) };
}

/**
 * What is different about the selected events; of the whole range where none are selected. Null when there is nothing
 * to compare.
 * @param {State} state @param {Range} range @returns {string | null}
 */
export function difference(state, range) {
  const both = sides(state, range);
  if (both === null) return null;
  const { source: table, selection, baseline } = both;
  return call([table, selection, ...(baseline === null ? [] : [`baseline => ${baseline}`]), `across => '${state.across}'`]);
}

/** How the numbers of `key` are distributed on both sides. @param {State} state @param {Range} range @param {string} key as SQL @returns {string | null} */
export function bothDistributions(state, range, key) {
  const both = sides(state, range);
  if (both === null) return null;
  const { source: table, selection, baseline } = both;
  const other = baseline === null ? "else false" : `when ${baseline} then false`;
  return distribution(key, `case when ${selection} then true ${other} end`, `${table} as compared`);
}

/** A term with a comment, so that nothing behind it belongs to that. @param {string} term */
function ended(term) {
  return /--|\/\*/.test(term) ? `(${term}\n)` : term;
}

/** @param {string[]} parts */
function call(parts) {
  return `select * from explain_diff(${parts.join(",\n  ")})\norder by rank, abs(effect) desc nulls last, value`;
}

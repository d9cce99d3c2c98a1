// The SQL about one attribute: its values, and how its numbers are distributed. Pure, like statements.js.

import { also, within } from "./statements.js";
import { literalOf } from "./where.js";

/** @typedef {import("./range.js").Range} Range */
/** @typedef {import("./figures.js").Source} Source */

/** Bars of a distribution. */
export const BINS = 24;
/** Numbers of which the greatest is that many times the least are shown on a logarithmic scale. */
const WIDE = 50;

/**
 * Values of an attribute with the number of their events, the most frequent first.
 * @param {{name: string, of: Source, find: string}} attribute its name as SQL, and text that its values contain
 * @param {Range} range @param {number} limit
 */
export function attributeValues({ name, of, find }, range, limit) {
  const contains = find === "" ? "" : `cast(${name} as varchar) ilike ${literalOf(`%${find.replace(/[\\%_]/g, "\\$&")}%`)}`;
  return `select ${name} as value, count(*) as events, min(timestamp) as first_seen, max(timestamp) as last_seen,
  count(*) over () as all_values, sum(count(*)) over () as all_events
from ${of}
where ${within(range)}
  and ${name} is not null${also(contains)}
group by 1
order by events desc, 1
limit ${limit}`;
}

/** How many events there are, and how many of them have the attribute. @param {{name: string, of: Source}} attribute @param {Range} range */
export function attributeShare({ name, of }, range) {
  return `select count(*) as events, count(${name}) as with_key
from ${of}
where ${within(range)}`;
}

/** How the numbers of an attribute are distributed. @param {{name: string, of: Source}} attribute @param {Range} range */
export function attributeNumbers({ name, of }, range) {
  return distribution(name, "true", `${of}\n  where ${within(range)}`);
}

/**
 * Numbers in bars of one width, or on a logarithmic scale where they are far apart, apart by side: rows with their bar,
 * the side, the number of events, and the least and greatest number of all.
 * @param {string} value SQL @param {string} side SQL of a boolean; null is neither side @param {string} source what follows FROM
 */
export function distribution(value, side, source) {
  return `with numbers as (
  select try_cast(${value} as double) as x, ${side} as is_selected
  from ${source}
), ends as (
  select min(x) as low, max(x) as high, p50(x) as p50, p99(x) as p99, bool_and(x = floor(x)) as is_whole
  from numbers
  where is_selected is not null and abs(x) < 1e300
), places as (
  select is_selected, low, high, p50, p99, is_whole,
    case when high <= low then 0.0
      when low > 0 and high > ${WIDE} * low then ${BINS} * ln(x / low) / ln(high / low)
      when is_whole then (x - low) / ceil((high - low + 1) / ${BINS}.0)
      else ${BINS} * (x - low) / (high - low) end as place
  from numbers cross join ends
  where is_selected is not null and abs(x) < 1e300
)
select least(cast(floor(place) as bigint), ${BINS - 1}) as bin, is_selected, count(*) as events,
  min(low) as low, max(high) as high, max(p50) as p50, max(p99) as p99, bool_and(is_whole) as is_whole
from places
group by 1, 2
order by 1, 2`;
}

/**
 * Bars with their ends and the share of each side that they have.
 * @param {Record<string, any>[]} rows of `distribution`
 * @returns {{low: number, high: number, p50: number, p99: number, isLog: boolean, selected: number, others: number, bins: {low: number, high: number, selected: number, others: number}[]} | null}
 */
export function binsOf(rows) {
  if (rows.length === 0) return null;
  const [low, high] = [Number(rows[0].low), Number(rows[0].high)];
  const isWhole = rows[0].is_whole === true;
  // Percentiles are within 1 % of the exact value: of whole numbers that is the next one.
  const [p50, p99] = [rows[0].p50, rows[0].p99].map((value) => Math.max(low, Math.min(high, isWhole ? Math.round(Number(value)) : Number(value))));
  const isLog = low > 0 && high > WIDE * low;
  const width = isWhole ? Math.ceil((high - low + 1) / BINS) : (high - low) / BINS;
  const edge = (/** @type {number} */ i) => (isLog ? low * (high / low) ** (i / BINS) : low + width * i);
  const many = high <= low ? 1 : isLog || !isWhole ? BINS : Math.ceil((high - low + 1) / width);
  const bins = Array.from({ length: many }, (_, i) => ({ low: edge(i), high: many === 1 ? high : edge(i + 1), selected: 0, others: 0 }));
  for (const row of rows) {
    const bin = bins[Math.max(0, Math.min(bins.length - 1, Number(row.bin)))];
    bin[row.is_selected ? "selected" : "others"] += Number(row.events);
  }
  const sum = (/** @type {"selected" | "others"} */ side) => bins.reduce((total, bin) => total + bin[side], 0);
  return { low, high, p50, p99, isLog, bins, selected: sum("selected"), others: sum("others") };
}

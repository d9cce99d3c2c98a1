// Rows that come while one watches: what of an answer is new, and where it belongs. No DOM, no requests.

/**
 * `state` is what may change of a row that has the same key; rows without it never change.
 * @typedef {{key: string, at: bigint, row: Record<string, any>, state?: string}} Entry
 */

/**
 * Finds what is new. Each answer is of the last seconds, so it repeats rows of the answer before it; rows that are
 * alike in everything are counted.
 */
export class Fresh {
  constructor() {
    /** @type {Map<string, number>} */
    this.known = new Map();
  }

  /** The entries that no answer before had. @param {Entry[]} entries of one answer @returns {Entry[]} */
  of(entries) {
    /** @type {Map<string, number>} */
    const counts = new Map();
    const fresh = entries.filter(({ key: own, state }) => {
      const key = state === undefined ? own : `${own} ${state}`;
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      return count > (this.known.get(key) ?? 0);
    });
    // What is not in this answer is too old to come again, unless it was cut off: then a row is shown twice at worst.
    this.known = counts;
    return fresh;
  }
}

/**
 * Both lists as one, newest first; at equal times those of `more` come first. At most `max`, the oldest go.
 * @param {Entry[]} rows newest first @param {Entry[]} more @param {number} max @returns {Entry[]}
 */
export function merged(rows, more, max) {
  const sorted = [...more].sort((a, b) => (a.at > b.at ? -1 : a.at < b.at ? 1 : 0));
  const all = [];
  let [i, j] = [0, 0];
  while (all.length < max && (i < rows.length || j < sorted.length)) {
    if (j < sorted.length && (i >= rows.length || sorted[j].at >= rows[i].at)) all.push(sorted[j++]);
    else all.push(rows[i++]);
  }
  return all;
}

/** Rows of which there is a newer state are replaced by it. @param {Entry[]} rows @param {Entry[]} more */
export function withoutKeys(rows, more) {
  const keys = new Set(more.map(({ key }) => key));
  return rows.filter(({ key }) => !keys.has(key));
}

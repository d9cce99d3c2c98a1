// The server's own metrics, as `/metrics` writes them: read, added up, compared. No DOM, no requests.

/** @typedef {{labels: Record<string, string>, value: number}} Sample */
/** @typedef {Map<string, Sample[]>} Metrics samples by name */

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;

/** Reads the Prometheus text format; lines that are none are left out. @param {string} text @returns {Metrics} */
export function parseMetrics(text) {
  /** @type {Metrics} */
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const found = LINE.exec(line);
    if (found === null) continue;
    const value = found[3] === "+Inf" ? Infinity : Number(found[3]);
    if (Number.isNaN(value)) continue;
    const own = metrics.get(found[1]) ?? [];
    own.push({ labels: labelsOf(found[2] ?? ""), value });
    metrics.set(found[1], own);
  }
  return metrics;
}

/** @param {string} text */
function labelsOf(text) {
  /** @type {Record<string, string>} */
  const labels = {};
  for (const [, name, value] of text.matchAll(/([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
    labels[name] = value.replace(/\\(.)/g, (_, one) => (one === "n" ? "\n" : one));
  }
  return labels;
}

/** The sum of a metric over all samples that `is` chooses. @param {Metrics} metrics @param {string} name @param {(labels: Record<string, string>) => boolean} [is] */
export function total(metrics, name, is = () => true) {
  return (metrics.get(name) ?? []).reduce((sum, { labels, value }) => (is(labels) ? sum + value : sum), 0);
}

/** How much a counter grows in a second; after a restart of the server it counts from 0 again. @param {number} before @param {number} now @param {number} seconds */
export function perSecond(before, now, seconds) {
  return seconds <= 0 ? 0 : (now < before ? now : now - before) / seconds;
}

/**
 * A quantile of a histogram, in the bucket where it is; null where there are no values, Infinity beyond the last one.
 * @param {Metrics} metrics @param {string} name @param {number} quantile 0 to 1 @returns {number | null}
 */
export function quantileOf(metrics, name, quantile) {
  const buckets = (metrics.get(`${name}_bucket`) ?? []).map(({ labels, value }) => ({ end: labels.le === "+Inf" ? Infinity : Number(labels.le), count: value })).sort((a, b) => a.end - b.end);
  const all = buckets.at(-1)?.count ?? 0;
  if (all === 0) return null;
  return buckets.find(({ count }) => count >= quantile * all)?.end ?? Infinity;
}

/**
 * What is failing, as `/readyz` says it: `failing: merging failed 3 times in a row: …`.
 * @param {string} text @returns {Map<string, string>} by duty
 */
export function failingDuties(text) {
  return new Map([...text.matchAll(/^failing: (\S+) (.*)$/gm)].map(([, duty, words]) => [duty, words]));
}

// Addresses of pages: what stands in them, and links between pages that keep the range.

/** Parameters that mean the same on every page that has a range. */
const RANGE = ["t", "at"];

/**
 * `path?params`, readable: quotes, spaces and the like stay as they are where an address allows it.
 * @param {string} path
 * @param {Record<string, string | null | undefined> | URLSearchParams} params
 */
export function addressOf(path, params) {
  const entries = params instanceof URLSearchParams ? [...params] : Object.entries(params);
  const parts = entries
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([key, value]) => `${encodeURIComponent(key)}=${readable(/** @type {string} */ (value))}`);
  return parts.length === 0 ? path : `${path}?${parts.join("&")}`;
}

/** @param {string} value */
function readable(value) {
  return encodeURIComponent(value)
    .replace(/%20/g, "+")
    .replace(/%(?:3A|2C|2F|40|24|3B|5B|5D)/g, (escape) => decodeURIComponent(escape))
    .replace(/'/g, "%27");
}

/** The range of `params`, for a link to another page. @param {URLSearchParams} params */
export function rangeParams(params) {
  return Object.fromEntries(RANGE.map((key) => [key, params.get(key)]));
}

/** `params` with changes; null takes one out. @param {URLSearchParams} params @param {Record<string, string | null>} changes */
export function changed(params, changes) {
  const next = new URLSearchParams(params);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") next.delete(key);
    else next.set(key, value);
  }
  return next;
}

/** The SQL page with a statement. It stands in the fragment, which no server sees and no log keeps. @param {string} sql */
export function sqlAddress(sql) {
  return `/sql#q=${encodeURIComponent(sql)}`;
}

/** The statement in a fragment. @param {string} hash */
export function statementOf(hash) {
  const found = /^#q=(.*)$/s.exec(hash);
  if (found === null) return null;
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return null;
  }
}

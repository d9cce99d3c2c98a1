// Conditions: SQL text, and its view as a list of terms. The text is the truth; a term is one part of the top-level
// AND.

/**
 * The parts of `where` between top-level ANDs, trimmed. A BETWEEN keeps its AND.
 * @param {string} where
 * @returns {string[]}
 */
export function termsOf(where) {
  const terms = [];
  let start = 0;
  let between = 0;
  let hasOr = false;
  for (const { text, at, depth } of words(where)) {
    if (depth > 0) continue;
    if (text === "OR") hasOr = true;
    if (text === "BETWEEN") between += 1;
    if (text !== "AND") continue;
    if (between > 0) {
      between -= 1;
      continue;
    }
    terms.push(where.slice(start, at));
    start = at + 3;
  }
  // AND binds closer than OR: parts of `a OR b AND c` are no terms.
  const all = hasOr ? [where] : [...terms, where.slice(start)];
  return all.map((term) => term.trim()).filter((term) => term !== "");
}

/** Words in upper case outside of quotes and comments, with their place and depth in parentheses. @param {string} sql */
function* words(sql) {
  const token = /'(?:[^']|'')*'?|"(?:[^"]|"")*"?|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|[A-Za-z_][\w.]*|[()[\]]/g;
  let depth = 0;
  for (const found of sql.matchAll(token)) {
    const [text] = found;
    if (text === "(" || text === "[") depth += 1;
    else if (text === ")" || text === "]") depth -= 1;
    else if (/^[A-Za-z_]/.test(text)) yield { text: text.toUpperCase(), at: found.index, depth };
  }
}

/** One condition of all terms; a term with OR is put into parentheses. @param {string[]} terms */
export function joined(terms) {
  if (terms.length < 2) return terms[0] ?? "";
  return terms.map((term) => (hasOr(term) ? `(${term})` : term)).join(" and ");
}

/** @param {string} term */
function hasOr(term) {
  for (const { text, depth } of words(term)) if (depth === 0 && text === "OR") return true;
  return false;
}

// Words that begin or continue an expression, so that a key of that name needs quotes.
const RESERVED = new Set(
  ("all and any array as between by case cast cross current_date current_time current_timestamp distinct else end " +
    "except exists extract false from full group having in inner intersect interval into is join left like limit map " +
    "natural not null offset on or order outer over partition position right row select set some struct substring " +
    "table then top trim true union unique unnest using values when where window with").split(" "),
);

/** An attribute or column, with quotes where SQL needs them. @param {string} key */
export function nameOf(key) {
  const parts = key.split(".");
  const plain = parts.every((part) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) && !RESERVED.has(parts[0].toLowerCase());
  return plain && parts.length <= 8 ? key : `"${key.replaceAll('"', '""')}"`;
}

/** A value as a literal. @param {string | number | boolean} value */
export function literalOf(value) {
  return typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value);
}

/** @param {string} key @param {unknown} value @param {"only" | "without"} which */
export function condition(key, value, which) {
  const name = nameOf(key);
  if (value === null || value === undefined) return `${name} is ${which === "only" ? "" : "not "}null`;
  const plain = typeof value === "object" ? JSON.stringify(value) : /** @type {string} */ (value);
  return `${name} ${which === "only" ? "=" : "<>"} ${literalOf(plain)}`;
}

const TYPED = /^("(?:[^"]|"")+"|[A-Za-z_][\w.-]*)\s*(!=|<>|<=|>=|=|<|>|!~|~|not like\b|like\b|contains\b)\s*(\S.*)$/is;
const DURATION = /^(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|s|min|m|h)$/i;
/** @type {Record<string, number>} */
const NS = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, min: 6e10, m: 6e10, h: 3.6e12 };

/**
 * SQL of a condition as people type it: `os.version = iOS 17`, `duration > 1.5s`, `body contains timeout`,
 * `user.id exists`. What is SQL already stays as it is.
 * @param {string} text
 */
export function asTyped(text) {
  const typed = text.trim();
  const exists = /^("[^"]+"|[A-Za-z_][\w.-]*)\s+(not\s+exists|exists)$/i.exec(typed);
  if (exists !== null) return `${keyOf(exists[1])} is ${exists[2].length > 6 ? "" : "not "}null`;
  const found = TYPED.exec(typed);
  if (found === null || termsOf(typed).length > 1) return typed;
  const [, key, operator, value] = found;
  const how = operator.toLowerCase();
  const name = key === "duration" ? "duration_ns" : keyOf(key);
  if (how === "contains") return `${name} like '%${unquoted(value).replaceAll("'", "''").replace(/[\\%_]/g, "\\$&")}%'`;
  const long = DURATION.exec(value);
  if (long !== null && name.endsWith("_ns")) return `${name} ${how} ${Math.round(Number(long[1]) * NS[long[2].toLowerCase()])}`;
  if (isExpression(value)) return key === name ? typed : `${name} ${how} ${value}`;
  return `${name} ${how === "!=" ? "<>" : how} ${literalOf(value)}`;
}

/** @param {string} key with its quotes, if it has some */
function keyOf(key) {
  return key.startsWith('"') ? key : nameOf(key);
}

/** @param {string} value */
function unquoted(value) {
  return /^'.*'$/s.test(value) ? value.slice(1, -1).replaceAll("''", "'") : value;
}

/** Is it a value in SQL's own spelling? @param {string} value */
function isExpression(value) {
  if (/^['"(]/.test(value) || /[()']/.test(value)) return true;
  return /^(?:[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?|true|false|null)$/i.test(value) || /\b(?:or|and|is|in|between)\b/i.test(value);
}

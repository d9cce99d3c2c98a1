// The parts of the page that touch no document, with Node's own test runner: node --test tests/ui/state.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";

const stored = new Map();
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, value),
};
const web = new URL("../../src/server/ui/web/", import.meta.url);
const time = await import(new URL("state/time.js", web));
const range = await import(new URL("state/range.js", web));
const where = await import(new URL("state/where.js", web));
const ids = await import(new URL("state/ids.js", web));
const units = await import(new URL("state/units.js", web));
const text = await import(new URL("state/text.js", web));
const address = await import(new URL("state/address.js", web));
const compare = await import(new URL("state/compare.js", web));
const explore = await import(new URL("state/explore.js", web));
const statements = await import(new URL("state/explore-statements.js", web));
const figures = await import(new URL("state/figures.js", web));
const selections = await import(new URL("state/selection.js", web));
const difference = await import(new URL("state/difference.js", web));
const ticks = await import(new URL("state/ticks.js", web));
const records = await import(new URL("state/records.js", web));
const live = await import(new URL("state/live.js", web));
const metrics = await import(new URL("state/metrics.js", web));
const logStatements = await import(new URL("state/log-statements.js", web));
const attributes = await import(new URL("state/attribute-statements.js", web));
const diff = await import(new URL("state/trace-diff.js", web));
const { Grid } = await import(new URL("state/heat.js", web));
const { TraceModel } = await import(new URL("pages/trace-model.js", web));

test("instants are exact to the nanosecond, before and after 1970", () => {
  for (const iso of ["2026-11-29T15:00:03.12Z", "2026-11-29T15:00:03.000000001Z", "1969-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00Z", "2262-04-11T23:47:16.854775807Z"]) {
    assert.equal(time.isoOf(time.parseInstant(iso)), iso);
  }
  assert.equal(time.parseInstant("2026-11-29T16:00+01:00"), time.parseInstant("2026-11-29T15:00:00Z"));
  for (const wrong of ["", "yesterday", "2026-13-01", "2026-02-30", "2026-11-29T25:00Z"]) assert.equal(time.parseInstant(wrong), null, wrong);
});

test("times are shown in their zone, and its name with them, also where the clock changes", () => {
  const summer = time.parseInstant("2026-10-25T00:30:00.123456789Z");
  const winter = time.parseInstant("2026-10-25T01:30:00Z");
  assert.equal(time.clockOf(summer, 9, "Europe/Berlin"), "02:30:00.123456789");
  assert.equal(time.clockOf(winter, 0, "Europe/Berlin"), "02:30:00");
  assert.notEqual(time.zoneName(summer, "Europe/Berlin"), time.zoneName(winter, "Europe/Berlin"));
  assert.equal(time.clockOf(winter, 0, "Asia/Kolkata"), "07:00:00");
  assert.equal(time.dateOf(time.parseInstant("2026-01-01T02:00:00Z"), "America/New_York"), "2025-12-31");
  assert.equal(time.clockOf(time.parseInstant("1969-12-31T23:59:59.999Z"), 3, "UTC"), "23:59:59.999");
  for (const zone of ["Europe/Berlin", "Asia/Kolkata", "America/New_York", "UTC"]) {
    const instant = time.parseInstant("2026-07-01T12:34:56Z");
    assert.equal(time.parseLocal(`${time.dateOf(instant, zone)} ${time.clockOf(instant, 0, zone)}`, zone), instant, zone);
  }
});

test("ranges are read from addresses, moved and scaled", () => {
  const of = (query) => range.rangeOf(new URLSearchParams(query));
  const pinned = of("t=15m&at=2026-11-29T15:00:00Z");
  assert.equal(time.isoOf(pinned.from), "2026-11-29T14:45:00Z");
  const { t } = range.absolute(pinned.from, pinned.to);
  assert.deepEqual([of(`t=${t}`).from, of(`t=${t}`).to], [pinned.from, pinned.to]);
  assert.equal(range.shifted(pinned, -1).t, "2026-11-29T14:30:00Z..2026-11-29T14:45:00Z");
  assert.equal(range.scaled(pinned, 2).t, "2026-11-29T14:37:30Z..2026-11-29T15:07:30Z");
  for (const wrong of ["t=0m", "t=x", "t=2026-11-29..2026-11-28", "t=1h&at=soon"]) assert.equal(of(wrong), null, wrong);
  for (const choice of range.CHOICES) assert.equal(range.spanText(range.parseSpan(choice)), choice);
  for (const choice of range.CHOICES) {
    const some = of(`t=${choice}&at=2026-11-29T15:00:00Z`);
    assert.ok(range.stepOf(some, 90) * 90n >= some.to - some.from, choice);
  }
});

test("a condition is split at its top-level ANDs and put together again", () => {
  const terms = ["a = 'x and y'", "b between 1 and 2", "(c = 1 or d = 2)", "\"and\" = 3", "e in (select f from g where h and i)"];
  assert.deepEqual(where.termsOf(where.joined(terms)), terms);
  assert.deepEqual(where.termsOf("a = 1 or b = 2 and c = 3"), ["a = 1 or b = 2 and c = 3"]);
  assert.deepEqual(where.termsOf("a = 1 AND b = 2 -- and c"), ["a = 1", "b = 2 -- and c"]);
  assert.equal(where.joined(["a = 1 or b = 2", "c"]), "(a = 1 or b = 2) and c");
  assert.deepEqual(where.termsOf(""), []);
});

test("conditions are taken as people type them", () => {
  for (const [typed, sql] of [
    ["os.version = iOS 17", "os.version = 'iOS 17'"], ["http.route=/checkout", "http.route = '/checkout'"],
    ["duration > 1.5s", "duration_ns > 1500000000"], ["duration_ns <= 20 ms", "duration_ns <= 20000000"],
    ["body contains it's 50%", "body like '%it''s 50\\%%'"], ["user.id exists", "user.id is not null"], ["user.id not exists", "user.id is null"],
    ["http.response.status_code >= 500", "http.response.status_code >= 500"], ["a = 'x'", "a = 'x'"], ["a = b or c = d", "a = b or c = d"],
    ["name != GET /", "name <> 'GET /'"], ["k8s-name = x", "\"k8s-name\" = 'x'"], ["a = '; drop table x", "a = '; drop table x"],
    ["lower(name) = 'x'", "lower(name) = 'x'"], ["is_error", "is_error"],
  ]) assert.equal(where.asTyped(typed), sql);
});

test("names and values become SQL that means them", () => {
  assert.equal(where.nameOf("http.route"), "http.route");
  assert.equal(where.nameOf("k8s pod"), '"k8s pod"');
  assert.equal(where.nameOf('a"b'), '"a""b"');
  assert.equal(where.nameOf("order.id"), '"order.id"');
  assert.equal(where.condition("a", "it's", "only"), "a = 'it''s'");
  assert.equal(where.condition("a", null, "without"), "a is not null");
  assert.equal(where.condition("a", 5, "without"), "a <> 5");
});

test("ids are found in what is pasted", () => {
  const [trace, span] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
  assert.deepEqual(ids.findId(` ${trace.toUpperCase()} `), { kind: "trace", trace, span: null });
  assert.deepEqual(ids.findId(`00-${trace}-${span}-01`), { kind: "trace", trace, span });
  assert.deepEqual(ids.findId(`WARN slow trace_id=${trace} span_id=${span}`), { kind: "trace", trace, span });
  assert.deepEqual(ids.findId(`https://other/trace/${trace}?x=1`), { kind: "trace", trace, span: null });
  assert.deepEqual(ids.findId(span), { kind: "span", span });
  assert.deepEqual(ids.findId("4bf92f35-77b3-4da6-a3ce-929d0e0e4736"), { kind: "trace", trace, span: null });
  assert.deepEqual(ids.findId("connection reset"), { kind: "text", text: "connection reset" });
  assert.deepEqual(ids.findId("0".repeat(32)), { kind: "text", text: "0".repeat(32) });
  assert.deepEqual(ids.findId("  "), { kind: "none" });
});

test("figures are short and never round to another unit's thousand", () => {
  for (const [ns, words] of [[0, "0 ns"], [999, "999 ns"], [1500, "1.5 µs"], [999_700, "1 ms"], [12_345_678, "12.3 ms"], [2_841_000_000, "2.84 s"], [61e9, "1 min 1 s"], [7_260e9, "2 h 1 min"], [600e9, "10 min"], [-5e6, "−5 ms"], [null, "–"]]) {
    assert.equal(units.duration(ns), words);
  }
  assert.equal(units.percent(0.0001), "< 0.1 %");
  assert.equal(units.percent(0.9999), "> 99.9 %");
  assert.equal(units.short(12_345), "12.3 k");
  assert.equal(units.bytes(999_600), "1 MB");
  assert.equal(units.plural(1, "span"), "1 span");
});

test("hostile text is made visible, and only http is linked", () => {
  assert.equal(text.visible("a\u202eb\u0000c\nd"), "a\\u202eb\\u0000c\nd");
  assert.equal(text.linkOf("javascript:alert(1)"), null);
  assert.equal(text.linkOf("http://x/y"), "http://x/y");
  assert.equal(text.csvCell("=1+1"), "'=1+1");
  assert.equal(text.csvCell(-1), "-1");
  assert.equal(text.csvCell('a"b,c'), '"a""b,c"');
});

test("addresses hold any condition and statement", () => {
  for (const value of ["a = 'x&y=z' and b = '#?%+'", "ü \n 😀", "select 1 -- %41"]) {
    assert.equal(new URLSearchParams(address.addressOf("/logs", { where: value }).split("?")[1]).get("where"), value);
    assert.equal(address.statementOf(new URL(address.sqlAddress(value), "http://x").hash), value);
  }
  assert.equal(address.addressOf("/", { a: null, b: "" }), "/");
});

test("a change is bad only where there is enough to say so", () => {
  const figures = (calls, errors, p99_ns) => ({ calls, errors, p50_ns: 1, p99_ns });
  assert.equal(compare.verdict(figures(100, 0, 4e9), figures(100, 0, 1e8)).isBad, true);
  assert.equal(compare.verdict(figures(5, 0, 4e9), figures(100, 0, 1e8)).isBad, false);
  assert.equal(compare.verdict(figures(1000, 50, 1e8), figures(1000, 1, 1e8)).isBad, true);
  assert.equal(compare.verdict(figures(1000, 4, 1e8), figures(1000, 0, 1e8)).isBad, false);
  assert.equal(compare.verdict(figures(1000, 0, 1e8), null).words, "");
});

/** Numbers from 0 to 1, the same for a seed. */
function randomOf(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Any state of the explore page. */
function stateOf(random) {
  const below = (n) => Math.floor(random() * n);
  const one = (all) => all[below(all.length)];
  const some = (all, least) => {
    const shuffled = [...all].sort(() => random() - 0.5);
    return shuffled.slice(0, least + below(all.length - least));
  };
  const wheres = ["", "a = 'x, y; z' and b > 1", "os.version = 'iOS 17' or \"k8s pod\" like '%(50\\%'", "ü = '&#?+%41'"];
  const shows = ["count()", "p99(duration_ns)", "heatmap(cart.total)", "sum(case when a in (1, 2) then 1 end)", "distinct(\"a,b\")", "max(x) filter (where y = ',)')"];
  const groups = ["os.version", "\"k8s pod, of\"", "date_trunc('hour', timestamp)", "substr(name, 1, 3)"];
  const selection = () => {
    const from = 1_700_000_000_000_000_000n + BigInt(below(2 ** 31)) * BigInt(1 + below(10_000));
    const time = random() < 0.7 ? { from, to: from + 1n + BigInt(below(2 ** 31)) } : null;
    const low = random() < 0.2 ? null : (random() - 0.3) * 10 ** below(12);
    const value = time === null || random() < 0.7 ? { of: one(["duration_ns", "abs(x; y)", "\"a;b\""]), low, high: (low ?? 0) + random() * 1000 + 1e-3 } : null;
    return one([null, { time, value, where: null }, { time: null, value: null, where: "os.version = '17; a..b'" }]);
  };
  const [show, by] = [some(shows, 1), some(groups, 0)];
  return {
    where: one(wheres), of: one(["spans", "logs", "events"]), show, by, order: one([null, { what: one([...show, ...by]), isDescending: random() < 0.5 }]),
    limit: 1 + below(1000), sel: selection(), base: selection(), vs: one([null, "1h", "7d"]), across: one(["rows", "traces"]),
    scale: one(["log", "linear"]), colour: one(["count", "errors"]), isTable: random() < 0.5, wrong: [],
  };
}

test("500 states of the explore page are the same after a way through the address", () => {
  for (let seed = 1; seed <= 500; seed += 1) {
    const state = stateOf(randomOf(seed));
    const params = new URLSearchParams(address.addressOf("/explore", { t: "1h", ...explore.paramsOf(state) }).split("?")[1]);
    assert.deepEqual(explore.stateOf(params), state, `seed ${seed}`);
  }
});

test("an address of the explore page has usual values, and names what it cannot read", () => {
  const usual = explore.stateOf(new URLSearchParams("t=1h"));
  assert.deepEqual(usual.show, explore.SHOWN.spans);
  assert.equal(address.addressOf("/explore", explore.paramsOf(usual)), "/explore");
  const wrong = explore.stateOf(new URLSearchParams("of=spam&limit=0&sel=yesterday&vs=soon&order=count&spam=1&scale=log"));
  assert.deepEqual(wrong.wrong.sort(), ["limit", "of", "order", "sel", "spam", "vs"]);
  assert.deepEqual({ ...wrong, wrong: [] }, usual);
  for (const text of ["a..b", "*", "*;1..2", ";", "2026-01-01..2025-01-01", "*;2..1;x", "where ", "2026-01-01..2026-01-02;x..1;y"]) assert.equal(selections.parseSelection(text), null, text);
});

test("figures are taken as people type them and become SQL", () => {
  for (const [typed, source, figure, sql] of [
    ["p99", "spans", "p99(duration_ns)", "p99(duration_ns, sample_weight)"], ["p99", "logs", null], ["Count", "logs", "count()", "count(*)"], ["count(*)", "spans", "count()", "count(*)"],
    ["distinct", "spans", null], ["distinct( user.id )", "spans", "distinct(user.id)", "count(distinct user.id)"], ["errors", "logs", "errors()", "count(*) filter (where severity_number >= 17)"],
    ["rate()", "spans", "rate()", "sum(sample_weight) / 60.0"], ["sum(a) + sum(b)", "spans", "sum(a) + sum(b)", "sum(a) + sum(b)"], ["max(a) filter (where b)", "spans", "max(a) filter (where b)", "max(a) filter (where b)"], ["", "spans", null],
  ]) {
    assert.equal(figures.asFigure(typed, source), figure, typed);
    if (figure !== null) assert.equal(figures.sqlOf(figures.figureOf(figure), source, "60.0"), sql);
  }
  for (const [text, value, words] of [["p99(duration_ns)", 4.21e9, "4.21 s"], ["error_rate()", 0.031, "3.1 %"], ["rate()", 412.2, "412/s"], ["max(took_ms)", 1500, "1.5 s"], ["avg(cart.items)", 3.14159, "3.142"], ["max(name)", "z", "z"], ["max(os.version)", "15.50", "15.50"], ["sum(x)", "9007199254740993", "9.007e+15"], ["count()", 31204, "31,204"], ["avg(x)", null, "–"]]) {
    assert.equal(figures.wordsOf(value, figures.figureOf(text).unit), words);
  }
});

test("statements of the explore page have the range, the condition, and what is asked for", () => {
  const range1h = range.rangeOf(new URLSearchParams("t=2026-01-05T09:00:00Z..2026-01-05T10:00:00Z"));
  const of = (query) => explore.stateOf(new URLSearchParams(query));
  const groups = statements.groups(of("where=a+%3D+1+--+x&by=b&show=p99(c),+count()&limit=7&order=b+asc"), range1h);
  assert.match(groups, /timestamp < '2026-01-05T10:00:00Z'\n {2}and \(a = 1 -- x\n\)\ngroup by 1\norder by b asc nulls last\nlimit 7$/);
  assert.match(groups, /b as group_1,\n {2}p99\(c, sample_weight\) as "p99\(c\)"/);
  assert.equal(statements.difference(of("where=a"), range1h), null);
  const sel = "sel=2026-01-05T09:10:00Z..2026-01-05T09:20:00Z%3B1000..2000%3Bduration_ns";
  assert.match(statements.difference(of(`${sel}&across=traces`), range1h), /timestamp < '2026-01-05T09:20:00Z' and duration_ns >= 1000 and duration_ns < 2000,\n {2}across => 'traces'\)/);
  assert.match(statements.difference(of(`${sel}&base=where+x`), range1h), /baseline => x,/);
  assert.match(statements.difference(of("sel=where+a+--+b"), range1h), /\(a -- b\n\),\n {2}across/);
  assert.match(statements.difference(of("vs=1h"), range1h), /timestamp >= '2026-01-05T09:00:00Z' and timestamp < '2026-01-05T10:00:00Z',\n {2}baseline => timestamp >= '2026-01-05T08:00:00Z'/);
  const before = statements.difference(of(`${sel}&vs=1d`), range1h);
  assert.match(before, /baseline => timestamp >= '2026-01-04T09:10:00Z' and timestamp < '2026-01-04T09:20:00Z'/);
  assert.match(before, /where \(timestamp >= '2026-01-05T09:10:00Z'/);
  // The last point of a range that its step does not divide covers less time.
  const odd = range.rangeOf(new URLSearchParams("t=2026-01-05T09:00:00Z..2026-01-05T09:59:59Z"));
  assert.match(statements.lines(of("show=rate()"), odd), /least\(60.0, date_part/);
  assert.doesNotMatch(statements.lines(of("show=rate()"), range1h), /least/);
});

test("a heat map knows where its cells are, and a selection of them in units of the data", () => {
  const [from, step] = [time.parseInstant("2026-01-05T09:00:10Z"), 30_000_000_000n];
  const times = { from, to: from + 10n * step };
  const cell = (at, level, events, errors = 0) => ({ time: time.isoOf(time.parseInstant(at)), low: 10 ** (level / 12), high: 10 ** ((level + 1) / 12), events, errors, trace_id: "t", span_id: "s" });
  const grid = new Grid([cell("2026-01-05T09:00:00Z", 72, 5, 1), cell("2026-01-05T09:00:30Z", 75, 2), { ...cell("2026-01-05T09:05:00Z", 0, 4), low: 0, high: 0 }], times, step, null);
  assert.deepEqual([grid.columns, grid.rows, grid.events, grid.most, grid.rest], [11, 5, 11, 5, 1]);
  assert.equal(grid.at(0, 1).errors, 1);
  assert.equal(grid.at(10, 0).events, 4);
  assert.equal(time.isoOf(grid.timesOf(0).from), "2026-01-05T09:00:00Z");
  const selected = grid.select({ columns: [0, 1], rows: [1, 2] }, "duration_ns");
  assert.deepEqual(selected, { time: { from: grid.origin, to: grid.origin + 2n * step }, value: { of: "duration_ns", low: 1e6, high: 10 ** (74 / 12) }, where: null });
  assert.deepEqual(selections.parseSelection(selections.selectionText(selected)), selected);
  assert.ok(Math.abs(grid.rowOf(10 ** (74 / 12)) - 3) < 1e-9);
  assert.equal(grid.select({ columns: [2, 3], rows: [0, 4] }, "x").value, null);
  assert.equal(grid.select({ columns: [0, 10], rows: [0, 1] }, "x").time, null);
  assert.equal(grid.select({ columns: [0, 10], rows: [0, 1] }, "x").value.low, null);
  const linear = new Grid([{ ...cell("2026-01-05T09:00:00Z", 0, 1), low: -0.2, high: -0.1 }, { ...cell("2026-01-05T09:00:00Z", 0, 3), low: 0.30000000000000004, high: 0.4 }], times, step, 0.1);
  assert.deepEqual([linear.rows, linear.at(0, 0).events, linear.at(0, 5).events, linear.low], [6, 1, 3, -0.2]);
});

test("axes have marks that people would choose", () => {
  assert.deepEqual(ticks.logTicks(1e6, 2e10, "ns", 8).map(({ words }) => words), ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
  assert.deepEqual(ticks.logTicks(5e9, 9e12, "ns", 8).map(({ words }) => words), ["10 s", "1 min", "10 min", "1 h"]);
  assert.deepEqual(ticks.logTicks(1, 12, "number", 8).map(({ words }) => words), ["1", "2", "5", "10"]);
  assert.deepEqual(ticks.linearTicks(0, 0.93, "number", 4).map(({ at }) => at), [0, 0.5]);
  assert.deepEqual([0.3, 1, 70, 0].map(ticks.niceStep), [0.5, 1, 100, 1]);
  const day = time.parseInstant("2026-01-05T09:00:00Z");
  time.chooseZone("Asia/Kolkata");
  assert.deepEqual(ticks.timeTicks(day, day + 3_600_000_000_000n, 4).map(({ words }) => words), ["14:30", "14:45", "15:00", "15:15"]);
  time.chooseZone("local");
});

test("a difference becomes a condition, also about whole traces", () => {
  const row = (more) => ({ rank: 1, kind: "value", key: "os.version", level: "record", type: "text", service: null, value: "17", low: null, high: null, effect: 0.5, p: 0, goes_with: null, ...more });
  const of = (more, which, across = "rows") => difference.conditionOf(row(more), which, across);
  assert.equal(of({ value: "it's" }, "only"), "os.version = 'it''s'");
  assert.equal(of({ type: "integer" }, "without"), "os.version <> 17");
  assert.equal(of({ type: "prefix", value: "17_.*" }, "only"), "os.version like '17\\_.%'");
  assert.equal(of({ kind: "absent", value: null }, "without"), "os.version is not null");
  assert.equal(of({ kind: "range", key: "a b", low: 5, high: 9.5 }, "only"), '"a b" >= 5 and "a b" < 9.5');
  assert.equal(of({ service: "payment", key: "service.version" }, "only", "traces"), "trace_id in (select trace_id from events where service.version = '17' and service.name = 'payment' and trace_id is not null)");
  assert.equal(of({ kind: "absent", value: null }, "only", "traces"), "trace_id not in (select trace_id from events where os.version is not null and trace_id is not null)");
  assert.match(of({}, "without", "traces"), /^trace_id not in/);
  const { entries, unique } = difference.entriesOf([row({ goes_with: ["a"] }), row({ value: "18", effect: -0.7, goes_with: ["a", "b"] }), row({ rank: 2, key: "x" }), row({ rank: 3, key: "id", kind: "unique" })]);
  assert.deepEqual(entries.map(({ key, effect, goesWith, rows }) => [key, effect, goesWith, rows.length]), [["os.version", 0.7, ["a", "b"], 2], ["x", 0.5, [], 1]]);
  assert.deepEqual(unique.map(({ key }) => key), ["id"]);
});

/** A trace of these depths; every tenth row is an error. */
function modelOf(depths) {
  const spans = depths.length;
  const model = new TraceModel({ spans, duration_ns: spans, strings: ["shop", "even", "odd"], critical: [[0, 0, spans]] });
  const column = (of) => depths.map((_, i) => of(i));
  for (let from = 0; from < spans; from += 3) {
    const part = (values) => values.slice(from, from + 3);
    model.add({
      from, depth: part(depths), start: part(column((i) => i)), duration: part(column(() => 1)), service: part(column(() => 0)),
      name: part(column((i) => 1 + (i % 2))), status: part(column((i) => (i % 10 === 9 ? 2 : 0))), kind: part(column(() => 2)), marks: part(column(() => 0)),
    });
  }
  model.close(model.loaded, 0);
  return model;
}

test("a trace folds, finds and steps, in whatever chunks it came", () => {
  const model = modelOf([0, 1, 2, 3, 2, 1, 2, 0, 1, 1, 2]);
  assert.deepEqual([...model.end], [7, 5, 4, 4, 5, 7, 7, 11, 9, 11, 11]);
  assert.deepEqual([...model.parent], [-1, 0, 1, 2, 1, 0, 5, -1, 7, 7, 9]);
  model.look("all", false);
  assert.equal(model.seenCount, 11);
  model.shut[1] = 1;
  model.look("all", false);
  assert.deepEqual([...model.seen.slice(0, model.seenCount)], [0, 1, 5, 6, 7, 8, 9, 10]);
  assert.equal(model.placeOf(6), 3);
  assert.equal(model.placeOf(3), -1);
  model.reveal(3);
  model.look("all", false);
  assert.equal(model.placeOf(3), 3);
  assert.deepEqual([...model.find("ODD")], [1, 3, 5, 7, 9]);
  assert.equal(model.nextError(0, 1), 9);
  assert.equal(model.nextError(9, 1), -1);
  model.look("errors", false);
  assert.deepEqual([...model.seen.slice(0, model.seenCount)], [7, 9]);
  model.addRecords({ row: [1, 1, 5], at: [1, 2, 5], kind: ["log", "event", "log"], level: ["WARN", "", ""], text: ["a", "b", "c"] });
  model.look("all", true);
  assert.deepEqual([...model.seen.slice(0, 5)], [0, 1, -1, -2, 2]);
  assert.equal(model.rowAt(3), 1);
  assert.equal(model.placeOf(2), 4);
});

test("a log record is known again by its time and what it says", () => {
  const record = { timestamp: "2026-11-29T14:36:02.339000001Z", severity: "WARN", service: "cart", body: "slow", trace_id: null, span_id: null };
  const event = records.eventOf(record);
  assert.match(event, /^2026-11-29T14:36:02\.339000001Z~[0-9a-f]{8}$/);
  assert.equal(records.timeOfEvent(event), record.timestamp);
  assert.equal(records.eventOf({ ...record, attributes: { more: 1 } }), event, "attributes may come later");
  for (const other of [{ body: "slower" }, { service: null }, { trace_id: "4bf92f3577b34da6a3ce929d0e0e4736" }, { severity: "ERROR" }]) assert.notEqual(records.eventOf({ ...record, ...other }), event);
  for (const wrong of [null, "", "2026-11-29T14:36:02Z", "soon~01234567", "2026-11-29T14:36:02Z~0123456"]) assert.equal(records.timeOfEvent(wrong), null, wrong);
});

test("neighbours of a record are those of its instance, by the most exact attribute there is", () => {
  const record = { timestamp: "2026-11-29T14:36:02Z", severity: null, service: "it's", body: "", trace_id: "4bf92f3577b34da6a3ce929d0e0e4736", span_id: null };
  const of = (attributes) => records.neighbourhoods(record, attributes);
  assert.deepEqual(of({}).map(({ around }) => around), ["service", "trace", "all"]);
  const [nearest] = of({ "host.name": "a", "k8s.pod.name": "cart-7" });
  assert.deepEqual([nearest.around, nearest.where], ["instance", "service.name = 'it''s' and k8s.pod.name = 'cart-7'"]);
  assert.deepEqual(records.neighbourhoods({ ...record, service: null, trace_id: null }, {}).map(({ where }) => where), ["service.name is null", ""]);
});

test("the statement around a record reaches as far as it is asked to", () => {
  const near = logStatements.logContext("2026-11-29T14:36:02.5Z", "service.name = 'a' or b", { before: 50, after: 7, isFar: false });
  assert.match(near, /timestamp <= '2026-11-29T14:36:02\.5Z' and timestamp >= '2026-11-28T14:36:02\.5Z'\n    and \(service\.name = 'a' or b\)/);
  assert.match(near, /limit 51\n/);
  assert.match(near, /timestamp > '2026-11-29T14:36:02\.5Z' and timestamp < '2026-11-30T14:36:02\.5Z'[^]*limit 7\n/);
  assert.doesNotMatch(logStatements.logContext("2026-11-29T14:36:02.5Z", "", { before: 1, after: 1, isFar: true }), /2026-11-28|2026-11-30|and \(/);
});

test("the condition of a pattern finds what it was made of, and is quoted", () => {
  const of = logStatements.patternCondition;
  assert.equal(of("took <n> ms"), "body like 'took % ms'");
  assert.equal(of("<uuid><n> it's 100% <hex>_x"), "body like '% it''s 100\\% %\\_x'");
  assert.ok(of("x".repeat(1000)).endsWith("x%'"), "a pattern is of the beginning of a long body");
});

test("rows that come again are told from new ones, also where they are alike", () => {
  const entry = (key, at, state) => ({ key, at: BigInt(at), row: { key }, state });
  const fresh = new live.Fresh();
  const keys = (entries) => fresh.of(entries).map(({ key }) => key);
  assert.deepEqual(keys([entry("a", 2), entry("a", 2), entry("b", 1)]), ["a", "a", "b"]);
  assert.deepEqual(keys([entry("c", 3), entry("a", 2), entry("a", 2), entry("a", 2)]), ["c", "a"], "a third one like the two");
  assert.deepEqual(keys([entry("c", 3), entry("a", 2)]), []);
  const grown = new live.Fresh();
  assert.equal(grown.of([entry("t", 1, "1 span")]).length, 1);
  assert.equal(grown.of([entry("t", 1, "1 span")]).length, 0);
  assert.equal(grown.of([entry("t", 1, "2 spans")]).length, 1);

  const rows = live.merged([entry("d", 4), entry("b", 2)], [entry("c", 3), entry("e", 5), entry("a", 2)], 4);
  assert.deepEqual(rows.map(({ key }) => key), ["e", "d", "c", "a"]);
  assert.deepEqual(live.withoutKeys(rows, [entry("d", 9)]).map(({ key }) => key), ["e", "c", "a"]);
  assert.deepEqual(live.merged([], [], 5), []);
});

test("metrics are read with their labels, and added up", () => {
  const read = metrics.parseMetrics(`# HELP x About x
x_total{route="/v1/\\"a\\"",status="200"} 3
x_total{route="b",status="503"} 4.5
y 7e2
nonsense
h_bucket{le="0.5"} 5
h_bucket{le="1.0"} 9
h_bucket{le="+Inf"} 10
# EOF`);
  assert.equal(metrics.total(read, "x_total"), 7.5);
  assert.equal(metrics.total(read, "x_total", ({ status }) => status === "503"), 4.5);
  assert.equal(read.get("x_total")[0].labels.route, '/v1/"a"');
  assert.equal(metrics.total(read, "y"), 700);
  assert.equal(metrics.total(read, "no such"), 0);
  assert.deepEqual([0.5, 0.9, 0.99].map((q) => metrics.quantileOf(read, "h", q)), [0.5, 1, Infinity]);
  assert.equal(metrics.quantileOf(read, "no such", 0.5), null);
  assert.equal(metrics.perSecond(10, 30, 4), 5);
  assert.equal(metrics.perSecond(30, 8, 4), 2, "a restart begins at 0");
  assert.deepEqual([...metrics.failingDuties("ok\nfailing: merging failed twice: no space\nfailing: flush failed\n")], [["merging", "failed twice: no space"], ["flush", "failed"]]);
});

test("numbers far apart have a logarithmic scale, whole numbers bars of their own", () => {
  const rows = (low, high, isWhole, bins) => bins.map(([bin, is_selected, events]) => ({ bin, is_selected, events, low, high, p50: low, p99: high, is_whole: isWhole }));
  const wide = attributes.binsOf(rows(1, 10_000, false, [[0, true, 3], [23, false, 4]]));
  assert.equal(wide.isLog, true);
  assert.equal(wide.bins.length, attributes.BINS);
  assert.ok(Math.abs(wide.bins[12].low - 100) < 1e-9);
  assert.deepEqual([wide.selected, wide.others, wide.bins[0].selected, wide.bins[23].others], [3, 4, 3, 4]);
  const whole = attributes.binsOf(rows(1, 7, true, [[0, true, 1], [6, true, 2]]));
  assert.deepEqual(whole.bins.map(({ low }) => low), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(whole.bins[6].selected, 2);
  const one = attributes.binsOf(rows(5, 5, true, [[0, true, 9]]));
  assert.deepEqual([one.bins.length, one.bins[0].low, one.bins[0].high], [1, 5, 5]);
  assert.equal(attributes.binsOf([]), null);
});

/** A trace of rows as [depth, start, duration, name], of which the critical path is given. */
function traceOf(rows, critical = []) {
  const strings = [...new Set(rows.map(([, , , name]) => name)), "shop"];
  const model = new TraceModel({ spans: rows.length, duration_ns: 1000, critical, strings });
  model.add({ from: 0, depth: rows.map(([depth]) => depth), start: rows.map(([, start]) => start), duration: rows.map(([, , length]) => length),
    service: rows.map(() => strings.indexOf("shop")), name: rows.map(([, , , name]) => strings.indexOf(name)), status: rows.map(() => 0), kind: rows.map(() => 1), marks: rows.map(() => 0) });
  model.close(model.loaded, 0);
  return model;
}

test("two traces are laid over each other by the place of their spans", () => {
  const a = traceOf([[0, 0, 100, "order"], [1, 5, 30, "reserve"], [2, 6, 3, "lock"], [1, 40, 50, "reserve"], [1, 95, 2, "only here"]], [[0, 0, 20], [1, 5, 35], [3, 40, 90]]);
  const b = traceOf([[0, 0, 60, "order"], [1, 2, 3, "only there"], [1, 5, 40, "reserve"]], [[0, 0, 20], [2, 5, 45]]);
  const entries = diff.align(a, b);
  assert.deepEqual(entries.map(({ name, depth, a, b }) => [name, depth, a.count, a.total, b.count, b.total]), [
    ["order", 0, 1, 100, 1, 60], ["only there", 1, 0, 0, 1, 3], ["reserve", 1, 2, 80, 1, 40], ["lock", 2, 1, 3, 0, 0], ["only here", 1, 1, 2, 0, 0],
  ]);
  assert.deepEqual(entries.map(diff.sidesOf), ["both", "b", "both", "a", "a"]);
  assert.deepEqual(entries.map(({ parent }) => parent), [-1, 0, 0, 2, 0]);
  assert.equal(entries[2].a.row, 3, "the longest of its spans");
  assert.deepEqual(diff.partsOfDifference(entries, 1).map(({ entry, part }) => [entry.name, part]), [["reserve", 40]]);
  assert.deepEqual(diff.different(entries, 60).map(({ name }) => name), ["order", "only there", "reserve", "lock", "only here"]);
  assert.deepEqual(diff.different(diff.align(a, a), 1), []);
  // As deep as any trace.
  const deep = traceOf(Array.from({ length: 5000 }, (_, i) => [i, i, 10_000 - i, `level ${i}`]));
  assert.equal(diff.align(deep, deep).at(-1).depth, 4999);
});

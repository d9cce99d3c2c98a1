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
  for (const [ns, words] of [[0, "0 ns"], [999, "999 ns"], [1500, "1.5 µs"], [999_700, "1 ms"], [12_345_678, "12.3 ms"], [2_841_000_000, "2.84 s"], [61e9, "1 min 1 s"], [7_260e9, "2 h 1 min"], [-5e6, "−5 ms"], [null, "–"]]) {
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

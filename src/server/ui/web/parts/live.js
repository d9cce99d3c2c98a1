// A list that grows while one watches, the newest first: told by the server as events come, or asked for again and again
// by a statement about the last seconds. What is being read never moves: while the list is scrolled, pointed at, paused or has a chosen row, new rows
// are counted in a button instead.

import { asProblem, isGivenUp, Problem } from "../data/request.js";
import { ask, objects } from "../data/sql.js";
import { follow } from "../data/tail.js";
import { sqlAddress } from "../state/address.js";
import { Fresh, merged, withoutKeys } from "../state/live.js";
import { clockOf, parseInstant, zoneName } from "../state/time.js";
import { count, plural, rate } from "../state/units.js";
import { fill, h } from "./dom.js";
import { problemNote } from "./panel.js";

const EVERY_MS = 500;
/** A question that takes long is asked less often, so that the server has more to do than to answer it. */
const PAUSE_OF_ANSWER = 2;
const WAIT_MAX_MS = 15_000;
/** Rows that arrive later than that after their time are not seen by a statement. */
const LATE_SECONDS = 15;
const SECONDS_MAX = 300;
const ANSWER_ROWS_MAX = 2000;
const KEPT_ROWS_MAX = 10_000;
const RATE_MS = 10_000;

/** @typedef {import("../state/live.js").Entry} Entry */
/**
 * @typedef {{
 *   title: string, what: string, statement?: (seconds: number, limit: number) => string,
 *   tail?: () => {source: "logs" | "spans", where: string} | null,
 *   entry: (row: Record<string, any>) => Entry, isUpdated?: boolean, isReading: () => boolean,
 *   list: {element: HTMLElement, rows: import("./virtual-rows.js").VirtualRows}, put: (rows: Record<string, any>[]) => void,
 * }} Options `tail` says which events the server tells of, null where the `statement` is asked; `isUpdated`: rows with the same key replace each other; `isReading`: is a row chosen?
 */

/** @param {Options} options */
export function liveList(options) {
  const state = h("span.live-state");
  const pause = h("button.tool", { type: "button", title: "Hold new rows back  Space", onclick: () => toggle() }, "Pause");
  const sql = /** @type {HTMLAnchorElement} */ (h("a.tool.statement", { title: "The statement that is asked again and again  v" }, "SQL"));
  const notes = h("div.panel-notes");
  const news = h("button.news", { type: "button", onclick: () => release(true) });
  news.hidden = true;
  const none = h("p.empty.live-empty", null, "Nothing came in the last 5 minutes. What comes is shown here at once.");
  none.hidden = true;
  const body = h("div.panel-body", null, h("div.list-and-foot.live-body", null, options.list.element, none, news));
  const head = h("header.panel-head", null, h("h2", null, options.title), h("span.grow"), state, pause, sql);
  const element = h("section.panel.results.live", null, head, notes, body);

  /** @type {Entry[]} */
  let rows = [];
  /** @type {Entry[]} */
  let held = [];
  let fresh = new Fresh();
  let run = new AbortController();
  let timer = 0;
  let isOn = false;
  let isAsking = false;
  let isPaused = false;
  let isPointed = false;
  let askedAt = 0;
  let failures = 0;
  /** @type {{stop: () => void} | null} */
  let following = null;
  /** @type {Set<string>} keys of rows that were there before the connection was opened again */
  let known = new Set();
  let left = 0;
  /** Is nobody telling what comes? */
  let isWaiting = false;
  /** When rows came, and how many. @type {{at: number, rows: number}[]} */
  let arrivals = [];

  const { list } = options;
  list.element.addEventListener("pointerenter", (event) => (isPointed = event.pointerType === "mouse"));
  list.element.addEventListener("pointerleave", () => {
    isPointed = false;
    if (held.length > 0 && !isReading()) release(false);
  });
  list.element.addEventListener("scroll", () => {
    if (held.length > 0 && !isReading()) release(false);
  }, { passive: true });

  const isReading = () => isPaused || isPointed || list.element.scrollTop > 2 || options.isReading() || isSelected(list.element);

  const poll = async () => {
    clearTimeout(timer);
    if (!isOn || isAsking || document.hidden) return;
    const own = run;
    isAsking = true;
    // As far back as the last answer, and some more for those that come late.
    const elapsed = askedAt === 0 ? SECONDS_MAX : (performance.now() - askedAt) / 1000;
    const statement = /** @type {NonNullable<Options["statement"]>} */ (options.statement)(Math.min(SECONDS_MAX, Math.ceil(elapsed) + LATE_SECONDS), ANSWER_ROWS_MAX);
    sql.href = sqlAddress(statement);
    const began = performance.now();
    try {
      const answer = objects(await ask(statement, { signal: own.signal, fresh: true }));
      if (own !== run || !isOn) return;
      [askedAt, failures] = [began, 0];
      take(answer);
    } catch (error) {
      if (own !== run || isGivenUp(error)) return;
      failures += 1;
      const isBusy = error instanceof Problem && (error.isGone || error.status === 503 || error.status === 429);
      fill(state, h("i.live-dot.held", { "aria-hidden": "true" }), isBusy ? "waiting for the server" : "stopped");
      // A banner says that the server is away; it is asked again, less and less often.
      if (!isBusy) return fill(notes, problemNote(asProblem(error), () => void poll()));
    } finally {
      if (own === run) isAsking = false;
    }
    const pause = Math.max(EVERY_MS * 2 ** failures, PAUSE_OF_ANSWER * (performance.now() - began));
    timer = setTimeout(() => void poll(), Math.min(WAIT_MAX_MS, pause));
  };

  /** @param {{source: "logs" | "spans", where: string}} wanted */
  const listen = (wanted) => {
    following = follow({ ...wanted, backlog: ANSWER_ROWS_MAX }, {
      began: (statement) => {
        sql.href = sqlAddress(statement);
        [askedAt, isWaiting] = [performance.now(), false];
        known = new Set([...rows, ...held].map(({ key }) => key));
        fill(notes);
        say();
      },
      rows: (more, isBacklog) => {
        const entries = more.map(options.entry);
        add(isBacklog ? entries.filter(({ key }) => !known.has(key)) : entries, isBacklog);
      },
      skipped: (number, what) => {
        left += number;
        fill(notes, h("div.note.warning", null, `▲ More come than can be shown: ${plural(left, what === "rows" ? options.what : "event")} left out so far.`));
      },
      failed: (problem) => {
        isWaiting = true;
        fill(state, h("i.live-dot.held", { "aria-hidden": "true" }), "stopped");
        fill(notes, problemNote(problem, () => start()));
      },
      waits: () => {
        isWaiting = true;
        fill(state, h("i.live-dot.held", { "aria-hidden": "true" }), "waiting for the server");
      },
    });
    tick();
  };

  /** Shows what was held back once nobody reads any more, and what the rate has become. */
  const tick = () => {
    clearTimeout(timer);
    if (!isOn || document.hidden) return;
    if (held.length > 0 && !isReading()) release(false);
    if (askedAt > 0 && !isWaiting) say();
    timer = setTimeout(tick, EVERY_MS);
  };

  /** @param {Record<string, any>[]} answer of a statement about the last seconds */
  const take = (answer) => {
    const more = fresh.of(answer.map(options.entry));
    const isFirst = rows.length === 0 && held.length === 0;
    // What was there before one came is not all of it, and need not be.
    const lost = isFirst ? 0 : Number(answer[0]?.total ?? 0) - answer.length;
    fill(notes, lost > 0 ? h("div.note.warning", null, `▲ More come than can be shown: of the last ${plural(Number(answer[0].total), options.what)} the newest ${count(answer.length)} are here.`) : null);
    add(more, isFirst);
  };

  /** @param {Entry[]} more @param {boolean} isFirst was it there before one came? */
  const add = (more, isFirst) => {
    if (!isFirst) arrivals.push({ at: performance.now(), rows: more.length });
    if (more.length > 0) held = merged(options.isUpdated ? withoutKeys(held, more) : held, more, KEPT_ROWS_MAX);
    if (held.length > 0 && ((isFirst && rows.length === 0) || !isReading())) release(false);
    say();
  };

  /** Shows what was held back. @param {boolean} toTop */
  const release = (toTop) => {
    const known = options.isUpdated ? withoutKeys(rows, held) : rows;
    rows = merged(known, held, KEPT_ROWS_MAX);
    held = [];
    if (toTop) {
      list.rows.active = -1;
      list.rows.scrollTo(0);
      isPaused = false;
    }
    options.put(rows.map(({ row }) => row));
    say();
  };

  const say = () => {
    const [more, newest] = [held.length, rows[0]];
    arrivals = arrivals.filter(({ at }) => performance.now() - at < RATE_MS);
    news.hidden = more === 0;
    none.hidden = askedAt === 0 || newest !== undefined;
    news.textContent = `${more >= KEPT_ROWS_MAX ? "more than " : ""}${count(more)} new ↑`;
    const seconds = Math.max(1, arrivals.length > 0 ? (performance.now() - arrivals[0].at) / 1000 : 1);
    const come = arrivals.reduce((sum, one) => sum + one.rows, 0) / seconds;
    const hidden = document.hidden ? "stopped while not in view" : isPaused ? "paused" : more > 0 ? "holding while you read" : "live";
    fill(state, h(`i.live-dot${isPaused || more > 0 ? ".held" : ""}`, { "aria-hidden": "true" }), `${hidden} · ${rate(come)}/s`, newest === undefined ? " · nothing yet" : ` · newest ${clockOf(newest.at, 0)} ${zoneName(newest.at)}`);
    pause.textContent = isPaused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(isPaused));
  };

  const toggle = () => {
    isPaused = !isPaused;
    if (!isPaused && held.length > 0 && !isReading()) release(false);
    say();
  };

  const seen = () => {
    if (!isOn) return;
    say();
    if (options.tail?.()) return document.hidden ? void following?.stop() : start();
    if (document.hidden) return;
    // After a longer time there would be a hole in the list.
    if (askedAt > 0 && performance.now() - askedAt > (SECONDS_MAX - LATE_SECONDS) * 1000) start();
    else void poll();
  };

  const stop = () => {
    isOn = false;
    isAsking = false;
    run.abort();
    following?.stop();
    following = null;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };

  /** Begins anew. */
  const start = () => {
    stop();
    isOn = true;
    run = new AbortController();
    [rows, held, arrivals, fresh, askedAt, failures, isPaused, isPointed] = [[], [], [], new Fresh(), 0, 0, false, false];
    [known, left, isWaiting] = [new Set(), 0, false];
    fill(notes);
    list.rows.active = -1;
    options.put([]);
    document.addEventListener("visibilitychange", seen);
    say();
    const wanted = options.tail?.() ?? null;
    if (wanted === null) void poll();
    else if (!document.hidden) listen(wanted);
  };

  return {
    element, toggle, start, stop,
    get isOn() {
      return isOn;
    },
  };
}

/** A button that begins and ends the live view. @param {string} title @param {() => void} act */
export function liveButton(title, act) {
  return h("button.live-button", { type: "button", title, onclick: act }, h("i.live-dot", { "aria-hidden": "true" }), "Live");
}

/** An instant of a row, as an entry needs it. @param {unknown} text */
export function instantOf(text) {
  return parseInstant(String(text)) ?? 0n;
}

/** Is text of it selected? @param {HTMLElement} element */
function isSelected(element) {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode);
}

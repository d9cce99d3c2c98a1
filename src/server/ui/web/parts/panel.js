// A panel: a statement, its answer as a picture, and all the states in between. The old picture stays, dimmed, while
// the next one is on its way.

import { asProblem, isGivenUp } from "../data/request.js";
import { ask } from "../data/sql.js";
import { bytes, count, plural } from "../state/units.js";
import { sqlAddress } from "../state/address.js";
import { fill, focusOf, h } from "./dom.js";

const BAR_AFTER_MS = 300;

/** @typedef {import("../data/sql.js").Answer} Answer */
/**
 * `read` asks another route than that of statements: `sql` is then its address, and the answer has its statement.
 * @typedef {{sql: string, limit?: number, read?: (options: {signal: AbortSignal, fresh: boolean}) => Promise<Answer>}} Question
 */
/** @typedef {{title?: string, level?: 2 | 3, draw: (answer: Answer) => (Node | null), empty?: () => (Node | Promise<Node>),
 *   tools?: Node[], name: string}} Options */

export class Panel {
  /** @param {Options} options `draw` makes the picture; null means that there is nothing to see */
  constructor(options) {
    this.options = options;
    /** @type {AbortController | null} */
    this.run = null;
    this.cost = h("span.cost", { "aria-live": "polite" });
    this.sqlLink = h("a.tool.statement", { title: "The statement that gave these figures  v" }, "SQL");
    this.sqlLink.hidden = true;
    const title = options.title === undefined ? null : h(`h${options.level ?? 2}`, null, options.title);
    this.head = h("header.panel-head", null, title, h("span.grow"), this.cost, ...(options.tools ?? []), this.sqlLink);
    this.notes = h("div.panel-notes");
    this.body = h("div.panel-body");
    this.element = h(`section.panel.${options.name}`, null, this.head, this.notes, this.body);
    /** @type {Question | null} */
    this.question = null;
    /** @type {Answer | null} */
    this.answer = null;
    /** The statement whose picture is shown, and nothing but it; else "". */
    this.shown = "";
    this.countdown = 0;
  }

  /** Asks `question` and shows what comes; an earlier run is given up. @param {Question} question @param {boolean} [isFresh] */
  async show(question, isFresh = false) {
    this.stop();
    const run = new AbortController();
    this.run = run;
    this.question = question;
    this.link(question.read === undefined ? question.sql : null);
    this.element.setAttribute("aria-busy", "true");
    const slow = setTimeout(() => this.waiting(null), BAR_AFTER_MS);
    try {
      const answer = question.read !== undefined ? await question.read({ signal: run.signal, fresh: isFresh }) : await ask(question.sql, {
        signal: run.signal, limit: question.limit, fresh: isFresh,
        onProgress: (progress) => this.run === run && this.waiting(progress),
      });
      if (this.run === run && answer.sql !== undefined) this.link(answer.sql);
      if (this.run === run) await this.picture(answer);
    } catch (error) {
      if (this.run === run && !isGivenUp(error)) this.failed(error);
    } finally {
      clearTimeout(slow);
      if (this.run === run) {
        this.run = null;
        this.element.removeAttribute("aria-busy");
      }
    }
  }

  /** Makes "SQL" lead to a statement; null where it is not known yet. @param {string | null} sql */
  link(sql) {
    this.sqlLink.hidden = sql === null;
    if (sql !== null) /** @type {HTMLAnchorElement} */ (this.sqlLink).href = sqlAddress(sql);
  }

  /** @param {import("../data/sql.js").Progress | null} progress */
  waiting(progress) {
    const words = progress === null ? "Reading" : progressWords(progress);
    const shown = this.notes.querySelector(".waiting-words");
    if (shown !== null) {
      // In place: a click on Cancel must find the button that it began on.
      shown.textContent = words;
      return;
    }
    const cancel = h("button.tool", { type: "button", onclick: () => this.cancel() }, "Cancel");
    fill(this.notes, h("div.note.waiting", null, h("span.bar"), h("span.waiting-words", null, words), cancel));
  }

  cancel() {
    if (this.run === null) return false;
    this.stop();
    this.shown = "";
    this.element.removeAttribute("aria-busy");
    const again = h("button.tool", { type: "button", onclick: () => this.again() }, "Run again");
    fill(this.notes, h("div.note", null, h("span", null, "Cancelled."), again));
    return true;
  }

  again() {
    if (this.question !== null) void this.show(this.question, true);
  }

  /** @param {Answer} answer */
  async picture(answer) {
    this.answer = answer;
    this.shown = this.question?.sql ?? "";
    const restore = focusOf(this.body);
    const picture = this.options.draw(answer);
    const shown = picture ?? (await this.options.empty?.()) ?? h("p.empty", null, "Nothing found.");
    this.cost.textContent = costWords(answer);
    fill(this.notes, ...answer.warnings.map((warning) => h("div.note.warning", null, `▲ ${warning}`)));
    fill(this.body, shown);
    restore();
  }

  /** @param {unknown} error */
  failed(error) {
    this.shown = "";
    fill(this.notes, problemNote(asProblem(error), () => this.again()));
    this.cost.textContent = "";
  }

  /** Is the picture of `sql` shown, or on its way? @param {string} sql */
  has(sql) {
    return this.run === null ? this.shown === sql : this.question?.sql === sql;
  }

  stop() {
    clearInterval(this.countdown);
    this.run?.abort();
    this.run = null;
  }
}

/** A problem in the place where it happened, with a button to try again. @param {import("../data/request.js").Problem} problem @param {() => void} again */
export function problemNote(problem, again) {
  const button = h("button.tool", { type: "button", onclick: again }, "Try again");
  if (problem.retryAfterSeconds !== undefined) countDown(button, problem.retryAfterSeconds);
  return h(
    "div.note.problem", { role: "alert" },
    h("span", null, h("strong", null, `▲ ${problem.title}`), problem.detail === "" ? "" : ` ${problem.detail}`), button,
  );
}

/** @param {HTMLElement} button @param {number} seconds */
function countDown(button, seconds) {
  let left = seconds;
  const timer = setInterval(() => {
    left -= 1;
    if (left > 0) button.textContent = `Try again (in ${left} s)`;
    else {
      clearInterval(timer);
      if (button.isConnected) button.click();
    }
  }, 1000);
  button.textContent = `Try again (in ${left} s)`;
  button.addEventListener("click", () => clearInterval(timer));
}

/** @param {import("../data/sql.js").Progress} progress */
export function progressWords(progress) {
  const parts = [];
  if (progress.rows_read) parts.push(`${count(progress.rows_read)} rows read`);
  if (progress.bytes_read) parts.push(bytes(progress.bytes_read));
  parts.push(`${(progress.elapsed_ms / 1000).toFixed(1)} s`);
  return parts.join(", ");
}

/** @param {Answer} answer */
export function costWords(answer) {
  const parts = [`${Math.max(1, Math.round(answer.elapsedMs))} ms`];
  if (answer.cost.rows_read) parts.push(`${plural(answer.cost.rows_read, "row")} read`);
  if (answer.cost.bytes_read) parts.push(bytes(answer.cost.bytes_read));
  return parts.join(" · ");
}

// The SQL page: a statement, checked while it is written, and its rows.

import { ask } from "../data/sql.js";
import { Problem } from "../data/request.js";
import { sqlAddress, statementOf } from "../state/address.js";
import { csvOf } from "../state/text.js";
import { count, plural } from "../state/units.js";
import { copy, download } from "../parts/copy.js";
import { fill, h } from "../parts/dom.js";
import { Panel, problemNote } from "../parts/panel.js";
import { resultTable } from "../parts/result-table.js";
import { sqlEditor } from "../parts/sql-editor.js";
import { historyButton, remember } from "../parts/statement-history.js";
import { examplesButton } from "../parts/statement-examples.js";

const ROWS_MAX = 10_000;
const FIRST = "select service.name, name, count(*) as spans, p99(duration_ns) / 1e6 as p99_ms\nfrom spans\ngroup by 1, 2\norder by p99_ms desc\nlimit 50";

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function sqlPage(frame) {
  const editorPlace = h("div.editor-place");
  const verdict = h("div.verdict", { role: "status" });
  const runButton = h("button.primary", { type: "button", onclick: () => void run() }, "Run", h("kbd", null, "Ctrl ⏎"));
  const bar = h("div.tool-bar", null, runButton, examplesButton((sql) => use(sql)), historyButton((sql) => use(sql)), verdict);
  const table = resultTable(frame);
  const tools = [
    h("button.tool", { type: "button", onclick: () => void save("csv") }, "CSV"), h("button.tool", { type: "button", onclick: () => void save("json") }, "JSON"),
    h("button.tool", { type: "button", onclick: () => void copy(location.href, "Link") }, "Copy link"), h("button.tool", { type: "button", onclick: () => void copy(curlOf(text()), "Command") }, "As curl"),
  ];
  const results = new Panel({ name: "results", title: "Result", draw, tools, empty: () => noRows() });
  results.sqlLink.remove();
  tools.forEach((tool) => (tool.hidden = true));
  const element = h("div.page.fill.sql-page", null, h("h1.off-screen", null, "SQL"), editorPlace, bar, results.element);

  /** @type {Awaited<ReturnType<typeof sqlEditor>> | null} */
  let editor = null;
  let shown = "";
  let isClosed = false;
  const text = () => editor?.text() ?? statementOf(location.hash) ?? FIRST;

  const start = async () => {
    const made = await sqlEditor({ text: text(), run: () => void run(), changed: () => fill(verdict), checked });
    if (isClosed) return made.close();
    editor = made;
    fill(editorPlace, made.element);
    // Who went elsewhere meanwhile stays there.
    if (document.activeElement === document.body || document.activeElement?.id === "main") made.focus();
  };

  const run = async () => {
    const sql = text().trim();
    if (sql === "") return;
    const address = sqlAddress(sql);
    if (location.hash !== new URL(address, location.origin).hash) history.pushState(null, "", address);
    await show(sql);
  };

  /** @param {string} sql */
  const show = async (sql) => {
    shown = sql;
    remember(sql);
    tools.forEach((tool) => (tool.hidden = false));
    await results.show({ sql, limit: ROWS_MAX }, true);
  };

  /** @param {string} sql */
  const use = (sql) => {
    editor?.set(sql);
    void run();
  };

  /** @param {Problem | null} problem */
  function checked(problem) {
    if (problem === null) return fill(verdict);
    const nearest = nearestIn(problem.detail);
    fill(verdict, h("span.worse", null, `▲ ${problem.detail}`),
      ...nearest.map((word) => h("button.tool", { type: "button", onclick: () => editor?.repair(problem, word) }, word)));
  }

  /** @param {import("../data/sql.js").Answer} answer */
  function draw(answer) {
    const title = /** @type {HTMLElement} */ (results.head.querySelector("h2"));
    title.textContent = answer.isCut ? `The first ${count(answer.rows)} rows` : plural(answer.rows, "row");
    editor?.mark(null);
    if (answer.columns.length === 0 || answer.rows === 0) return null;
    const element = table.show(answer);
    if (answer.isCut) return h("div.list-and-foot", null, element, h("div.list-foot", null, `There are more rows. CSV and JSON have all of them.`));
    return h("div.list-and-foot", null, element);
  }

  function noRows() {
    const columns = results.answer?.columns ?? [];
    return h("div.empty", null, h("p", null, "The statement gives no rows."), columns.length === 0 ? null : h("p.dim", null, `Its columns: ${columns.map((column) => `${column.name} (${column.type})`).join(", ")}`));
  }

  // A problem of the whole statement also has its place in the editor.
  const failed = results.failed.bind(results);
  results.failed = (error) => {
    const partial = /** @type {any} */ (error).answer;
    if (error instanceof Problem && error.line !== undefined) {
      editor?.mark(error);
      fill(results.notes);
      fill(results.body, problemNote(error, () => results.again()));
      results.cost.textContent = "";
      return;
    }
    failed(error);
    if (partial?.rows > 0) {
      fill(results.body, /** @type {Node} */ (draw(partial)));
      results.notes.append(h("div.note.warning", null, `▲ ${plural(partial.rows, "row")} came before that.`));
    }
  };

  /** @param {"csv" | "json"} format */
  const save = async (format) => {
    try {
      const answer = results.answer?.isCut === false ? results.answer : await ask(shown, { fresh: true });
      if (format === "csv") download("broadloom.csv", "text/csv", csvOf(answer));
      else download("broadloom.json", "application/json", jsonOf(answer));
    } catch (error) {
      results.failed(error);
    }
  };

  return {
    title: "SQL", element, hasRange: false,
    update: () => {
      if (editor === null) {
        void start();
        const sql = statementOf(location.hash);
        if (sql !== null) void show(sql);
        return;
      }
      const sql = statementOf(location.hash);
      if (sql !== null && sql !== shown) {
        editor.set(sql);
        void show(sql);
      }
    },
    close: () => {
      isClosed = true;
      results.stop();
      editor?.close();
    },
    cancel: () => results.cancel() || table.closeDetail(),
    keys: { "/": () => editor?.focus() },
  };
}

/** Names after "did you mean". @param {string} detail */
function nearestIn(detail) {
  const found = /did you mean (.+?)\?/.exec(detail);
  return found === null ? [] : found[1].split(/, | or /).map((word) => word.replace(/^"|"$/g, "")).slice(0, 3);
}

/** @param {string} sql */
function curlOf(sql) {
  return `curl -s '${location.origin}/v1/sql' --data-binary @- <<'SQL'\n${sql}\nSQL`;
}

/** @param {import("../data/sql.js").Answer} answer */
function jsonOf(answer) {
  const rows = Array.from({ length: answer.rows }, (_, row) => JSON.stringify(Object.fromEntries(answer.columns.map((column, i) => [column.name, answer.data[i][row]]))));
  return `[\n${rows.join(",\n")}\n]\n`;
}

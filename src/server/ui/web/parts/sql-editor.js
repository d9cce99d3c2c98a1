// The SQL editor: CodeMirror in a shadow root, since it adds style sheets and the page's CSP lets no element do so.

import { check } from "../data/check.js";
import { completions } from "../data/complete.js";
import { allKeys } from "../data/keys.js";
import { isGivenUp } from "../data/request.js";
import { nameOf } from "../state/where.js";
import { h } from "./dom.js";

const CHECK_AFTER_MS = 350;
/** @typedef {import("../data/request.js").Problem} Problem */

/**
 * Loads CodeMirror and makes an editor.
 * @param {{text: string, run: () => void, changed: (text: string) => void, checked: (problem: Problem | null) => void}} options
 */
export async function sqlEditor(options) {
  performance.mark("editor-begin");
  const cm = await import("../vendor/codemirror.js");
  const host = h("div.editor");
  const root = host.attachShadow({ mode: "open" });
  let timer = 0;
  /** @type {AbortController | null} */
  let checking = null;

  const view = new cm.EditorView({
    root, parent: root,
    state: cm.EditorState.create({
      doc: options.text,
      extensions: [
        cm.lineNumbers(), cm.history(), cm.highlightSpecialChars(), cm.drawSelection(), cm.bracketMatching(), cm.closeBrackets(),
        cm.sql({ dialect: cm.PostgreSQL }), cm.syntaxHighlighting(highlight(cm)), look(cm), cm.EditorView.lineWrapping,
        cm.autocompletion({ override: [complete], icons: false }),
        cm.Prec.highest(cm.keymap.of([
          { key: "Mod-Enter", run: () => (options.run(), true) },
          { key: "Escape", run: (/** @type {any} */ editor) => leave(editor) },
        ])),
        cm.keymap.of([...cm.closeBracketsKeymap, ...cm.defaultKeymap, ...cm.historyKeymap, ...cm.completionKeymap, ...cm.lintKeymap]),
        cm.EditorView.domEventHandlers({ beforeinput: typeOver }),
        cm.EditorView.contentAttributes.of({ "aria-label": "SQL statement", spellcheck: "false", autocapitalize: "off" }),
        cm.EditorView.updateListener.of((/** @type {any} */ update) => update.docChanged && later()),
      ],
    }),
  });

  const text = () => view.state.doc.toString();
  const later = () => {
    options.changed(text());
    clearTimeout(timer);
    timer = setTimeout(() => void lookAgain(), CHECK_AFTER_MS);
  };

  const lookAgain = async () => {
    checking?.abort();
    const own = new AbortController();
    checking = own;
    const checked = text();
    if (checked.trim() === "") return mark(null);
    try {
      const { problem } = await check(checked, own.signal);
      if (checking === own && text() === checked) mark(problem);
    } catch (error) {
      if (!isGivenUp(error)) throw error;
    }
  };

  /** Underlines where a problem is. @param {Problem | null} problem */
  const mark = (problem) => {
    const diagnostics = problem === null ? [] : [diagnosticOf(view.state.doc, problem)];
    view.dispatch(cm.setDiagnostics(view.state, diagnostics));
    options.checked(problem);
  };

  void lookAgain();
  performance.measure("editor", "editor-begin");
  return {
    element: host, text, mark,
    focus: () => view.focus(),
    /** @param {string} next */
    set(next) {
      if (next !== text()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } });
    },
    /** Replaces the word at a problem's place. @param {Problem} problem @param {string} word */
    repair(problem, word) {
      const { from, to } = placeOf(view.state.doc, problem);
      view.dispatch({ changes: { from, to, insert: nameOf(word) } });
      view.focus();
    },
    close() {
      clearTimeout(timer);
      checking?.abort();
      view.destroy();
    },
  };
}

/**
 * Replaces a selection by what is typed. Left to itself, Chromium keeps the colours of the replaced text in a `style`
 * attribute, which the page's policy forbids and the console complains about. Brackets and quotes are put around it.
 * @param {InputEvent} event @param {any} view
 */
function typeOver(event, view) {
  const isTyped = event.inputType === "insertText" && event.data !== null && !event.isComposing && !/[()[\]{}'"]/.test(event.data);
  if (!isTyped || view.state.selection.main.empty) return false;
  view.dispatch(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
  event.preventDefault();
  return true;
}

/** Out of the editor by keyboard: Tab is free again after Escape. @param {any} view */
function leave(view) {
  view.contentDOM.blur();
  return false;
}

/** The better of equally good ones first. @type {Record<string, number>} */
const BOOSTS = { column: 3, key: 2, table: 1, function: 0, keyword: -1, value: 0 };

/** @param {any} context */
async function complete(context) {
  const word = context.matchBefore(/[A-Za-z_][\w.]*/);
  const isQuoted = context.matchBefore(/'[^'\n]*/) !== null;
  if (word === null && !isQuoted && !context.explicit) return null;
  const own = new AbortController();
  context.addEventListener("abort", () => own.abort());
  const sql = context.state.doc.toString();
  const [found, keys] = await Promise.all([completions(sql, context.pos, own.signal).catch(() => []), allKeys()]);
  if (found[0]?.kind === "value") {
    const options = found.map(({ text }) => ({ label: text.slice(0, -1).replaceAll("''", "'"), apply: text, type: "value", detail: "value" }));
    return { from: found[0].from, to: found[0].to, options, filter: false };
  }
  const options = found.map(({ text, kind, detail }) => ({ label: text, type: kind, boost: BOOSTS[kind], detail: kind === "key" ? detail : kind }));
  // Keys that contain what is written, too; the server tells of those that begin with it.
  const isKnown = new Set(found.map(({ text }) => text));
  const wantsTable = found.length > 0 && found.every(({ kind }) => kind === "table" || kind === "function");
  const others = wantsTable || word === null ? [] : keys.filter(({ key }) => !isKnown.has(nameOf(key)));
  const more = others.map(({ key, types }) => ({ label: key, apply: nameOf(key), type: "key", detail: types.join(", "), boost: BOOSTS.key }));
  return { from: found[0]?.from ?? word?.from ?? context.pos, options: [...options, ...more], validFor: /^[\w.]*$/ };
}

/** The word at the place of a problem, or the end of the text. @param {any} doc @param {Problem} problem */
export function placeOf(doc, problem) {
  if (problem.line === undefined || problem.line > doc.lines) return { from: doc.length, to: doc.length };
  const line = doc.line(problem.line);
  // Columns count characters, the editor UTF-16 units.
  const before = [...line.text].slice(0, (problem.column ?? 1) - 1).join("").length;
  const rest = /^(?:"[^"]*"|[\w.]+|\S)/.exec(line.text.slice(before));
  const from = line.from + Math.min(before, line.length);
  return { from, to: from + (rest?.[0].length ?? 0) };
}

/** @param {any} doc @param {Problem} problem */
function diagnosticOf(doc, problem) {
  const { from, to } = placeOf(doc, problem);
  return { from: Math.max(0, from === to ? from - 1 : from), to, severity: "error", message: problem.detail };
}

/** Our own colours: those of the library are too faint in the dark. @param {any} cm */
function highlight(cm) {
  const { tags } = cm;
  return cm.HighlightStyle.define([
    { tag: [tags.keyword, tags.operatorKeyword], color: "var(--code-word)", fontWeight: "600" },
    { tag: [tags.string, tags.special(tags.string)], color: "var(--code-text)" },
    { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
    { tag: [tags.comment], color: "var(--ink-2)", fontStyle: "italic" },
    { tag: [tags.typeName, tags.standard(tags.name)], color: "var(--code-name)" },
  ]);
}

/** @param {any} cm */
function look(cm) {
  return cm.EditorView.theme({
    "&": { color: "var(--ink)", backgroundColor: "var(--paper)", fontSize: "13.5px", height: "100%" },
    "&.cm-focused": { outline: "none" },
    ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", overflow: "auto" },
    ".cm-content": { caretColor: "var(--ink)", padding: "8px 0" },
    ".cm-cursor": { borderLeftColor: "var(--ink)" },
    ".cm-gutters": { backgroundColor: "var(--paper)", color: "var(--ink-2)", border: "none", paddingLeft: "4px" },
    "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--chosen)" },
    "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--chosen)" },
    ".cm-tooltip": { backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--line-2)", borderRadius: "6px", boxShadow: "var(--shadow)" },
    ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", maxHeight: "18em" },
    ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 8px" },
    ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "var(--on-accent)" },
    ".cm-completionDetail": { fontStyle: "normal", color: "inherit", opacity: "1", marginLeft: "12px", fontFamily: "var(--sans)", fontSize: "12px" },
    ".cm-diagnostic-error": { borderLeft: "4px solid var(--error)", padding: "6px 10px", maxWidth: "520px" },
  });
}

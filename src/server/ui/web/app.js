// The frame of the page: which page an address means, the address's changes, the keys that work everywhere.

import { identifyBy, watchReachable } from "./data/request.js";
import { addressOf, changed, rangeParams } from "./state/address.js";
import { rangeOf, scaled, shifted } from "./state/range.js";
import { chooseZone, isoOf, now, zone } from "./state/time.js";
import { copy } from "./parts/copy.js";
import { fill, h, isTyping } from "./parts/dom.js";
import { banner } from "./parts/gone.js";
import { keysDialog } from "./parts/keys-dialog.js";
import { rangePicker, toNow } from "./parts/range-picker.js";
import { searchBox } from "./parts/search-box.js";
import { signIn, signOutButton } from "./parts/sign-in.js";
import { themeButton } from "./parts/theme.js";

/**
 * @typedef {{
 *   title: string, element: HTMLElement, hasRange: boolean, update: () => void, close?: () => void,
 *   filter?: import("./parts/value-menu.js").Filter, cancel?: () => boolean,
 *   keys?: Record<string, () => void>,
 * }} Page
 * @typedef {{
 *   path: () => string, params: () => URLSearchParams, go: (address: string) => void,
 *   set: (changes: Record<string, string | null>, how?: "push" | "replace") => void,
 *   range: () => Record<string, string | null>, filter: () => import("./parts/value-menu.js").Filter,
 *   title: (title: string) => void, redraw: () => void,
 * }} Frame
 */

/** Pages by address; each is loaded when it is first shown. @type {[RegExp, () => Promise<(frame: Frame) => Page>][]} */
const PAGES = [
  [/^\/$/, async () => (await import("./pages/overview.js")).overviewPage],
  [/^\/explore$/, async () => (await import("./pages/explore.js")).explorePage],
  [/^\/traces$/, async () => (await import("./pages/traces.js")).tracesPage],
  [/^\/trace\/[^/]+$/, async () => (await import("./pages/trace.js")).tracePage],
  [/^\/trace\/[^/]+\/vs\/[^/]+$/, async () => (await import("./pages/trace-diff.js")).traceDiffPage],
  [/^\/logs$/, async () => (await import("./pages/logs.js")).logsPage],
  [/^\/sql$/, async () => (await import("./pages/sql.js")).sqlPage],
  [/^\/status$/, async () => (await import("./pages/status.js")).statusPage],
  [/^\/attributes$/, async () => (await import("./pages/attributes.js")).attributesPage],
];
const missing = async () => (await import("./pages/missing.js")).missingPage;

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const navigation = /** @type {NodeListOf<HTMLAnchorElement>} */ (document.querySelectorAll("nav.pages a"));
/** @type {Page | null} */
let page = null;
let shownPath = "";

/** @type {Frame} */
const frame = {
  path: () => location.pathname,
  params: () => new URLSearchParams(location.search),
  go(address) {
    history.pushState(null, "", address);
    void show("moved");
  },
  set(changes, how = "push") {
    const address = addressOf(location.pathname, changed(frame.params(), changes)) + (page?.hasRange === false ? location.hash : "");
    if (how === "replace") history.replaceState(null, "", address);
    else if (address !== location.pathname + location.search) history.pushState(null, "", address);
    void show("changed");
  },
  range: () => rangeParams(frame.params()),
  filter: () => page?.filter ?? null,
  title(title) {
    document.title = `${title} – Broadloom`;
  },
  redraw() {
    shownPath = "";
    void show("changed");
  },
};

const picker = rangePicker(frame);
const search = searchBox(frame);

/** Shows the page of the address. @param {"moved" | "changed"} how after a move the focus goes to the page */
async function show(how) {
  const path = location.pathname;
  mark(path);
  if (path !== shownPath) {
    const load = PAGES.find(([pattern]) => pattern.test(path))?.[1] ?? missing;
    const open = await load().catch(outdated);
    // Another page may have been asked for meanwhile.
    if (location.pathname !== path) return;
    page?.close?.();
    const opened = open(frame);
    page = opened;
    shownPath = path;
    fill(main, opened.element);
    frame.title(opened.title);
    if (how === "moved") {
      main.focus({ preventScroll: true });
      main.scrollTo(0, 0);
    }
  }
  if (page === null) return;
  if (page.hasRange) pin();
  picker.element.hidden = !page.hasRange;
  picker.update();
  mark(path);
  page.update();
}

/** A module that is not there any more: the server is another version than this page. @param {unknown} error @returns {never} */
function outdated(error) {
  fill(main, h("p.empty", null, "The server was updated, or cannot be reached. ", h("a", { href: location.href, onclick: () => location.reload() }, "Load this page again")));
  throw error;
}

/** Puts the instant that a relative range counts back from into the address, so that it always means the same. */
function pin() {
  const params = frame.params();
  if (params.has("at") || (params.get("t") ?? "").includes("..")) return;
  history.replaceState(null, "", addressOf(location.pathname, changed(params, { at: isoOf(now()) })) + location.hash);
}

/** @param {string} path */
function mark(path) {
  for (const link of navigation) {
    const own = new URL(link.href).pathname;
    const isHere = own === path || (own === "/traces" && path.startsWith("/trace/"));
    if (isHere && !link.hasAttribute("aria-current")) {
      link.setAttribute("aria-current", "page");
      // On phones the pages may be wider than the screen.
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    if (!isHere) link.removeAttribute("aria-current");
    if (link.dataset.range !== undefined) link.href = addressOf(own, frame.range());
  }
}

document.addEventListener("click", (event) => {
  const link = /** @type {Element} */ (event.target).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || link.target !== "" || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || url.pathname.startsWith("/v1/")) return;
  event.preventDefault();
  frame.go(url.pathname + url.search + url.hash);
});
addEventListener("popstate", () => void show("changed"));

let chord = 0;
/** @type {Record<string, string>} */
const PLACES = { o: "/", e: "/explore", t: "/traces", l: "/logs", s: "/sql", a: "/attributes", i: "/status" };

/** @type {Record<string, () => void>} */
const KEYS = {
  "?": () => keysDialog(),
  r: () => page?.hasRange && frame.set(toNow(frame.params())),
  "[": () => move((range) => shifted(range, -1)),
  "]": () => move((range) => shifted(range, 1)),
  "-": () => move((range) => scaled(range, 2)),
  "+": () => move((range) => scaled(range, 0.5)),
  y: () => void copy(location.href, "Link"),
  v: () => {
    const panel = [".panel:focus-within", ".panel:hover", "main .panel:not([hidden])"].map((one) => document.querySelector(one)).find((one) => one !== null);
    /** @type {HTMLAnchorElement | null | undefined} */ (panel?.querySelector("a.statement:not([hidden])"))?.click();
  },
  ".": () => void import("./parts/value-menu.js").then(({ actOnValue }) => actOnValue("menu")),
  x: () => void import("./parts/value-menu.js").then(({ actOnValue }) => actOnValue("exclude")),
  u: () => {
    chooseZone(zone() === "UTC" ? "local" : "UTC");
    frame.redraw();
  },
};

/** @param {(range: import("./state/range.js").Range) => Record<string, string | null>} change */
function move(change) {
  const range = page?.hasRange ? rangeOf(frame.params()) : null;
  if (range !== null) frame.set(change(range));
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    search.focus();
    event.preventDefault();
    return;
  }
  if (event.key === "Escape" && page?.cancel?.() === true) return;
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  // Space presses what has the focus.
  if (event.key === " " && event.target instanceof Element && event.target.matches("button, a, summary")) return;
  const inChord = performance.now() - chord < 1500;
  chord = 0;
  if (inChord && event.key in PLACES) frame.go(addressOf(PLACES[event.key], frame.range()));
  else if (event.key === "g") chord = performance.now();
  else if (event.key in (page?.keys ?? {})) page?.keys?.[event.key]();
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});

/** @type {HTMLElement} */ (document.getElementById("search")).replaceWith(search.element);
/** @type {HTMLElement} */ (document.getElementById("range")).append(picker.element);
/** @type {HTMLElement} */ (document.getElementById("tools")).append(
  h("button.icon", { type: "button", "aria-label": "Keys", title: "Keys  ?", onclick: () => keysDialog() }, "?"),
  themeButton(),
  signOutButton(),
);
identifyBy(signIn);
banner(watchReachable, () => frame.redraw());
void show("changed");

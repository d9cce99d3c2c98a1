// Every attribute key that any event has had, and the values of one of them.

import { allKeys } from "../data/keys.js";
import { addressOf } from "../state/address.js";
import { visible } from "../state/text.js";
import { plural } from "../state/units.js";
import { nameOf } from "../state/where.js";
import { fill, h } from "../parts/dom.js";
import { list } from "../parts/list.js";
import { keyName, valuesView } from "./attribute-values.js";

const SOURCES = /** @type {const} */ (["events", "spans", "logs"]);

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function attributesPage(frame) {
  const of = () => SOURCES.find((one) => one === frame.params().get("of")) ?? "events";
  const field = /** @type {HTMLInputElement} */ (h("input", { type: "search", "aria-label": "Filter keys", placeholder: "Part of a key   /", spellcheck: false, value: frame.params().get("prefix") ?? "" }));
  const total = h("p.total", { role: "status" });
  const sources = SOURCES.map((one) => h("button", { type: "button", onclick: () => frame.set({ of: one === "events" ? null : one }) }, `${one[0].toUpperCase()}${one.slice(1)}`));
  const place = h("div.panel-body");
  const values = valuesView({ frame, of, close: () => closeValues() });
  const element = h("div.page.fill", null, h("h1.off-screen", null, "Attributes"),
    h("div.tool-bar", null, h("div.find", null, field), h("div.segments", { role: "group", "aria-label": "Events" }, ...sources), total),
    h("div.columns", null, h("section.panel.results", null, place), values.element));
  /** @type {import("../data/keys.js").Key[]} */
  let all = [];
  /** @type {import("../data/keys.js").Key[]} */
  let shown = [];
  const found = list({
    name: "key-list", label: "Attributes", rowHeight: 32, narrowHeight: 60,
    columns: [{ name: "key", words: "Key" }, { name: "level", words: "Level" }, { name: "types", words: "Types" }, { name: "acts", words: "Where it is" }],
    write: (cells, row, element) => writeRow(cells, shown[row], element, row),
    onActive: (row) => choose(shown[row]), onOpen: (row) => choose(shown[row]),
  });

  /** @param {import("../data/keys.js").Key} key */
  const choose = (key) => frame.set({ key: key.key, level: key.level === "record" ? null : key.level, find: null }, "replace");

  const closeValues = () => {
    frame.set({ key: null, level: null, find: null }, "replace");
    found.element.focus();
  };

  /** The key of the address. */
  const chosen = () => {
    const [key, level] = [frame.params().get("key"), frame.params().get("level") ?? "record"];
    return key === null ? null : all.find((one) => one.key === key && one.level === level) ?? null;
  };

  /** @param {HTMLElement[]} cells @param {import("../data/keys.js").Key} key @param {HTMLElement} row @param {number} at */
  const writeRow = (cells, key, row, at) => {
    const [name, level, types, acts] = cells;
    const where = { where: `${nameOf(keyName(key))} is not null`, ...frame.range() };
    fill(name, h("code", null, visible(key.key)));
    level.textContent = key.level;
    types.textContent = key.types.join(", ");
    fill(acts, h("a", { href: addressOf("/traces", where), tabIndex: -1 }, "traces"), " ", h("a", { href: addressOf("/logs", where), tabIndex: -1 }, "logs"),
      " ", h("a", { href: addressOf("/explore", { of: "events", by: nameOf(keyName(key)), ...where }), tabIndex: -1 }, "explore"));
    row.setAttribute("aria-selected", String(at === found.rows.active));
  };

  const draw = () => {
    const wanted = field.value.trim().toLowerCase();
    shown = wanted === "" ? all : all.filter((key) => key.key.toLowerCase().includes(wanted));
    total.textContent = shown.length === all.length ? plural(all.length, "key") : `${shown.length} of ${plural(all.length, "key")}`;
    const key = chosen();
    const isUnknown = frame.params().get("key") !== null && key === null && all.length > 0;
    if (shown.length === 0) fill(place, h("p.empty", null, all.length === 0 ? "No event has an attribute yet." : "No key contains that."));
    else {
      if (!found.element.isConnected) fill(place, h("div.list-and-foot", null, found.element));
      const at = key === null ? -1 : shown.indexOf(key);
      const isSeen = found.rows.active === at;
      found.rows.active = at;
      found.show(shown.length);
      if (!isSeen && at >= 0) found.rows.activate(at);
    }
    values.element.hidden = key === null;
    if (key !== null) values.update(key);
    else values.stop();
    if (isUnknown) total.textContent = `No event has had the key ${frame.params().get("key")}. ${total.textContent}`;
  };
  field.addEventListener("input", () => frame.set({ prefix: field.value.trim() }, "replace"));

  return {
    title: "Attributes", element, hasRange: true, keys: { "/": () => field.focus() },
    update: () => {
      sources.forEach((button, i) => button.setAttribute("aria-pressed", String(SOURCES[i] === of())));
      if (all.length > 0) draw();
      void allKeys().then((keys) => {
        if (keys === all) return;
        all = keys;
        draw();
      });
    },
    close: () => values.stop(),
    cancel: () => {
      if (values.panel.cancel()) return true;
      if (values.element.hidden) return false;
      closeValues();
      return true;
    },
  };
}

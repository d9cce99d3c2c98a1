// Every attribute key that any event has had.

import { allKeys } from "../data/keys.js";
import { addressOf, sqlAddress } from "../state/address.js";
import { visible } from "../state/text.js";
import { plural } from "../state/units.js";
import { nameOf } from "../state/where.js";
import { fill, h } from "../parts/dom.js";
import { list } from "../parts/list.js";

/** @param {import("../app.js").Frame} frame @returns {import("../app.js").Page} */
export function attributesPage(frame) {
  const field = /** @type {HTMLInputElement} */ (h("input", { type: "search", "aria-label": "Filter keys", placeholder: "Part of a key   /", spellcheck: false }));
  const total = h("p.total", { role: "status" });
  const place = h("div.panel-body");
  const element = h("div.page.fill", null, h("h1.off-screen", null, "Attributes"), h("div.tool-bar", null, h("div.find", null, field), total), h("section.panel.results", null, place));
  /** @type {import("../data/keys.js").Key[]} */
  let all = [];
  /** @type {import("../data/keys.js").Key[]} */
  let shown = [];
  const found = list({
    name: "key-list", label: "Attributes", rowHeight: 32, narrowHeight: 60,
    columns: [{ name: "key", words: "Key" }, { name: "level", words: "Level" }, { name: "types", words: "Types" }, { name: "acts", words: "Where it is" }],
    write: (cells, row) => writeRow(cells, shown[row]),
    onOpen: (row) => frame.go(sqlAddress(valuesOf(shown[row]))),
  });

  /** @param {HTMLElement[]} cells @param {import("../data/keys.js").Key} key */
  const writeRow = (cells, key) => {
    const [name, level, types, acts] = cells;
    fill(name, h("code", null, visible(key.key)));
    level.textContent = key.level;
    types.textContent = key.types.join(", ");
    fill(acts, h("a", { href: sqlAddress(valuesOf(key)), tabIndex: -1 }, "values"), " ", h("a", { href: addressOf("/traces", { where: `${sqlName(key)} is not null` }), tabIndex: -1 }, "traces"),
      " ", h("a", { href: addressOf("/logs", { where: `${sqlName(key)} is not null` }), tabIndex: -1 }, "logs"),
      " ", h("a", { href: addressOf("/explore", { of: "events", by: sqlName(key), where: `${sqlName(key)} is not null` }), tabIndex: -1 }, "explore"));
  };

  const draw = () => {
    const wanted = field.value.trim().toLowerCase();
    shown = wanted === "" ? all : all.filter((key) => key.key.toLowerCase().includes(wanted));
    total.textContent = shown.length === all.length ? plural(all.length, "key") : `${shown.length} of ${plural(all.length, "key")}`;
    if (shown.length === 0) fill(place, h("p.empty", null, all.length === 0 ? "No event has an attribute yet." : "No key contains that."));
    else {
      if (!found.element.isConnected) fill(place, h("div.list-and-foot", null, found.element));
      found.show(shown.length);
    }
  };
  field.addEventListener("input", draw);

  return {
    title: "Attributes", element, hasRange: false, keys: { "/": () => field.focus() },
    update: () => void allKeys().then((keys) => {
      all = keys;
      draw();
    }),
  };
}

/** @param {import("../data/keys.js").Key} key */
function sqlName(key) {
  return key.level === "resource" || key.level === "scope" || key.level === "body" ? nameOf(`${key.level}.${key.key}`) : nameOf(key.key);
}

/** @param {import("../data/keys.js").Key} key */
function valuesOf(key) {
  return `select ${sqlName(key)} as value, count(*) as events, min(timestamp) as first_seen, max(timestamp) as last_seen\nfrom events\nwhere ${sqlName(key)} is not null\ngroup by 1\norder by events desc\nlimit 200`;
}

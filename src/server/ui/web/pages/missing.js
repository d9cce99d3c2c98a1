// An address that is no page.

import { h } from "../parts/dom.js";

/** @returns {import("../app.js").Page} */
export function missingPage() {
  const element = h("div.page", null, h("h1", null, "No such page"),
    h("p.empty", null, `There is nothing at ${location.pathname}. `, h("a", { href: "/" }, "Overview")));
  return { title: "No such page", element, hasRange: false, update: () => {} };
}

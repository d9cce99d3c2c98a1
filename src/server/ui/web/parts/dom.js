// Makes elements. Text is always a text node; styles are set by property, as the page's CSP wants.

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * `h("a.chip", {href: "/"}, "text")`: an element with classes, properties, listeners (`onclick`) and children.
 * @param {string} name tag and classes
 * @param {Record<string, any> | null} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElement}
 */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length > 0) element.className = classes.join(" ");
  set(element, attributes ?? {});
  append(element, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for SVG. @param {string} name @param {Record<string, any>} attributes @param {...(Child | Child[])} children */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  append(element, children);
  return element;
}

/** @param {HTMLElement} element @param {Record<string, any>} attributes */
function set(element, attributes) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, text] of Object.entries(value)) element.style.setProperty(name, String(text));
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key in element && !key.startsWith("aria") && key !== "list" && key !== "role") /** @type {any} */ (element)[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
}

/** @param {Element} element @param {(Child | Child[])[]} children */
export function append(element, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(typeof child === "number" ? String(child) : child);
  }
}

/** @param {Element} element @param {...(Child | Child[])} children */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex]";

/** Like `fill`, but the focus stays at the same place. @param {Element} element @param {...(Child | Child[])} children */
export function refill(element, ...children) {
  const restore = focusOf(element);
  fill(element, ...children);
  restore();
}

/** Remembers which element has the focus, and gives it to the one at its place where it was lost. @param {Element} element */
export function focusOf(element) {
  const before = [...element.querySelectorAll(FOCUSABLE)].indexOf(/** @type {Element} */ (document.activeElement));
  return () => {
    const now = element.querySelectorAll(FOCUSABLE)[before];
    if (now instanceof HTMLElement && document.activeElement === document.body) now.focus({ preventScroll: true });
  };
}

let ids = 0;

/** A new id for `aria-controls` and the like. @param {string} prefix */
export function newId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}

/** Is the person writing, so that single keys mean themselves? @param {EventTarget | null} target */
export function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || target.matches("input, textarea, select, .editor, .editor *");
}

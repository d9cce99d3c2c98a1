// The records before and after one, oldest first as in a log file, with the one they are around in the middle.

import { asProblem, isGivenUp } from "../data/request.js";
import { objects } from "../data/sql.js";
import { addressOf, changed } from "../state/address.js";
import { logContext as statement } from "../state/log-statements.js";
import { eventOf, neighbourhoods } from "../state/records.js";
import { parseInstant } from "../state/time.js";
import { plural } from "../state/units.js";
import { fill, h, refill } from "../parts/dom.js";
import { logList } from "../parts/log-list.js";
import { Panel, problemNote } from "../parts/panel.js";
import { readRecord } from "./log-detail.js";

const FIRST = 50;
const MORE = 200;

/** @param {{frame: import("../app.js").Frame, open: (record: Record<string, any>) => void}} options */
export function contextView({ frame, open }) {
  const choices = h("div.segments", { role: "group", "aria-label": "Neighbours" });
  const back = /** @type {HTMLAnchorElement} */ (h("a.tool", null, "‹ All records"));
  const bar = h("div.tool-bar.context-bar", null, back, choices);
  /** @type {bigint | null} */
  let at = null;
  const found = logList({ frame, label: "Records around it", from: () => at, open: (row) => open(found.rowAt(row)) });
  const [earlier, later] = [h("div.list-foot.list-top"), h("div.list-foot")];
  const panel = new Panel({ name: "results", title: "Around this record", draw, tools: [] });
  const element = h("div.context-view", null, bar, panel.element);
  let event = "";
  /** @type {Awaited<ReturnType<typeof readRecord>>} */
  let record = null;
  let reading = new AbortController();
  let reach = { before: FIRST, after: FIRST, isFar: false };
  let isAtRecord = false;

  const update = async () => {
    const params = frame.params();
    back.href = addressOf("/logs", changed(params, { around: null, open: null }));
    const wanted = params.get("event") ?? "";
    if (wanted !== event) {
      reading.abort();
      const own = new AbortController();
      reading = own;
      [event, record, at] = [wanted, null, null];
      fill(choices);
      reach = { before: FIRST, after: FIRST, isFar: false };
      isAtRecord = false;
      try {
        const read = await readRecord(wanted, own.signal);
        if (own.signal.aborted) return;
        record = read;
      } catch (error) {
        if (isGivenUp(error)) return;
        event = "";
        return fill(panel.notes, problemNote(asProblem(error), () => void update()));
      }
    }
    show();
  };

  const show = () => {
    if (record === null) return fill(panel.body, h("p.empty", null, "This record is not here. It may have expired, or is of another server."));
    at = parseInstant(record.timestamp);
    const all = neighbourhoods(record, record.attributes ?? {});
    // "nearest" is whatever there is first.
    const chosen = all.find(({ around }) => around === frame.params().get("around")) ?? all[0];
    refill(choices, ...all.map(({ around, words, title }) => h("button", {
      type: "button", title, "aria-pressed": String(around === chosen.around),
      onclick: () => {
        isAtRecord = false;
        frame.set({ around }, "replace");
      },
    }, words)));
    const sql = statement(record.timestamp, chosen.where, reach);
    if (!panel.has(sql)) void panel.show({ sql });
  };

  /** @param {import("../data/sql.js").Answer} answer */
  function draw(answer) {
    const rows = objects(answer);
    const own = rows.findIndex((row) => eventOf(/** @type {any} */ (row)) === event);
    rows.forEach((row, i) => (row.isIt = i === own));
    const split = rows.findIndex((row) => (parseInstant(row.timestamp) ?? 0n) > (at ?? 0n));
    const [before, after] = split < 0 ? [rows.length, 0] : [split, rows.length - split];
    const first = keptRow();
    fill(earlier, ...side("earlier", before > reach.before, () => more({ before: reach.before + MORE })));
    fill(later, ...side("later", after >= reach.after, () => more({ after: reach.after + MORE })));
    fill(/** @type {HTMLElement} */ (panel.head.querySelector("h2")), `Around this record: ${plural(Math.max(0, before - 1), "earlier", "earlier")}, ${plural(after, "later", "later")}`);
    requestAnimationFrame(() => {
      found.put(rows);
      keep(first, rows, own);
    });
    const isLost = own < 0 && rows.length > 0;
    return h("div.list-and-foot", null, isLost ? h("div.note.warning", null, "▲ More records have exactly its time than are shown here, so the record itself is not among them.") : null, earlier, found.element, later);
  }

  /** The row at the top before more are added, so that what is being read stays where it is. */
  function keptRow() {
    if (!isAtRecord) return null;
    const row = found.rowAt(Math.floor(found.rows.first));
    return row === undefined ? null : { event: eventOf(/** @type {any} */ (row)), part: found.rows.first % 1 };
  }

  /** @param {ReturnType<typeof keptRow>} first @param {Record<string, any>[]} rows @param {number} own */
  function keep(first, rows, own) {
    const place = first === null ? -1 : rows.findIndex((row) => eventOf(/** @type {any} */ (row)) === first.event);
    if (first !== null && place >= 0) return found.rows.scrollTo(place + first.part);
    isAtRecord = true;
    if (own < 0) return;
    found.rows.active = own;
    const seen = found.rows.seenPx / found.rows.options.rowHeight;
    found.rows.scrollTo(Math.max(0, own - Math.floor(seen / 2)));
    found.rows.show(rows.length);
  }

  /** @param {Partial<typeof reach>} next */
  function more(next) {
    reach = { ...reach, ...next };
    show();
  }

  /** @param {"earlier" | "later"} which @param {boolean} isMore @param {() => void} act */
  function side(which, isMore, act) {
    if (isMore) return [h("button.tool", { type: "button", onclick: act }, which === "earlier" ? "Earlier" : "Later")];
    if (reach.isFar) return [h("span", null, `None ${which}.`)];
    return [h("span", null, `None ${which} within a day.`), h("button.tool", { type: "button", onclick: () => more({ isFar: true }) }, "Look further")];
  }

  return {
    element, panel, focus: () => found.element.focus(),
    update: () => void update(),
    stop() {
      reading.abort();
      panel.stop();
      event = "";
    },
  };
}

// Events as they come, by the WebSocket `/v1/tail`. A connection that ends is opened again, later and later.

import { getJson, isGivenUp, Problem } from "./request.js";

const WAIT_MS = 500;
const WAIT_MAX_MS = 15_000;

/** @typedef {import("./sql.js").Column} Column */
/**
 * @typedef {{
 *   began: (sql: string) => void, rows: (rows: Record<string, any>[], isBacklog: boolean) => void,
 *   skipped: (count: number, what: "rows" | "events") => void, failed: (problem: Problem) => void, waits: () => void,
 * }} Listener `began` also after each time that it was opened again: what was there before is told again then
 */

/**
 * Listens until it is stopped.
 * @param {{source: "logs" | "spans", where: string, backlog: number}} wanted @param {Listener} listener
 */
export function follow(wanted, listener) {
  const options = new URLSearchParams({ source: wanted.source, where: wanted.where, backlog: String(wanted.backlog) });
  const address = new URL(`/v1/tail?${options}`, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  let isOn = true;
  let failures = 0;
  let timer = 0;
  /** @type {WebSocket | null} */
  let socket = null;

  const open = () => {
    /** @type {Column[]} */
    let columns = [];
    /** @type {Problem | null} */
    let problem = null;
    let backlog = 0;
    const own = new WebSocket(address);
    socket = own;
    own.addEventListener("message", ({ data }) => {
      if (!isOn || own !== socket) return;
      const message = JSON.parse(data);
      if (message.columns !== undefined) {
        failures = 0;
        [columns, backlog] = [message.columns, message.backlog];
        listener.began(message.sql);
      } else if (message.rows !== undefined) {
        listener.rows(rowsOf(columns, message.rows), backlog > 0);
        backlog -= message.rows.count;
      } else if (message.skipped !== undefined) {
        listener.skipped(message.skipped.rows ?? message.skipped.events, message.skipped.rows === undefined ? "events" : "rows");
      } else if (message.problem !== undefined) {
        problem = new Problem(message.problem);
      }
    });
    own.addEventListener("close", () => {
      if (!isOn || own !== socket) return;
      const isOver = problem !== null && problem.status !== 503;
      if (isOver) {
        isOn = false;
        return listener.failed(/** @type {Problem} */ (problem));
      }
      listener.waits();
      timer = setTimeout(() => void again(), Math.min(WAIT_MAX_MS, WAIT_MS * 2 ** failures));
      failures += 1;
    });
  };

  /** Asks who one is first, since a refused WebSocket has no words. */
  const again = async () => {
    try {
      await getJson("/v1/session");
    } catch (error) {
      if (isGivenUp(error)) return;
    }
    if (isOn) open();
  };

  open();
  return {
    stop() {
      isOn = false;
      clearTimeout(timer);
      socket?.close();
    },
  };
}

/** @param {Column[]} columns @param {{count: number, data: unknown[][]}} rows @returns {Record<string, any>[]} */
function rowsOf(columns, rows) {
  return Array.from({ length: rows.count }, (_, row) => Object.fromEntries(columns.map((column, i) => [column.name, rows.data[i][row]])));
}

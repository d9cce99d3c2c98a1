// A server that has no events yet: how to send it some, with its own addresses, and a counter that becomes a link.

import { getJson } from "../data/request.js";
import { ask } from "../data/sql.js";
import { plural } from "../state/units.js";
import { copy } from "./copy.js";
import { fill, h } from "./dom.js";
import { traceAddress } from "./search-box.js";

const LOOK_EVERY_MS = 700;

/** @param {() => void} done */
export function firstRun(done) {
  const state = h("div.first-state", { role: "status" });
  const ways = h("div.ways");
  const element = h("section.first-run", null,
    h("h2", null, "Nothing has arrived yet"),
    h("p", null, "Send telemetry, and it is here within a second. There is nothing to declare beforehand."), ways, state);
  let timer = 0;
  let isOn = false;

  const look = async () => {
    const status = await getJson("/v1/status").catch(() => null);
    if (!isOn) return;
    if (status !== null && status.events > 0) await arrived(status.events);
    else {
      fill(state, h("span.pulse", { "aria-hidden": "true" }), "Waiting for the first event");
      timer = setTimeout(look, LOOK_EVERY_MS);
    }
  };

  /** @param {number} events */
  const arrived = async (events) => {
    const found = await ask("select trace_id from spans where trace_id is not null order by timestamp limit 1", { fresh: true }).catch(() => null);
    const trace = found !== null && found.rows > 0 ? String(found.data[0][0]) : null;
    const link = trace === null ? h("a.primary", { href: "/logs" }, "See the logs") : h("a.primary", { href: traceAddress(trace, null) }, "See the first trace");
    fill(state, h("span.ok", null, "●"), `${plural(events, "event")} arrived. `, link, " ", h("button", { type: "button", onclick: done }, "Overview"));
  };

  return {
    element,
    /** @param {any} status */
    start(status) {
      isOn = true;
      fill(ways, ...waysOf(status.addresses ?? {}));
      void look();
    },
    stop() {
      isOn = false;
      clearTimeout(timer);
    },
  };
}

/** @param {{http?: string, otlp_grpc?: string, otlp_http?: string}} addresses */
function waysOf(addresses) {
  const host = location.hostname;
  const url = (/** @type {string | undefined} */ address) => address && `http://${host}:${address.split(":").pop()}`;
  const [grpc, http] = [url(addresses.otlp_grpc), url(addresses.otlp_http) ?? location.origin];
  const way = (/** @type {string} */ title, /** @type {string} */ code) => h("div.way", null,
    h("h3", null, title), h("div.code", null, h("pre", { tabIndex: 0 }, code), h("button.tool", { type: "button", onclick: () => void copy(code, title) }, "Copy")));
  return [
    ...(grpc ? [way("Any OpenTelemetry SDK (gRPC)", `export OTEL_EXPORTER_OTLP_ENDPOINT=${grpc}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=grpc`)] : []),
    way("Any OpenTelemetry SDK (HTTP)", `export OTEL_EXPORTER_OTLP_ENDPOINT=${http}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf`),
    way("OpenTelemetry Collector", `exporters:\n  otlphttp:\n    endpoint: ${http}`),
    way("A shop with an incident in it", `broadloom demo --url ${location.origin}`),
  ];
}

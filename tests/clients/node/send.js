// Sends a trace, log records and metrics with the OpenTelemetry SDK for Node.js.
//
//     node send.js json|proto|grpc ENDPOINT RUN
//
// `json` sends everything as OTLP/HTTP with JSON; `proto` and `grpc` send the trace as OTLP/HTTP with
// protobuf and as OTLP/gRPC, and nothing else. Prints the trace id and the two span ids as one JSON
// object. `RUN` becomes the resource attribute `test.run`. Exits with 1 when something was not taken.
"use strict";

const { SpanKind, SpanStatusCode, context, trace } = require("@opentelemetry/api");
const { SeverityNumber } = require("@opentelemetry/api-logs");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");
const { LoggerProvider, SimpleLogRecordProcessor } = require("@opentelemetry/sdk-logs");
const { MeterProvider, PeriodicExportingMetricReader } = require("@opentelemetry/sdk-metrics");

const [protocol, endpoint, run] = process.argv.slice(2);
const resource = resourceFromAttributes({ "service.name": "node-client", "test.run": run });

// What an exporter was told about what it sent.
const failures = [];
function watched(exporter) {
  const send = exporter.export.bind(exporter);
  exporter.export = (items, done) =>
    send(items, (result) => {
      if (result.code !== 0) failures.push(String(result.error));
      done(result);
    });
  return exporter;
}

function spanExporter() {
  const suffix = { json: "http", proto: "proto", grpc: "grpc" }[protocol];
  const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${suffix}`);
  const url = protocol === "grpc" ? endpoint : `${endpoint}/v1/traces`;
  return watched(new OTLPTraceExporter({ url, compression: "gzip" }));
}

function sendTrace(tracers, loggers) {
  const tracer = tracers.getTracer("client-test", "1.2.3");
  const parent = tracer.startSpan("checkout", {
    kind: SpanKind.SERVER,
    attributes: {
      "http.route": "/checkout",
      "http.response.status_code": 500,
      "cart.total": 12.5,
      "customer.is_new": true,
      items: ["tea", "größer"],
    },
  });
  const within = trace.setSpan(context.active(), parent);
  const links = [{ context: parent.spanContext(), attributes: { why: "itself" } }];
  const child = tracer.startSpan("charge", { kind: SpanKind.CLIENT, links }, within);
  child.recordException(new RangeError("card declined"));
  child.setStatus({ code: SpanStatusCode.ERROR, message: "card declined" });
  if (loggers) {
    const logger = loggers.getLogger("client-test");
    const around = trace.setSpan(within, child);
    logger.emit({
      severityNumber: SeverityNumber.ERROR,
      severityText: "ERROR",
      body: "charging failed",
      attributes: { attempt: 3 },
      context: around,
    });
    logger.emit({ severityNumber: SeverityNumber.INFO, body: { cart: { size: 2 }, user: "ada" }, context: around });
  }
  child.end();
  parent.end();
  return {
    trace_id: parent.spanContext().traceId,
    parent: parent.spanContext().spanId,
    child: child.spanContext().spanId,
  };
}

function sendMetrics(meters) {
  const meter = meters.getMeter("client-test");
  meter.createCounter("orders", { unit: "1" }).add(3, { region: "eu" });
  const latency = meter.createHistogram("latency", { unit: "ms" });
  for (const value of [5, 50, 500]) latency.record(value);
  meter.createGauge("temperature").record(21.5);
}

async function main() {
  const tracers = new NodeTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(spanExporter())] });
  const providers = [tracers];
  let loggers;
  if (protocol === "json") {
    const { OTLPLogExporter } = require("@opentelemetry/exporter-logs-otlp-http");
    const { OTLPMetricExporter } = require("@opentelemetry/exporter-metrics-otlp-http");
    const logExporter = watched(new OTLPLogExporter({ url: `${endpoint}/v1/logs` }));
    loggers = new LoggerProvider({ resource, processors: [new SimpleLogRecordProcessor({ exporter: logExporter })] });
    const metricExporter = watched(new OTLPMetricExporter({ url: `${endpoint}/v1/metrics`, compression: "gzip" }));
    const meters = new MeterProvider({
      resource,
      readers: [new PeriodicExportingMetricReader({ exporter: metricExporter })],
    });
    sendMetrics(meters);
    providers.push(loggers, meters);
  }
  const sent = sendTrace(tracers, loggers);
  for (const provider of providers) await provider.forceFlush();
  for (const provider of providers) await provider.shutdown();
  console.log(JSON.stringify(sent));
  if (failures.length > 0) throw new Error(failures.join("\n"));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});

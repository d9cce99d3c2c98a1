"""Sends a trace, log records and metrics with the OpenTelemetry SDK for Python.

    send.py grpc|http ENDPOINT RUN

Prints the trace id and the two span ids as one JSON object, so that whoever started it can look for
exactly what was sent. `RUN` becomes the resource attribute `test.run`. Exits with 1 when an exporter says
that something was not taken.
"""

import json
import logging
import sys

from opentelemetry import metrics, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


class Complaints(logging.Handler):
    """Remembers what the SDK's exporters complain about."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.said = []

    def emit(self, record):
        self.said.append(record.getMessage())


def exporters(protocol, endpoint):
    if protocol == "grpc":
        from grpc import Compression
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        options = {"endpoint": endpoint, "insecure": True, "compression": Compression.Gzip}
        return OTLPSpanExporter(**options), OTLPLogExporter(**options), OTLPMetricExporter(**options)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return (
        OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", compression=Compression.Gzip),
        OTLPLogExporter(endpoint=f"{endpoint}/v1/logs"),
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", compression=Compression.Gzip),
    )


def main(protocol, endpoint, run):
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    span_exporter, log_exporter, metric_exporter = exporters(protocol, endpoint)
    resource = Resource.create({"service.name": "python-client", "test.run": run})

    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter))
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(log_exporter))
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metric_exporter)])

    tracer = tracers.get_tracer("client-test", "1.2.3")
    logger = loggers.get_logger("client-test")
    with tracer.start_as_current_span("checkout", kind=trace.SpanKind.SERVER) as parent:
        parent.set_attribute("http.route", "/checkout")
        parent.set_attribute("http.response.status_code", 500)
        parent.set_attribute("cart.total", 12.5)
        parent.set_attribute("customer.is_new", True)
        parent.set_attribute("items", ["tea", "größer"])
        link = trace.Link(parent.get_span_context(), {"why": "itself"})
        with tracer.start_as_current_span("charge", kind=trace.SpanKind.CLIENT, links=[link]) as child:
            try:
                raise ValueError("card declined")
            except ValueError as error:
                child.record_exception(error)
                child.set_status(trace.StatusCode.ERROR, "card declined")
            logger.emit(
                severity_number=SeverityNumber.ERROR,
                severity_text="ERROR",
                body="charging failed",
                attributes={"attempt": 3},
            )
            logger.emit(severity_number=SeverityNumber.INFO, body={"cart": {"size": 2}, "user": "ada"})
        sent = {
            "trace_id": trace.format_trace_id(parent.get_span_context().trace_id),
            "parent": trace.format_span_id(parent.get_span_context().span_id),
            "child": trace.format_span_id(child.get_span_context().span_id),
        }

    meter = meters.get_meter("client-test")
    meter.create_counter("orders", unit="1").add(3, {"region": "eu"})
    latency = meter.create_histogram("latency", unit="ms")
    for value in (5.0, 50.0, 500.0):
        latency.record(value)
    meter.create_gauge("temperature").set(21.5)

    for provider in (tracers, loggers, meters):
        provider.force_flush()
    for provider in (tracers, loggers, meters):
        provider.shutdown()
    print(json.dumps(sent))
    if complaints.said:
        print("\n".join(complaints.said), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:4])

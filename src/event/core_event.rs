//! The core fields of one event, borrowed from its decoder.

use super::{SpanId, TraceId};

/// Kind of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A unit of work with a duration.
    Span,
    /// An event inside a span.
    SpanEvent,
    /// A discrete timestamped event.
    #[default]
    Log,
    /// One data point of a metric.
    Metric,
}

impl Signal {
    /// All signals.
    pub const ALL: [Self; 4] = [Self::Span, Self::SpanEvent, Self::Log, Self::Metric];

    /// Text in the `signal` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::SpanEvent => "span_event",
            Self::Log => "log",
            Self::Metric => "metric",
        }
    }
}

/// A link from a span to another one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link<'a> {
    /// The linked trace.
    pub trace_id: Option<TraceId>,
    /// The linked span.
    pub span_id: Option<SpanId>,
    /// W3C trace state; empty if there is none.
    pub trace_state: &'a str,
    /// Typed JSON object; empty if there is none.
    pub attributes: &'a str,
    /// Number of attributes that the producer dropped.
    pub dropped_attributes_count: u32,
    /// W3C trace flags.
    pub flags: u32,
}

/// A number that is an integer or a double.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberValue {
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
}

impl NumberValue {
    /// Converts to a double; integers beyond 2^53 are rounded.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(i) => i as f64,
            Self::Double(d) => d,
        }
    }

    /// Returns the value if it is an integer.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(i),
            Self::Double(_) => None,
        }
    }
}

/// An example measurement of a metric point.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exemplar<'a> {
    /// Nanoseconds since the epoch; `None` if unknown.
    pub timestamp_ns: Option<i64>,
    /// Measured value.
    pub value: Option<NumberValue>,
    /// Trace of the measurement.
    pub trace_id: Option<TraceId>,
    /// Span of the measurement.
    pub span_id: Option<SpanId>,
    /// Typed JSON object; empty if there is none.
    pub attributes: &'a str,
}

/// Core fields of one event. Values that are `None`, empty text or lists, and zero counts and flags are stored as null.
///
/// The fields correspond to [`schema::core_columns`](super::schema::core_columns). Times are nanoseconds since the
/// epoch. The fields that several kinds of metrics share (`count`, `sum`, …) are in the `histogram.*` columns.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "each is the column of its name")]
pub struct CoreEvent<'a> {
    pub timestamp_ns: i64,
    pub signal: Signal,
    pub trace_id: Option<TraceId>,
    pub span_id: Option<SpanId>,
    pub parent_span_id: Option<SpanId>,
    pub name: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub status: Option<&'a str>,
    pub status_message: &'a str,
    pub duration_ns: Option<i64>,
    /// Number as sent; if `None`, the number of `severity` is stored ([`severity`](super::severity)).
    pub severity_number: Option<i64>,
    /// Word as sent, stored as `severity_text`.
    pub severity: &'a str,
    pub body: Option<&'a str>,
    pub value: Option<NumberValue>,
    /// Number of events that this one stands for, at least 1.
    pub sample_weight: f64,
    pub observed_timestamp_ns: Option<i64>,
    pub start_timestamp_ns: Option<i64>,
    /// Source of the timestamp if the producer sent none: `observed` or `received`; for spans `end` or `received`;
    /// for span events `span`.
    pub timestamp_origin: Option<&'static str>,
    /// Type of a body that is not text; `body` is typed JSON then.
    pub body_type: Option<&'static str>,
    pub trace_state: &'a str,
    pub flags: u32,
    pub dropped_attributes_count: u32,
    pub dropped_events_count: u32,
    pub dropped_links_count: u32,
    pub links: &'a [Link<'a>],
    pub scope_name: &'a str,
    pub scope_version: &'a str,
    pub scope_schema_url: &'a str,
    pub scope_dropped_attributes_count: u32,
    pub resource_schema_url: &'a str,
    pub resource_dropped_attributes_count: u32,
    /// Typed JSON array of objects; empty if there is none.
    pub resource_entity_refs: &'a str,
    pub metric_type: Option<&'a str>,
    pub metric_unit: &'a str,
    pub metric_description: &'a str,
    pub metric_temporality: Option<&'a str>,
    pub metric_monotonic: Option<bool>,
    /// Typed JSON object; empty if there is none.
    pub metric_metadata: &'a str,
    pub count: Option<u64>,
    pub sum: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub bounds: Option<&'a [f64]>,
    pub bucket_counts: Option<&'a [u64]>,
    pub scale: Option<i32>,
    pub zero_count: Option<u64>,
    pub zero_threshold: Option<f64>,
    pub positive_offset: Option<i32>,
    pub positive_counts: Option<&'a [u64]>,
    pub negative_offset: Option<i32>,
    pub negative_counts: Option<&'a [u64]>,
    /// Pairs of quantile and value.
    pub quantiles: Option<&'a [(f64, f64)]>,
    pub exemplars: &'a [Exemplar<'a>],
}

impl Default for CoreEvent<'_> {
    fn default() -> Self {
        Self {
            sample_weight: 1.0,
            timestamp_ns: 0,
            signal: Signal::default(),
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            name: None,
            kind: None,
            status: None,
            status_message: "",
            duration_ns: None,
            severity_number: None,
            severity: "",
            body: None,
            value: None,
            observed_timestamp_ns: None,
            start_timestamp_ns: None,
            timestamp_origin: None,
            body_type: None,
            trace_state: "",
            flags: 0,
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
            links: &[],
            scope_name: "",
            scope_version: "",
            scope_schema_url: "",
            scope_dropped_attributes_count: 0,
            resource_schema_url: "",
            resource_dropped_attributes_count: 0,
            resource_entity_refs: "",
            metric_type: None,
            metric_unit: "",
            metric_description: "",
            metric_temporality: None,
            metric_monotonic: None,
            metric_metadata: "",
            count: None,
            sum: None,
            min: None,
            max: None,
            bounds: None,
            bucket_counts: None,
            scale: None,
            zero_count: None,
            zero_threshold: None,
            positive_offset: None,
            positive_counts: None,
            negative_offset: None,
            negative_counts: None,
            quantiles: None,
            exemplars: &[],
        }
    }
}

//! Where does realistic telemetry come from if there is none at hand? A generated day at an online shop.
//!
//! The generator simulates the OpenTelemetry output of a shop of two dozen services, and returns it as OTLP
//! requests in order of arrival. `broadloom demo`, tests and benchmarks use it.
//!
//! ```text
//! shop (the model, as data) ─▶ world (compiled) ─┐
//! users (who visits) ────────────────────────────┼─▶ trace ─▶ logs ──┐
//! fleet (pods, versions, clocks) ─▶ incident ────┘     └────▶ metrics ┼─▶ outbox ─▶ requests
//! latency, dice (how long, what chance) ─────────┘                    ┘  (arrival, batches)
//! ```
//! Realistic features: sixty and more attributes per event with OpenTelemetry's names, users by Zipf's law,
//! latencies with heavy tails, consistent probability sampling (`tracestate` `ot=th:…` against the trace id),
//! spans that arrive minutes late, parents that never arrive, retries, hosts whose clock is off, exceptions with
//! stack traces, links from consumers to producers, logs with and without a trace, structured bodies, all five
//! kinds of metric points, a key whose type differs between services, and text in many scripts. And one incident
//! to find: see [`incident`].
//!
//! Invariants. The corpus is a function of [`DemoSettings`]: the same settings give the same bytes on every
//! machine; `start_ns` shifts all times and changes nothing else. Memory is bounded by the requests in flight,
//! not by the length of the corpus. Nothing here does I/O.
//!
//! It does not model load: the number of events per minute is constant, independent of the latencies.

mod attributes;
mod dice;
mod exceptions;
mod fleet;
pub mod incident;
pub mod investigation;
mod latency;
mod logs;
mod metrics;
mod outbox;
mod shop;
mod trace;
mod users;
mod world;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use dice::Dice;
use exceptions::Exceptions;
use fleet::Fleet;
use metrics::Meters;
use outbox::Outbox;
use trace::{Journey, Message};
use users::Users;
use world::{Protocol, World};

const MINUTE_NS: i64 = 60_000_000_000;
/// Approximate number of events per time slice. The generator works slice by slice, which bounds its memory.
const SLICE_EVENTS: u64 = 8_000;
/// One in this many events is a metric point.
const METRICS_ONE_IN: u64 = 12;

/// First random stream of live generators; lower ones belong to the corpus.
const LIVE_STREAM: u64 = 1 << 63;

/// Settings that determine the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoSettings {
    /// Seed of all random decisions.
    pub seed: u64,
    /// Number of events: spans, span events, log records and metric points. The corpus ends with the first trace that
    /// reaches this number.
    pub events: u64,
    /// Start of the corpus, in nanoseconds since the Unix epoch.
    pub start_ns: i64,
    /// Length of the corpus in minutes; 0 counts as 1.
    pub minutes: u32,
}

impl DemoSettings {
    /// Default start, for corpora without a relation to the present: 2026-01-05 09:00 UTC, a Monday.
    pub const START_NS: i64 = 1_767_603_600_000_000_000;

    /// Settings for `events` events in half an hour from [`Self::START_NS`].
    pub fn new(seed: u64, events: u64) -> Self {
        Self { seed, events, start_ns: Self::START_NS, minutes: 30 }
    }

    /// Start of the incident, in nanoseconds since the Unix epoch: full minutes after the start of the corpus.
    pub fn incident_ns(&self) -> i64 {
        self.at(incident::BEGINS_AT)
    }

    /// End of the corpus, in nanoseconds since the Unix epoch: no trace begins later.
    pub fn end_ns(&self) -> i64 {
        self.start_ns + i64::from(self.minutes.max(1)) * MINUTE_NS
    }

    /// Time at `share` of the corpus, rounded down to full minutes after its start.
    fn at(&self, share: f64) -> i64 {
        self.start_ns + (f64::from(self.minutes.max(1)) * share).floor() as i64 * MINUTE_NS
    }
}

/// One OTLP request, as a collector would send it.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoRequest {
    /// Time of arrival, in nanoseconds since the Unix epoch; never earlier than that of the previous request.
    pub arrival_ns: i64,
    /// Number of events in it: spans, span events, log records, metric points.
    pub events: u64,
    /// Content of the request.
    pub payload: DemoPayload,
}

/// The three kinds of OTLP requests.
#[derive(Debug, Clone, PartialEq)]
pub enum DemoPayload {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Metric points.
    Metrics(ExportMetricsServiceRequest),
}

/// Counts of planted anomalies, so that a test can compare its findings with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Planted {
    /// Spans that were never sent; each has one child, whose parent is therefore missing.
    pub lost_spans: u64,
    /// Spans that arrive minutes after they ended.
    pub late_spans: u64,
    /// Spans of pods whose clock is off.
    pub skewed_spans: u64,
    /// Traces that the incident slowed down.
    pub incident_traces: u64,
    /// Retries of failed calls.
    pub retries: u64,
}

/// Generates the corpus: iterate over it, or request an interval with [`Generator::between`].
#[derive(Debug)]
pub struct Generator {
    settings: DemoSettings,
    shared: Shared,
    dice: Dice,
    outbox: Outbox,
    meters: Meters,
    mail: Vec<Message>,
    /// Number of slices generated so far.
    slice: u64,
    /// Number of slices of the corpus.
    slices: u64,
    /// Number of events requested so far.
    goal: u64,
    ready: VecDeque<DemoRequest>,
}

/// Parts that do not change during generation.
#[derive(Debug)]
struct Shared {
    world: World,
    fleet: Fleet,
    users: Users,
    exceptions: Exceptions,
}

impl Generator {
    /// Creates a generator at the start of the corpus.
    pub fn new(settings: DemoSettings) -> Self {
        let minutes = u64::from(settings.minutes.max(1));
        let per_minute = (settings.events / minutes).div_ceil(SLICE_EVENTS).max(1);
        let shared = Shared {
            world: World::new(),
            fleet: Fleet::new(settings.seed, |share| settings.at(share)),
            users: Users::new(settings.seed),
            exceptions: Exceptions::new(settings.seed),
        };
        let meters = Meters::new(shared.fleet.pods.len(), settings.start_ns);
        Self {
            settings,
            shared,
            dice: Dice::new(settings.seed, 0),
            outbox: Outbox::default(),
            meters,
            mail: Vec::new(),
            slice: 0,
            slices: minutes * per_minute,
            goal: 0,
            ready: VecDeque::new(),
        }
    }

    /// Creates a generator of the same shop that continues after the corpus with new visits. Generators with different
    /// `salt` produce different ids. It has no corpus of its own: use [`Self::between`].
    pub fn live(settings: DemoSettings, salt: u64) -> Self {
        let mut generator = Self::new(settings);
        generator.dice = Dice::new(settings.seed, LIVE_STREAM ^ salt);
        generator.slice = generator.slices + 1;
        generator
    }

    /// Counts of anomalies planted so far.
    pub fn planted(&self) -> Planted {
        self.outbox.planted
    }

    /// Generates about `events` more events whose traces begin in `from_ns..to_ns`, and returns the requests that
    /// arrive before `to_ns`, in order. Call it with consecutive intervals: requests in flight at the end of one
    /// interval are returned in a later one.
    pub fn between(&mut self, from_ns: i64, to_ns: i64, events: u64) -> Vec<DemoRequest> {
        self.goal += events;
        while self.outbox.produced < self.goal {
            let at_ns = self.dice.time(from_ns, to_ns);
            if self.meters.points * METRICS_ONE_IN < self.outbox.produced {
                self.meters.export(&self.shared, &mut self.dice, &mut self.outbox, at_ns);
                continue;
            }
            let mut visitor = self.shared.users.visit(&mut self.dice);
            let draw = self.dice.below(u64::from(self.shared.world.weights())) as u32;
            let entry = self.shared.world.entry(draw);
            if self.shared.world.targets[entry].protocol == Protocol::Timer {
                visitor.attributes.clear();
            }
            let sweep = (events / 60).clamp(8, 400) as u32;
            let mut stage = self.stage(sweep);
            Journey::visit(&mut stage, &visitor, entry, at_ns);
            for message in std::mem::take(&mut self.mail) {
                Journey::deliver(&mut self.stage(sweep), &message);
            }
            if self.dice.chance(0.35) {
                logs::background(&mut self.stage(sweep), at_ns);
            }
        }
        self.outbox.release(to_ns, &self.shared.fleet)
    }

    /// Returns all requests still in flight, in order of arrival.
    pub fn rest(&mut self) -> Vec<DemoRequest> {
        self.outbox.release(i64::MAX, &self.shared.fleet)
    }

    fn stage(&mut self, sweep: u32) -> Stage<'_> {
        Stage {
            shared: &self.shared,
            dice: &mut self.dice,
            outbox: &mut self.outbox,
            meters: &mut self.meters,
            mail: &mut self.mail,
            sweep,
        }
    }
}

/// Parts of the generator that a trace uses.
struct Stage<'a> {
    shared: &'a Shared,
    dice: &'a mut Dice,
    outbox: &'a mut Outbox,
    meters: &'a mut Meters,
    mail: &'a mut Vec<Message>,
    /// Number of times that a sweep runs its steps.
    sweep: u32,
}

impl Iterator for Generator {
    type Item = DemoRequest;

    fn next(&mut self) -> Option<DemoRequest> {
        while self.ready.is_empty() {
            if self.slice > self.slices {
                return None;
            }
            let DemoSettings { events, start_ns, .. } = self.settings;
            let length_ns = (self.settings.end_ns() - start_ns) / self.slices as i64;
            let from_ns = start_ns + self.slice as i64 * length_ns;
            self.ready = if self.slice == self.slices {
                self.rest().into()
            } else {
                let share =
                    |slices: u64| (u128::from(events) * u128::from(slices) / u128::from(self.slices)) as u64;
                let wanted = share(self.slice + 1) - share(self.slice);
                self.between(from_ns, from_ns + length_ns, wanted).into()
            };
            self.slice += 1;
        }
        self.ready.pop_front()
    }
}

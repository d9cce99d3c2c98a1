//! How is one trace generated, from a visitor's request to the spans of all services?
//!
//! A [`Journey`] walks the compiled model. Time moves forward inside a [`Frame`], the current span; a step starts at
//! the frame's time and sets it to its own end. Spans go to the outbox when they end, children before parents, as
//! real spans do.
//!
//! Sampling is consistent in the sense of W3C trace context level 2: the last seven bytes of the trace id are the
//! randomness `R`, `tracestate` has the threshold `T` as `ot=th:…`, the trace was kept because `R >= T`, and
//! each span stands for `2^56 / (2^56 - T)`.

use std::ops::Range;

use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

use super::Stage;
use super::attributes::{boolean, double, int, map, text, texts};
use super::dice::{Dice, push_hex, push_number};
use super::incident;
use super::logs;
use super::metrics::Request;
use super::outbox::Emitted;
use super::shop::{Language, PRODUCTS, SEARCHES, SERVICES, Subject};
use super::users::Visitor;
use super::world::{Move, Operation, Protocol, Target};

/// Share of calls whose client span never arrives.
const LOST: f64 = 0.003;
/// Most attempts of a call.
const ATTEMPTS_MAX: u32 = 3;
/// Share of failures that also fail the caller.
const FATAL: f64 = 0.6;
/// Duration above which a query is logged as slow.
const SLOW_QUERY_NS: i64 = 400_000_000;

/// `flags` of a span with a local parent or none: sampled, random trace id.
const FLAGS_LOCAL: u32 = 0x103;
/// `flags` of a span with a remote parent: sampled, random trace id.
const FLAGS_REMOTE: u32 = 0x303;

/// A message that was sent to a topic and will be consumed.
#[derive(Debug)]
pub(super) struct Message {
    topic: usize,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampling: u32,
    sent_ns: i64,
    visitor: Visitor,
    basket: Basket,
}

/// Basket, order and payment of the visitor of a trace.
#[derive(Debug, Clone)]
pub(super) struct Basket {
    pub(super) id: u64,
    pub(super) items: u64,
    pub(super) cents: u64,
    pub(super) product: usize,
    pub(super) method: &'static str,
}

impl Basket {
    fn draw(dice: &mut Dice) -> Self {
        let product = dice.below(PRODUCTS.len() as u64) as usize;
        let items = 1 + dice.below(4) * dice.below(3);
        let cents = u64::from(PRODUCTS[product].2) * items + dice.below(4000);
        let method = *dice.pick(&["card", "card", "card", "wallet", "invoice", "gift_card"]);
        Self { id: dice.bits(), items, cents, product, method }
    }

    /// Order number in the form that people see.
    pub(super) fn order(&self) -> String {
        let mut out = String::with_capacity(12);
        out.push_str("HD-");
        push_number(&mut out, 10_000_000 + self.id % 89_999_999);
        out
    }

    fn hex(&self, prefix: &str) -> String {
        let mut out = String::with_capacity(prefix.len() + 16);
        out.push_str(prefix);
        push_hex(&mut out, &self.id.to_be_bytes());
        out
    }

    fn total(&self) -> f64 {
        self.cents as f64 / 100.0
    }
}

/// A trace under construction.
pub(super) struct Journey<'s, 'a> {
    pub(super) stage: &'s mut Stage<'a>,
    pub(super) trace_id: [u8; 16],
    sampling: u32,
    pub(super) visitor: &'s Visitor,
    pub(super) basket: Basket,
    slowed: bool,
}

/// An open span.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) pod: usize,
    pub(super) span_id: [u8; 8],
    /// Current time inside it, by the true clock.
    pub(super) now_ns: i64,
    /// True if a step failed: the remaining steps are skipped.
    failed: bool,
}

/// Result of a request.
struct Answer {
    end_ns: i64,
    pod: usize,
    status: i64,
}

impl Answer {
    fn failed(&self) -> bool {
        self.status >= 500
    }
}

/// Origin of a request.
enum Cause<'m> {
    Client,
    Caller([u8; 8]),
    Messages(&'m Message),
}

impl<'s, 'a> Journey<'s, 'a> {
    /// Generates the trace of a visitor (or timer) that calls the entry point `target` at `at_ns`.
    pub(super) fn visit(stage: &'s mut Stage<'a>, visitor: &'s Visitor, target: usize, at_ns: i64) {
        let sampling = stage.shared.world.targets[target].sampling;
        let basket = Basket::draw(stage.dice);
        let mut journey = Self::begin(stage, visitor, sampling, basket);
        journey.serve(target, &Cause::Client, at_ns);
        if journey.slowed {
            journey.stage.outbox.planted.incident_traces += 1;
        }
    }

    /// Generates the traces of all consumers of `message`; each links to the producer.
    pub(super) fn deliver(stage: &'s mut Stage<'a>, message: &'s Message) {
        let shared = stage.shared;
        for &target in &shared.world.topics[message.topic].consumers {
            let lag_ns = 4_000_000
                + stage.dice.below(60) as i64 * 1_000_000 * (1 + 30 * i64::from(stage.dice.chance(0.05)));
            let mut journey =
                Journey::begin(stage, &message.visitor, message.sampling, message.basket.clone());
            journey.serve(target, &Cause::Messages(message), message.sent_ns + lag_ns);
        }
    }

    fn begin<'j>(
        stage: &'j mut Stage<'a>,
        visitor: &'j Visitor,
        sampling: u32,
        basket: Basket,
    ) -> Journey<'j, 'a> {
        let mut trace_id = stage.dice.bytes_16();
        // R >= T holds if the first byte of R is at least that of T: T is 0, 0x80, 0xc0 or 0xe0 followed by zeros.
        let threshold = 256 - 256 / sampling;
        let randomness = threshold + u32::from(trace_id[9]) % (256 - threshold);
        trace_id[9] = randomness as u8;
        Journey { stage, trace_id, sampling, visitor, basket, slowed: false }
    }

    fn trace_state(&self) -> &'static str {
        trace_state(self.sampling)
    }

    fn serve(&mut self, index: usize, cause: &Cause<'_>, start_ns: i64) -> Answer {
        let shared = self.stage.shared;
        let target = &shared.world.targets[index];
        let draw = self.stage.dice.bits();
        let pod = shared.fleet.pod(target.service, self.visitor.region, start_ns, draw);
        let own_ns = target.operation.latency.draw(self.stage.dice);
        let span_id = self.stage.dice.span_id();
        let mut frame = Frame { pod, span_id, now_ns: start_ns + own_ns / 2, failed: false };
        for step in &target.moves {
            self.step(step, &mut frame);
            if frame.failed {
                break;
            }
        }
        let end_ns = frame.now_ns + own_ns / 2;
        let thrown = frame.failed || self.stage.dice.chance(target.operation.fails);
        let status = self.status(target, thrown);
        let (parent, flags) = match cause {
            Cause::Caller(id) => (id.to_vec(), FLAGS_REMOTE),
            _ => (Vec::new(), FLAGS_LOCAL),
        };
        let mut span = self.span(&frame, &target.operation, parent, start_ns..end_ns);
        span.flags = flags;
        self.describe(target, &frame, status, &mut span);
        if let Cause::Messages(message) = cause {
            span.links = self.links(message);
            span.attributes.push(int("messaging.batch.message_count", span.links.len() as i64));
        }
        if thrown {
            self.fail(&frame, &mut span, end_ns);
        }
        let took_ns = end_ns - start_ns;
        let (trace_id, span_id) = (self.trace_id, frame.span_id);
        self.stage.meters.observe(pod, &Request { target: index, end_ns, took_ns, trace_id, span_id });
        self.emit(pod, &target.operation, end_ns, span);
        logs::served(self, target, &frame, status, took_ns);
        Answer { end_ns, pod, status }
    }

    fn status(&mut self, target: &Target, thrown: bool) -> i64 {
        if thrown {
            return *self.stage.dice.pick(&[500, 500, 502, 503, 504]);
        }
        let draw = self.stage.dice.below(1000);
        match target.method {
            _ if target.protocol != Protocol::Http => 200,
            "POST" if draw < 6 => 422,
            "POST" if draw < 9 => 409,
            "POST" if draw < 600 => 201,
            "DELETE" => 204,
            "GET" if draw < 12 => 404,
            "GET" if draw < 40 => 304,
            _ if draw < 44 => 429,
            _ => 200,
        }
    }

    fn step(&mut self, step: &Move, frame: &mut Frame) {
        match step {
            Move::Call { target, percent, client } => {
                if self.stage.dice.below(100) < u64::from(*percent) {
                    self.call(*target, client, frame);
                }
            }
            Move::Query(operation) => self.query(operation, frame),
            Move::PaymentMethod { usual, by_wallet } => {
                let pod = &self.stage.shared.fleet.pods[frame.pod];
                if self.visitor.wallet_token && pod.version == incident::VERSION_AFTER {
                    self.slowed = true;
                    let start_ns = frame.now_ns;
                    let slow = self.run_query(by_wallet, frame);
                    logs::missing_index(self, frame, slow, frame.now_ns - start_ns);
                } else {
                    self.query(usual, frame);
                }
            }
            Move::Cache(operation) => self.cache(operation, frame),
            Move::Work(operation) => {
                self.simple(operation, frame, |_, _| {});
            }
            Move::External(operation) => self.external(operation, frame),
            Move::Publish { topic, producer } => self.publish(*topic, producer, frame),
            Move::Together(steps) => {
                let start_ns = frame.now_ns;
                let mut last_ns = start_ns;
                for step in steps {
                    frame.now_ns = start_ns;
                    self.step(step, frame);
                    last_ns = last_ns.max(frame.now_ns);
                }
                frame.now_ns = last_ns;
            }
            Move::Repeat(low, high, steps) => {
                let times = self.stage.dice.between(u64::from(*low), u64::from(*high));
                self.repeat(times, steps, frame);
            }
            Move::Sweep(steps) => self.repeat(u64::from(self.stage.sweep), steps, frame),
        }
    }

    fn repeat(&mut self, times: u64, steps: &[Move], frame: &mut Frame) {
        for _ in 0..times {
            for step in steps {
                self.step(step, frame);
            }
            if frame.failed {
                return;
            }
        }
    }

    fn call(&mut self, target: usize, client: &Operation, frame: &mut Frame) {
        let shared = self.stage.shared;
        for attempt in 0..ATTEMPTS_MAX {
            let span_id = self.stage.dice.span_id();
            let start_ns = frame.now_ns;
            let network_ns = client.latency.draw(self.stage.dice);
            let answer = self.serve(target, &Cause::Caller(span_id), start_ns + network_ns / 2);
            let end_ns = answer.end_ns + network_ns / 2;
            frame.now_ns = end_ns;
            let failed = answer.failed();
            if self.stage.dice.chance(LOST) {
                self.stage.outbox.planted.lost_spans += 1;
            } else {
                let own = Frame { span_id, ..*frame };
                let mut span = self.span(&own, client, frame.span_id.to_vec(), start_ns..end_ns);
                span.attributes
                    .push(text("network.peer.address", shared.fleet.pods[answer.pod].address.as_str()));
                if shared.world.targets[target].protocol == Protocol::Grpc {
                    span.attributes.push(int("rpc.grpc.status_code", grpc_status(answer.status)));
                } else {
                    span.attributes.push(int("http.response.status_code", answer.status));
                }
                if attempt > 0 {
                    span.attributes.push(int("http.request.resend_count", i64::from(attempt)));
                }
                if failed {
                    span.attributes.push(text("error.type", "upstream"));
                    span.status = error("the upstream answered with an error");
                }
                self.emit(frame.pod, client, end_ns, span);
            }
            if !failed {
                return;
            }
            if attempt + 1 < ATTEMPTS_MAX && self.stage.dice.chance(0.5) {
                self.stage.outbox.planted.retries += 1;
                frame.now_ns += self.stage.dice.between(20_000_000, 90_000_000) as i64;
                continue;
            }
            frame.failed = self.stage.dice.chance(FATAL);
            return;
        }
    }

    fn query(&mut self, operation: &Operation, frame: &mut Frame) {
        let start_ns = frame.now_ns;
        let span_id = self.run_query(operation, frame);
        let took_ns = frame.now_ns - start_ns;
        if took_ns > SLOW_QUERY_NS {
            logs::slow_query(self, frame, span_id, took_ns, &operation.name);
        }
    }

    fn run_query(&mut self, operation: &Operation, frame: &mut Frame) -> [u8; 8] {
        self.simple(operation, frame, |journey, span| {
            let dice = &mut *journey.stage.dice;
            let rows = if dice.chance(0.7) { 1 } else { dice.below(48) };
            span.attributes.push(int("db.response.returned_rows", rows as i64));
            span.attributes.push(int("db.client.connection.wait_us", dice.below(900) as i64));
        })
    }

    fn cache(&mut self, operation: &Operation, frame: &mut Frame) {
        self.simple(operation, frame, |journey, span| {
            let hit = journey.stage.dice.chance(0.86);
            span.attributes.push(boolean("cache.hit", hit));
            if hit {
                let size = 64 + journey.stage.dice.below(6000);
                span.attributes.push(int("cache.item.size", size as i64));
            }
        });
    }

    fn external(&mut self, operation: &Operation, frame: &mut Frame) {
        self.simple(operation, frame, |journey, span| {
            let failed = span.status.is_some();
            span.attributes.push(int("http.response.status_code", if failed { 504 } else { 200 }));
            let size = 200 + journey.stage.dice.below(9000);
            span.attributes.push(int("http.response.body.size", size as i64));
        });
    }

    fn publish(&mut self, topic: usize, operation: &Operation, frame: &mut Frame) {
        let span_id = self.simple(operation, frame, |journey, span| {
            let dice = &mut *journey.stage.dice;
            span.attributes.push(text("messaging.message.id", dice.hex(8)));
            span.attributes.push(int("messaging.kafka.offset", dice.below(90_000_000) as i64));
            span.attributes.push(text(
                "messaging.destination.partition.id",
                *dice.pick(&["0", "1", "2", "3", "4", "5"]),
            ));
            span.attributes.push(int("messaging.message.body.size", 180 + dice.below(4000) as i64));
        });
        logs::published(self, frame, span_id, topic);
        self.stage.mail.push(Message {
            topic,
            trace_id: self.trace_id,
            span_id,
            sampling: self.sampling,
            sent_ns: frame.now_ns,
            visitor: self.visitor.clone(),
            basket: self.basket.clone(),
        });
    }

    /// Generates a span without children and returns its id.
    fn simple(
        &mut self,
        operation: &Operation,
        frame: &mut Frame,
        finish: impl FnOnce(&mut Self, &mut Span),
    ) -> [u8; 8] {
        let own = Frame { span_id: self.stage.dice.span_id(), ..*frame };
        let start_ns = frame.now_ns;
        let end_ns = start_ns + operation.latency.draw(self.stage.dice);
        frame.now_ns = end_ns;
        let mut span = self.span(&own, operation, frame.span_id.to_vec(), start_ns..end_ns);
        if self.stage.dice.chance(operation.fails) {
            self.fail(&own, &mut span, end_ns);
            frame.failed = self.stage.dice.chance(FATAL);
        }
        finish(self, &mut span);
        self.emit(frame.pod, operation, end_ns, span);
        own.span_id
    }

    fn span(&mut self, frame: &Frame, operation: &Operation, parent: Vec<u8>, time_ns: Range<i64>) -> Span {
        let pod = &self.stage.shared.fleet.pods[frame.pod];
        let mut attributes =
            Vec::with_capacity(operation.attributes.len() + self.visitor.attributes.len() + 16);
        attributes.extend_from_slice(&operation.attributes);
        attributes.extend_from_slice(&self.visitor.attributes);
        attributes.push(int("thread.id", 1 + self.stage.dice.below(64) as i64));
        if SERVICES[pod.service].language == Language::Java {
            attributes.push(text(
                "thread.name",
                *self.stage.dice.pick(&["http-nio-8080-exec-3", "http-nio-8080-exec-11", "worker-7"]),
            ));
        }
        Span {
            trace_id: self.trace_id.to_vec(),
            span_id: frame.span_id.to_vec(),
            trace_state: self.trace_state().to_owned(),
            parent_span_id: parent,
            flags: FLAGS_LOCAL,
            name: operation.name.clone(),
            kind: operation.kind as i32,
            start_time_unix_nano: (time_ns.start + pod.skew_ns) as u64,
            end_time_unix_nano: (time_ns.end + pod.skew_ns) as u64,
            attributes,
            ..Span::default()
        }
    }

    fn emit(&mut self, pod: usize, operation: &Operation, end_ns: i64, span: Span) {
        let stage = &mut *self.stage;
        let emitted = Emitted { pod, at_ns: end_ns, item: span };
        stage.outbox.span(stage.dice, &stage.shared.fleet, operation.library, emitted);
    }

    /// Marks `span` as failed, with an exception of its service.
    fn fail(&mut self, frame: &Frame, span: &mut Span, end_ns: i64) {
        let shared = self.stage.shared;
        let pod = &shared.fleet.pods[frame.pod];
        let exception = shared.exceptions.draw(pod.service, self.stage.dice);
        span.status = error(exception.message);
        span.attributes.push(text("error.type", exception.kind));
        let mut attributes = exception.attributes.clone();
        attributes.push(boolean("exception.escaped", true));
        span.events.push(Event {
            time_unix_nano: (end_ns - 10_000 + pod.skew_ns) as u64,
            name: "exception".to_owned(),
            attributes,
            dropped_attributes_count: 0,
        });
        logs::failed(self, frame, span.span_id.as_slice(), end_ns, exception);
    }

    fn links(&mut self, message: &Message) -> Vec<Link> {
        vec![Link {
            trace_id: message.trace_id.to_vec(),
            span_id: message.span_id.to_vec(),
            trace_state: self.trace_state().to_owned(),
            attributes: vec![
                text("messaging.message.id", self.stage.dice.hex(8)),
                int("messaging.kafka.offset", self.stage.dice.below(90_000_000) as i64),
            ],
            dropped_attributes_count: 0,
            flags: FLAGS_REMOTE,
        }]
    }

    /// Adds attributes of the served request: status, sizes, path, and its business object.
    fn describe(&mut self, target: &Target, frame: &Frame, status: i64, span: &mut Span) {
        let dice = &mut *self.stage.dice;
        match target.protocol {
            Protocol::Http => {
                span.attributes.push(int("http.response.status_code", status));
                span.attributes.push(text("url.path", path(target.route, dice)));
                if target.method == "POST" {
                    span.attributes.push(int("http.request.body.size", 120 + dice.below(3000) as i64));
                }
                span.attributes
                    .push(int("http.response.body.size", 300 + (dice.below(240) * dice.below(240)) as i64));
                if SERVICES[target.service].name == "gateway" {
                    span.attributes.push(text("network.peer.address", self.visitor.address.as_str()));
                    span.attributes.push(text("tls.protocol.version", "1.3"));
                } else {
                    let caller = &self.stage.shared.fleet.pods[frame.pod / 2].address;
                    span.attributes.push(text("network.peer.address", caller.as_str()));
                }
            }
            Protocol::Grpc => {
                span.attributes.push(int("rpc.grpc.status_code", grpc_status(status)));
                span.attributes.push(int("rpc.message.id", 1 + dice.below(3) as i64));
            }
            Protocol::Message => {
                span.attributes.push(int("messaging.kafka.offset", dice.below(90_000_000) as i64));
                span.attributes.push(text(
                    "messaging.destination.partition.id",
                    *dice.pick(&["0", "1", "2", "3", "4", "5"]),
                ));
            }
            Protocol::Timer => span.attributes.push(int("SampleRate", 1)),
        }
        self.subject(target, span);
    }

    fn subject(&mut self, target: &Target, span: &mut Span) {
        let basket = &self.basket;
        let (product, category, cents) = PRODUCTS[basket.product];
        let all = &mut span.attributes;
        match target.subject {
            Subject::Nothing => {}
            Subject::Account => {
                all.push(text("account.tier", *self.stage.dice.pick(&["basic", "basic", "plus", "atelier"])));
                all.push(int("account.age_days", self.stage.dice.below(3000) as i64));
            }
            Subject::Product => all.extend([
                int("product.id", 1000 + basket.product as i64),
                text("product.name", product),
                text("product.category", category),
                double("product.price", f64::from(cents) / 100.0),
            ]),
            Subject::Search => all.extend([
                text("search.query", *self.stage.dice.pick(SEARCHES)),
                int("search.results", self.stage.dice.below(400) as i64),
                int("search.page", 1 + self.stage.dice.below(3) as i64),
            ]),
            Subject::Cart | Subject::Order => {
                all.extend([text("cart.id", basket.hex("c_")), int("cart.items", basket.items as i64)]);
                // The mail service reports the amount as formatted text.
                if SERVICES[target.service].language == Language::Ruby {
                    all.push(text("cart.total", format!("{:.2} {}", basket.total(), self.visitor.currency)));
                } else {
                    all.push(double("cart.total", basket.total()));
                }
                all.push(text("cart.currency", self.visitor.currency));
                if target.subject == Subject::Cart {
                    all.push(texts("cart.categories", &[category, "notions"]));
                } else {
                    all.push(text("order.id", basket.order()));
                    all.push(map(
                        "order.shipping",
                        vec![
                            text("carrier", *self.stage.dice.pick(&["dhl", "la-poste", "evri", "ヤマト"])),
                            boolean("express", self.stage.dice.chance(0.2)),
                            int("parcels", 1 + (basket.items / 4) as i64),
                        ],
                    ));
                }
            }
            Subject::Payment => all.extend([
                text("payment.id", basket.hex("pay_")),
                text("payment.method", basket.method),
                text("payment.provider", "psp.example"),
                double("payment.amount", basket.total()),
                text("payment.currency", self.visitor.currency),
                text("order.id", basket.order()),
            ]),
        }
    }
}

/// `tracestate` of a trace if one in `sampling` is kept.
fn trace_state(sampling: u32) -> &'static str {
    match sampling {
        2 => "ot=th:8",
        4 => "ot=th:c",
        8 => "ot=th:e",
        _ => "ot=th:0",
    }
}

fn grpc_status(status: i64) -> i64 {
    if status >= 500 { 14 } else { 0 }
}

#[expect(clippy::unnecessary_wraps, reason = "a span's status is optional, and this one is there")]
fn error(message: &str) -> Option<Status> {
    Some(Status { message: message.to_owned(), code: StatusCode::Error as i32 })
}

/// Fills in the parameters of a route.
fn path(route: &str, dice: &mut Dice) -> String {
    let mut out = String::with_capacity(route.len() + 12);
    let mut rest = route;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        push_number(&mut out, 1000 + dice.below(90_000));
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

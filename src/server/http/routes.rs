//! Which routes does the server have?
//!
//! [`ROUTES`] lists each of them once. Routers of ports, texts of 404 and 405, the header `Allow`, the labels of
//! `broadloom_http_requests_total`, and the table in `docs/http.md` are made from it.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::error::{Error, ErrorKind};
use crate::server::answer::Problem;
use crate::server::auth::Right;
use crate::server::port::{Port, Wire};
use crate::server::state::ServerState;
use crate::server::{
    attributes, check, complete, explain_diff, health, heatmap, log_context, log_patterns, metrics, otlp,
    queries, series, session, sql, status, tail, trace, trace_list, traces, ui,
};

/// A method that a route answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// GET, and HEAD with it.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

/// Clients that may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Every client that reaches the port: the route returns no data.
    Anyone,
    /// All but web pages of other sites: the route returns data, see `hosts.rs`.
    Trusted,
}

/// A handler, to be bound to the method beside it in the table.
type Handler = fn(MethodFilter) -> MethodRouter<ServerState>;

/// A line of [`ROUTES`].
pub(super) struct Route {
    /// Path with its parameters in braces; also the label of metrics.
    pub(super) path: &'static str,
    calls: &'static [(Verb, Handler)],
    about: &'static str,
    ports: &'static [Port],
    /// Clients that may use it.
    pub(super) audience: Audience,
    /// Right that its callers need, where keys are needed; `None` if anyone may use it.
    pub(super) needs: Option<Right>,
}

const OTLP_HTTP: &[Port] = &[Port::Http, Port::OtlpHttp];

/// Every route. A path may stand twice, for methods that need different rights.
const ROUTES: &[Route] = &[
    Route {
        path: "/v1/sql",
        calls: &[(Verb::Get, |method| on(method, sql::get)), (Verb::Post, |method| on(method, sql::post))],
        about: "rows of one SQL statement, in `?query=` or the body",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/traces/{id}",
        calls: &[(Verb::Get, |method| on(method, traces::get))],
        about: "a trace as OTLP JSON",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/traces",
        calls: &[(Verb::Post, |method| on(method, otlp::http::traces))],
        about: "takes spans (OTLP)",
        ports: OTLP_HTTP,
        audience: Audience::Anyone,
        needs: Some(Right::Write),
    },
    Route {
        path: "/v1/traces",
        calls: &[(Verb::Get, |method| on(method, trace_list::get))],
        about: "traces or spans that meet a condition, in pages",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/logs",
        calls: &[(Verb::Post, |method| on(method, otlp::http::logs))],
        about: "takes log records (OTLP)",
        ports: OTLP_HTTP,
        audience: Audience::Anyone,
        needs: Some(Right::Write),
    },
    Route {
        path: "/v1/metrics",
        calls: &[(Verb::Post, |method| on(method, otlp::http::metrics))],
        about: "takes metric points (OTLP)",
        ports: OTLP_HTTP,
        audience: Audience::Anyone,
        needs: Some(Right::Write),
    },
    Route {
        path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        calls: &[(Verb::Post, |method| on(method, otlp::grpc::traces))],
        about: "takes spans (OTLP/gRPC)",
        ports: &[Port::OtlpGrpc],
        audience: Audience::Anyone,
        needs: Some(Right::Write),
    },
    Route {
        path: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        calls: &[(Verb::Post, |method| on(method, otlp::grpc::logs))],
        about: "takes log records (OTLP/gRPC)",
        ports: &[Port::OtlpGrpc],
        audience: Audience::Anyone,
        needs: Some(Right::Write),
    },
    Route {
        path: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        calls: &[(Verb::Post, |method| on(method, otlp::grpc::metrics))],
        about: "takes metric points (OTLP/gRPC)",
        ports: &[Port::OtlpGrpc],
        audience: Audience::Anyone,
        needs: Some(Right::Write),
    },
    Route {
        path: "/healthz",
        calls: &[(Verb::Get, |method| on(method, health::alive))],
        about: "200 unless only a restart helps",
        ports: OTLP_HTTP,
        audience: Audience::Anyone,
        needs: None,
    },
    Route {
        path: "/readyz",
        calls: &[(Verb::Get, |method| on(method, health::ready))],
        about: "200 while requests are taken, else 503 and the reason",
        ports: OTLP_HTTP,
        audience: Audience::Anyone,
        needs: None,
    },
    Route {
        path: "/metrics",
        calls: &[(Verb::Get, |method| on(method, metrics::get))],
        about: "metrics of the server, for Prometheus",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/check",
        calls: &[(Verb::Post, |method| on(method, check::post))],
        about: "columns of a statement, or what is wrong with it, without running it",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/complete",
        calls: &[(Verb::Post, |method| on(method, complete::post))],
        about: "what can follow in a statement that is being written",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/attributes",
        calls: &[(Verb::Get, |method| on(method, attributes::get))],
        about: "attribute keys, in `?prefix=`",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/status",
        calls: &[(Verb::Get, |method| on(method, status::get))],
        about: "version, addresses and counts",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/queries",
        calls: &[(Verb::Get, |method| on(method, queries::get))],
        about: "statements that run",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/queries/{id}",
        calls: &[(Verb::Delete, |method| on(method, queries::delete))],
        about: "ends a statement that runs",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/session",
        calls: &[
            (Verb::Get, |method| on(method, session::get)),
            (Verb::Post, |method| on(method, session::post)),
            (Verb::Delete, |method| on(method, session::delete)),
        ],
        about: "signs the user of the web page in and out",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/v1/traces/{id}/rows",
        calls: &[(Verb::Get, |method| on(method, trace::rows))],
        about: "spans of a trace in tree order, by column",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/traces/{id}/rows/{row}",
        calls: &[(Verb::Get, |method| on(method, trace::span))],
        about: "one span with its events and logs",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/heatmap",
        calls: &[(Verb::Post, |method| on(method, heatmap::post))],
        about: "numbers of events by time and value",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/series",
        calls: &[(Verb::Post, |method| on(method, series::post))],
        about: "figures of events by group and time",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/explain_diff",
        calls: &[(Verb::Post, |method| on(method, explain_diff::post))],
        about: "what is different about some events",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/logs/context",
        calls: &[(Verb::Get, |method| on(method, log_context::get))],
        about: "log records before and after one",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/logs/patterns",
        calls: &[(Verb::Get, |method| on(method, log_patterns::get))],
        about: "kinds of log messages, with their numbers",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/v1/tail",
        calls: &[(Verb::Get, |method| on(method, tail::get))],
        about: "events as they come, over WebSocket or as lines",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: Some(Right::Read),
    },
    Route {
        path: "/",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: overview of services",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/explore",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: figures of events by any attribute",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/traces",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: list of traces",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/trace/{id}",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: a trace",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/trace/{id}/vs/{other}",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: two traces of one operation",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/logs",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: list of log records",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/sql",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: a statement and its rows",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/attributes",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: attribute keys",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/status",
        calls: &[(Verb::Get, |method| on(method, ui::page))],
        about: "web page: the server itself",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
    Route {
        path: "/ui/{version}/{*path}",
        calls: &[(Verb::Get, |method| on(method, ui::asset))],
        about: "files of the web page",
        ports: &[Port::Http],
        audience: Audience::Trusted,
        needs: None,
    },
];

impl Route {
    /// Returns the route of a request whose path the router has found; of a method that the path does not answer any
    /// route of the path.
    pub(super) fn of(matched: &MatchedPath, method: &Method) -> Option<&'static Self> {
        let of_path = || ROUTES.iter().filter(|route| route.path == matched.as_str());
        of_path().find(|route| route.answers(method)).or_else(|| of_path().next())
    }

    fn answers(&self, method: &Method) -> bool {
        // HEAD comes with GET.
        let name = if *method == Method::HEAD { "GET" } else { method.as_str() };
        self.calls.iter().any(|(verb, _)| verb.name() == name)
    }

    fn methods(&self, separator: &str) -> String {
        self.calls.iter().map(|(verb, _)| verb.name()).collect::<Vec<_>>().join(separator)
    }
}

/// Methods that `port` answers on `path`.
fn methods_of(port: Port, path: &str, separator: &str) -> String {
    let routes = routes_of(port).filter(|route| route.path == path);
    routes.map(|route| route.methods(separator)).collect::<Vec<_>>().join(separator)
}

fn routes_of(port: Port) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.ports.contains(&port))
}

/// Every route of `port`, and errors for everything else.
pub(super) fn of_port(port: Port) -> Router<ServerState> {
    let mut router = Router::new();
    for route in routes_of(port) {
        let methods = route.calls.iter().map(|(verb, handler)| handler(verb.filter()));
        if let Some(methods) = methods.reduce(MethodRouter::merge) {
            router = router.route(route.path, methods);
        }
    }
    router
        .method_not_allowed_fallback(move |method: Method, matched: Option<MatchedPath>| {
            std::future::ready(no_such_method(port, &method, matched))
        })
        .fallback(move |request: Request| std::future::ready(no_such_route(port, request.uri().path())))
}

fn no_such_route(port: Port, path: &str) -> Response {
    let message = not_found_text(port, path);
    if port.wire() == Wire::Grpc {
        return tonic::Status::unimplemented(message).into_http::<axum::body::Body>();
    }
    Problem::from(Error::new(ErrorKind::NotFound, message)).into_response()
}

/// Text of a 404: the nearest route to `path`, and all routes of the port.
fn not_found_text(port: Port, path: &str) -> String {
    let likeness = |route: &&Route| strsim::jaro_winkler(route.path, path);
    let nearest = ROUTES.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest {
        Some(route) if route.ports.contains(&port) => {
            format!("did you mean {} ({})?", route.path, route.about)
        }
        Some(route) => {
            let ports: Vec<_> = route.ports.iter().map(|port| port.name()).collect();
            format!("{} is served on the port {}.", route.path, ports.join(" and "))
        }
        None => String::new(),
    };
    let all: Vec<_> =
        routes_of(port).map(|route| format!("{} {}", route.methods(" or "), route.path)).collect();
    format!("no route {path} on the port {port}; {hint} The routes are: {}", all.join(", "))
}

fn no_such_method(port: Port, method: &Method, matched: Option<MatchedPath>) -> Response {
    let Some(path) = matched else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let path = path.as_str();
    let text = format!("{method} is not allowed on {path}; use {}", methods_of(port, path, " or "));
    let mut response =
        Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, Error::invalid(text)).into_response();
    let allow = methods_of(port, path, ", ").replace("GET", "GET, HEAD");
    if let Ok(allow) = HeaderValue::try_from(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of the documentation.
    fn table() -> String {
        let mut table = "| route | methods | ports | right | answer |\n|---|---|---|---|---|\n".to_owned();
        let row = |route: &Route| {
            let ports: Vec<_> = route.ports.iter().map(|port| port.name()).collect();
            format!(
                "| `{}` | {} | {} | {} | {} |\n",
                route.path,
                route.methods(", "),
                ports.join(", "),
                route.needs.map_or("", Right::name),
                route.about
            )
        };
        table.extend(ROUTES.iter().map(row));
        table
    }

    #[test]
    fn the_documentation_lists_every_route() {
        let page = include_str!("../../../docs/http.md");
        assert!(page.contains(&table()), "docs/http.md shall contain:\n\n{}", table());
    }

    #[test]
    fn each_route_stands_once_and_on_a_port() {
        let calls =
            || ROUTES.iter().flat_map(|route| route.calls.iter().map(|(verb, _)| (route.path, verb.name())));
        assert_eq!(calls().collect::<BTreeSet<_>>().len(), calls().count());
        assert!(ROUTES.iter().all(|route| !route.ports.is_empty() && !route.calls.is_empty()));
        // axum panics on two routes for the same request.
        for port in Port::ALL {
            let _ = of_port(*port);
        }
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is_near() {
        let text = not_found_text(Port::Http, "/v1/sqll");
        assert!(text.starts_with("no route /v1/sqll on the port http; did you mean /v1/sql ("), "{text}");
        assert!(text.contains("GET or POST /v1/sql, GET /v1/traces/{id}, POST /v1/traces"), "{text}");
        let text = not_found_text(Port::OtlpHttp, "/v1/sql");
        assert!(text.contains("/v1/sql is served on the port http."), "{text}");
        assert!(!text.contains("POST /v1/sql"), "{text}");
    }

    #[test]
    fn an_unknown_call_is_unimplemented_in_grpc() {
        let response = no_such_route(Port::OtlpGrpc, "/opentelemetry.proto.collector.profiles.v1/Export");
        assert_eq!(
            (response.status(), &response.headers()["grpc-status"]),
            (StatusCode::OK, &"12".parse().unwrap())
        );
    }

    #[tokio::test]
    async fn a_method_that_is_not_allowed_is_told_with_those_that_are() {
        use tower::ServiceExt;
        let router: Router = Router::new()
            .route("/v1/sql", axum::routing::get(|| async {}))
            .method_not_allowed_fallback(|method: Method, matched: Option<MatchedPath>| {
                std::future::ready(no_such_method(Port::Http, &method, matched))
            });
        let request = Request::delete("/v1/sql").body(axum::body::Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD, POST");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.contains("DELETE is not allowed on /v1/sql; use GET or POST"), "{text}");
    }
}

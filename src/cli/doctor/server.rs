//! A server, over the network.

use std::time::{Duration, Instant};

use chrono::DateTime;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::super::draw::units::human_duration;
use super::super::remote::Server;
use super::directory;
use super::finding::Finding;
use crate::config::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::query::Question;

/// Difference of two clocks from which on times of events look wrong.
const SKEW_NS: i64 = 5_000_000_000;
/// Longest wait for an answer to a log record.
const SEND_WAIT: Duration = Duration::from_secs(10);

/// Looks at a server; with `sends` also sends a log record.
pub(super) async fn examine(server: &Server, sends: bool) -> Vec<Finding> {
    let mut findings = vec![encryption(server.url())];
    match server.get("/readyz").await {
        Ok((status, headers, text)) => {
            findings.push(readiness(status, &text));
            findings.extend(headers.get("date").and_then(|date| clock(date.to_str().ok()?)));
        }
        Err(error) => {
            findings.push(Finding::fail(
                "server",
                error.chain(),
                "is it running, is this its address (broadloom serve prints it), and does a firewall let it through? \
                 --ca FILE trusts a certificate",
            ));
            return findings;
        }
    }
    match server.get("/v1/status").await {
        Ok((200, _, text)) => findings.extend(status(&serde_json::from_str(&text).unwrap_or_default())),
        Ok((401 | 403, ..)) => findings.push(Finding::fail(
            "key",
            "the server does not let this client read",
            "set BROADLOOM_KEY to a key with the right read: broadloom key create NAME --right read",
        )),
        Ok((status, ..)) => findings.push(Finding::fail(
            "server",
            format!("/v1/status answers with HTTP {status}"),
            "the address is that of another program, or of an older Broadloom: --url takes the port of --http",
        )),
        Err(error) => findings.push(Finding::fail("server", error.chain(), "look at its log")),
    }
    if sends {
        findings.push(otlp(server).await);
    }
    findings
}

fn encryption(url: &str) -> Finding {
    let host = url::Url::parse(url).ok().and_then(|url| Some(url.host_str()?.to_owned())).unwrap_or_default();
    let is_near = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    if url.starts_with("https:") {
        Finding::ok("encryption", "TLS")
    } else if is_near {
        Finding::ok("encryption", "none, and the server is on this machine")
    } else {
        Finding::warn(
            "encryption",
            "none: keys and events can be read on the way",
            "broadloom serve --tls-cert server.pem --tls-key server.key, then --url https://…",
        )
    }
}

fn readiness(status: u16, text: &str) -> Finding {
    let failing: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("failing: ")).collect();
    match status {
        200 if failing.is_empty() => Finding::ok("server", "it takes requests"),
        200 => Finding::warn(
            "server",
            format!("it takes requests, but fails in the background: {}", failing.join("; ")),
            "look at its log, and at its disk",
        ),
        _ => {
            let problem: Value = serde_json::from_str(text).unwrap_or_default();
            let reason = problem["detail"].as_str().map_or_else(|| format!("HTTP {status}"), str::to_owned);
            Finding::fail(
                "server",
                format!("it takes no requests: {reason}"),
                "look at its log; if its writes fail, restart it",
            )
        }
    }
}

/// The clock of the server against the one here.
fn clock(date: &str) -> Option<Finding> {
    let there = DateTime::parse_from_rfc2822(date).ok()?.timestamp_nanos_opt()?;
    let skew = SystemClock.now_ns().saturating_sub(there);
    Some(if skew.abs() > SKEW_NS {
        Finding::warn(
            "clock",
            format!("it differs from the clock here by {}", human_duration(skew.abs() as f64)),
            "set both by NTP; a wrong clock makes --last and the order of spans wrong",
        )
    } else {
        Finding::ok("clock", "it agrees with the clock here")
    })
}

/// Version, ports and the last event, from `/v1/status`.
fn status(status: &Value) -> Vec<Finding> {
    let (there, here) = (status["version"].as_str().unwrap_or("?"), env!("CARGO_PKG_VERSION"));
    let version = if there == here {
        Finding::ok("version", format!("{there}, as here"))
    } else {
        let advice = "install the same version on both sides";
        Finding::warn("version", format!("{there}, and {here} here"), advice)
    };
    let count = |name: &str| HumanCount(status[name].as_u64().unwrap_or(0));
    let data = format!(
        "{} events in {} segments, {} attribute keys",
        count("events"),
        count("segments"),
        count("attribute_keys")
    );
    let addresses = status["addresses"].as_object().into_iter().flatten();
    let addresses = addresses.filter_map(|(port, address)| Some(format!("{port} {}", address.as_str()?)));
    let ports = addresses.collect::<Vec<_>>().join(", ");
    let last = status["last_event"].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let last = directory::age(last.and_then(|time| time.timestamp_nanos_opt()));
    vec![version, Finding::ok("ports", ports), Finding::ok("data", data), last]
}

/// Sends a log record, and reads it.
async fn otlp(server: &Server) -> Finding {
    match send(server).await {
        Ok(took) => Finding::ok(
            "otlp",
            format!(
                "a log record was taken, and found by the next query, in {}",
                human_duration(took.as_nanos() as f64)
            ),
        ),
        Err(error) => Finding::fail(
            "otlp",
            error.chain(),
            "the key needs the rights write and read; the server's log says why a message is refused",
        ),
    }
}

async fn send(server: &Server) -> Result<Duration> {
    let began = Instant::now();
    let id = uuid::Uuid::new_v4().to_string();
    let now = SystemClock.now_ns().to_string();
    let text = |value: &str| json!({"stringValue": value});
    let record = json!({
        "timeUnixNano": now,
        "severityNumber": 9,
        "body": text("broadloom doctor sent this"),
        "attributes": [{"key": "broadloom.doctor.id", "value": text(&id)}],
    });
    let service = json!({"key": "service.name", "value": text("broadloom-doctor")});
    let message = json!({"resourceLogs": [{
        "resource": {"attributes": [service]},
        "scopeLogs": [{"logRecords": [record]}],
    }]});
    let answer =
        server.post("/v1/logs", "application/json", message.to_string().into(), Some(SEND_WAIT)).await?;
    let status = answer.status().as_u16();
    if status != 200 {
        let text = answer.text().await.unwrap_or_default();
        return Err(Error::invalid(format!("the log record was answered with HTTP {status}: {text}")));
    }
    let sql = format!("SELECT count(*) AS n FROM logs WHERE attributes['broadloom.doctor.id'] = '{id}'");
    let (_, _, batches) = server.rows(&Question { timeout: Some(SEND_WAIT), ..Question::sql(sql) }).await?;
    let found = super::super::draw::row::rows(&batches).next().and_then(|row| row.integer("n"));
    if found == Some(1) {
        Ok(began.elapsed())
    } else {
        Err(Error::internal("the log record was taken, but the next query does not find it"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn answers_of_servers_are_judged() {
        assert_eq!(encryption("http://127.0.0.1:8080").state, State::Ok);
        assert_eq!(encryption("http://db.example:8080").state, State::Warn);
        assert_eq!(encryption("https://db.example").state, State::Ok);
        assert_eq!(readiness(200, "ok\n").state, State::Ok);
        assert!(readiness(200, "ok\nfailing: flush\n").found.contains("flush"));
        assert!(readiness(503, r#"{"detail":"stopping"}"#).found.ends_with("stopping"));
        assert_eq!(clock("Thu, 01 Jan 1970 00:00:00 GMT").unwrap().state, State::Warn);
        let found = status(&json!({"version": "0.0.1", "addresses": {"http": "h:1", "postgres": null}}));
        assert_eq!((found[0].state, found[1].found.as_str()), (State::Warn, "http h:1"));
    }
}

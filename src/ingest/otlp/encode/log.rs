//! Encoding of log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::columns::Row;
use super::group::Groups;
use crate::error::Result;
use crate::event::schema::column as c;
use crate::event::{severity, typed_json};

pub(super) fn record(groups: &mut Groups<LogRecord>, row: &Row<'_>) -> Result<()> {
    let (scope, attributes) = groups.enter(row)?;
    let has_time = row.text(c::TIMESTAMP_ORIGIN).is_none();
    let record = LogRecord {
        time_unix_nano: row.time(c::TIMESTAMP).filter(|_| has_time).unwrap_or(0),
        observed_time_unix_nano: row.time(c::OBSERVED_TIMESTAMP).unwrap_or(0),
        severity_number: severity_number(row),
        severity_text: severity_text(row).to_owned(),
        body: body(row)?,
        attributes,
        dropped_attributes_count: row.count32(c::DROPPED_ATTRIBUTES_COUNT),
        flags: row.count32(c::FLAGS),
        trace_id: row.id(c::TRACE_ID),
        span_id: row.id(c::SPAN_ID),
        event_name: row.string(c::NAME),
    };
    groups.records(scope).push(record);
    Ok(())
}

/// Severity number that was sent; zero if none was.
fn severity_number(row: &Row<'_>) -> i32 {
    let sent = row.text(c::SEVERITY_ORIGIN) != Some(severity::FROM_TEXT);
    row.int(c::SEVERITY_NUMBER).filter(|_| sent).and_then(|n| i32::try_from(n).ok()).unwrap_or(0)
}

/// Severity text that was sent; empty if none was. Rows of earlier versions have it in `severity`.
fn severity_text<'a>(row: &Row<'a>) -> &'a str {
    let sent = row.text(c::SEVERITY_ORIGIN) != Some(severity::FROM_NUMBER);
    row.text(c::SEVERITY_TEXT).or_else(|| row.text(c::SEVERITY)).filter(|_| sent).unwrap_or_default()
}

fn body(row: &Row<'_>) -> Result<Option<AnyValue>> {
    let Some(text) = row.text(c::BODY) else { return Ok(None) };
    if row.text(c::BODY_TYPE).is_some() {
        return typed_json::parse(text).map(Some).map_err(|e| e.context("body of a log record"));
    }
    Ok(Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }))
}

pub(super) fn finish(groups: Groups<LogRecord>) -> ExportLogsServiceRequest {
    let resource_logs = groups.into_resources().into_iter().map(|group| ResourceLogs {
        resource: Some(group.resource),
        scope_logs: group
            .scopes
            .into_iter()
            .map(|scope| ScopeLogs {
                scope: Some(scope.scope),
                log_records: scope.records,
                schema_url: scope.schema_url,
            })
            .collect(),
        schema_url: group.schema_url,
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}

//! Do clients of PostgreSQL work on the port `postgres`?
//!
//! A small client of the protocol is below, for what real clients do not show. The others are psycopg, asyncpg,
//! SQLAlchemy and ADBC, which `.ci/clients` installs, and psql; without them these tests print that they are skipped,
//! and pass.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use broadloom::server::{Endpoints, Limits, Port};
use serde_json::Value;

use crate::running::{Running, clients, delete, spans};

/// A client of the protocol.
struct Client(TcpStream);

/// A message of the server: its kind and content.
type Message = (u8, Vec<u8>);

impl Client {
    /// Begins a session.
    fn connect(server: &Running) -> Self {
        let mut client = Self::open(server);
        client.startup(3 << 16, &["user", "test", "database", "any", "application_name", "it"]);
        let messages = client.until(b'Z');
        assert!(messages.iter().any(|(kind, body)| *kind == b'R' && *body == [0; 4]), "{messages:?}");
        client
    }

    fn open(server: &Running) -> Self {
        let stream = TcpStream::connect(server.addresses.get(Port::Postgres).unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self(stream)
    }

    fn startup(&mut self, version: i32, parameters: &[&str]) {
        let mut body = version.to_be_bytes().to_vec();
        for text in parameters {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        body.push(0);
        self.write(&[&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat());
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        self.write(&[&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat());
    }

    /// The next message; `None` at the end.
    fn next(&mut self) -> Option<Message> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        self.0.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }

    /// The messages up to one of this kind.
    fn until(&mut self, kind: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next() {
            let is_last = message.0 == kind;
            messages.push(message);
            if is_last {
                return messages;
            }
        }
        panic!("the server closed the connection after {messages:?}");
    }

    /// Runs a text by the simple protocol.
    fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &[sql.as_bytes(), &[0]].concat());
        self.until(b'Z')
    }

    fn parse(&mut self, name: &str, sql: &str) {
        self.send(b'P', &[name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat());
    }

    /// Binds a portal without values, with results in text.
    fn bind(&mut self, portal: &str, statement: &str) {
        self.send(b'B', &[portal.as_bytes(), &[0], statement.as_bytes(), &[0, 0, 0, 0, 0, 0, 0]].concat());
    }

    fn execute(&mut self, portal: &str, rows_max: i32) {
        self.send(b'E', &[portal.as_bytes(), &[0], &rows_max.to_be_bytes()].concat());
    }

    fn sync(&mut self) -> Vec<Message> {
        self.send(b'S', &[]);
        self.until(b'Z')
    }
}

fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|(kind, _)| *kind as char).collect()
}

/// The field `code` of an error among the messages.
fn field(messages: &[Message], code: u8) -> Option<String> {
    let (_, body) = messages.iter().find(|(kind, _)| *kind == b'E')?;
    let fields = body.split(|byte| *byte == 0);
    let field = fields.into_iter().find(|field| field.first() == Some(&code))?;
    Some(String::from_utf8(field[1..].to_vec()).unwrap())
}

/// The words that ended a statement.
fn tag(messages: &[Message]) -> String {
    let (_, body) = messages.iter().find(|(kind, _)| *kind == b'C').unwrap();
    String::from_utf8(body[..body.len() - 1].to_vec()).unwrap()
}

#[test]
fn a_text_has_several_statements_and_ends_at_the_first_that_fails() {
    let server = Running::start();
    server.send(&spans(3));
    let mut client = Client::connect(&server);
    assert_eq!(kinds(&client.query("select 1; ; select 2 from spans")), "TDCTDDDCZ");
    assert_eq!(kinds(&client.query(" -- nothing")), "IZ");
    let text = "select 'ü';\nselect nme from spans; select 1";
    let failed = client.query(text);
    assert_eq!(kinds(&failed), "TDCEZ");
    assert_eq!(field(&failed, b'C').as_deref(), Some("42703"));
    assert_eq!(
        field(&failed, b'P'),
        text.chars().position(|c| c == 'n').map(|place| (place + 1).to_string())
    );
    assert_eq!(tag(&client.query("select name from spans")), "SELECT 3");
}

#[test]
fn a_portal_sends_rows_in_parts_and_a_failure_lasts_until_sync() {
    let server = Running::start();
    let mut client = Client::connect(&server);
    client.parse("s", "select value from generate_series(1, 5)");
    client.bind("p", "s");
    client.execute("p", 2);
    client.execute("p", 2);
    client.execute("p", 2);
    let answer = client.sync();
    assert_eq!(kinds(&answer), "12DDsDDsDCZ");
    assert_eq!(tag(&answer), "SELECT 1");
    // Without a transaction portals end with Sync.
    client.execute("p", 0);
    client.parse("t", "select 1");
    let failed = client.sync();
    assert_eq!((kinds(&failed).as_str(), field(&failed, b'C').as_deref()), ("EZ", Some("34000")));
    client.query("begin");
    client.bind("p", "s");
    client.execute("p", 2);
    assert_eq!(kinds(&client.sync()), "2DDsZ");
    client.execute("p", 0);
    assert_eq!(kinds(&client.sync()), "DDDCZ");
    client.bind("", "nothing");
    assert_eq!(field(&client.sync(), b'C').as_deref(), Some("26000"));
    assert_eq!(client.query("commit").last().unwrap().1, b"I");
}

#[test]
fn bytes_that_are_not_the_protocol_end_the_session_and_nothing_else() {
    let server = Running::start();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3],
        &[0, 0, 0, 8, 0, 2, 0, 0],
        &[0, 0, 0, 9, 0, 3, 0, 0, 0],
    ] {
        let mut client = Client::open(&server);
        client.write(bytes);
        let told = client.next().unwrap();
        assert_eq!(told.0, b'E', "{told:?}");
        assert_eq!(client.next(), None);
    }
    for (kind, body) in
        [(b'P', &b"s\0select 1\0\xff\xff"[..]), (b'B', b"\0"), (b'~', b"x"), (b'Q', b"\xff\0")]
    {
        let mut client = Client::connect(&server);
        client.send(kind, body);
        let told = client.next().unwrap();
        assert_eq!(told.0, b'E', "{kind}: {told:?}");
        assert_eq!(client.next(), None);
    }
    let mut large = Client::connect(&server);
    large.write(&[b'Q', 0x3f, 0, 0, 0]);
    assert_eq!(field(&[large.next().unwrap()], b'C').as_deref(), Some("54000"));
    assert_eq!(tag(&Client::connect(&server).query("select 1")), "SELECT 1");
}

#[test]
fn encryption_is_refused_and_later_versions_are_negotiated() {
    let server = Running::start();
    let mut client = Client::open(&server);
    for request in [[4, 0xd2, 0x16, 0x2f], [4, 0xd2, 0x16, 0x30]] {
        client.write(&[&[0, 0, 0, 8][..], &request].concat());
        let mut answer = [0];
        client.0.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"N");
    }
    client.startup((3 << 16) + 2, &["user", "test", "_pq_.new", "x", "options", "-c statement_timeout=7s"]);
    let begun = client.until(b'Z');
    let (_, negotiated) = begun.iter().find(|(kind, _)| *kind == b'v').unwrap();
    assert_eq!(*negotiated, [&[0, 3, 0, 0, 0, 0, 0, 1][..], b"_pq_.new\0"].concat());
    let shown = client.query("show statement_timeout");
    assert!(shown[1].1.ends_with(b"7s"), "{shown:?}");
}

#[test]
fn a_question_ends_with_its_client_or_by_a_request_with_its_key() {
    const SLOW: &str = "select max(value) from generate_series(1, 1000000000000)";
    let server = Running::start();
    let running = |count: usize| {
        let line = format!("broadloom_queries_running {count}\n");
        while !server.get("/metrics").text().contains(&line) {
            std::thread::yield_now();
        }
    };
    let mut client = Client::open(&server);
    client.startup(3 << 16, &["user", "test"]);
    let begun = client.until(b'Z');
    let key = begun.iter().find(|(kind, _)| *kind == b'K').unwrap().1.clone();
    client.send(b'Q', &[SLOW.as_bytes(), &[0]].concat());
    running(1);
    let mut wrong = key.clone();
    wrong[7] ^= 1;
    for key in [wrong, key] {
        let mut cancel = Client::open(&server);
        cancel.write(&[&[0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e][..], &key].concat());
        assert_eq!(cancel.next(), None);
    }
    assert_eq!(field(&client.until(b'Z'), b'C').as_deref(), Some("57014"));
    // Its client may be told first.
    running(0);
    client.send(b'Q', &[SLOW.as_bytes(), &[0]].concat());
    running(1);
    // Over HTTP it is seen, and ended.
    let seen = loop {
        let seen = server.get("/v1/queries").json()["queries"][0].clone();
        if seen.is_object() {
            break seen;
        }
    };
    assert_eq!(
        (&seen["door"], &seen["kind"], &seen["statement"]),
        (&"postgres".into(), &"sql".into(), &SLOW.into())
    );
    let path = format!("{}/v1/queries/{}", server.url(), seen["id"].as_str().unwrap());
    assert_eq!(delete(&path, &[]).status, 204);
    let ended = client.until(b'Z');
    assert_eq!(field(&ended, b'C').as_deref(), Some("57014"));
    assert!(field(&ended, b'M').unwrap().contains("DELETE /v1/queries/"), "{ended:?}");
    running(0);
    client.send(b'Q', &[SLOW.as_bytes(), &[0]].concat());
    running(1);
    drop(client);
    running(0);
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("protocol=\"postgres\",outcome=\"abandoned\""), "{}", metrics.text());
}

#[test]
fn sessions_that_are_idle_make_room_and_are_told_when_the_server_stops() {
    // At the limit, one place is made for the next client.
    let limits = Limits { connections_max: 3, ..Limits::default() };
    let server = Running::with(&Endpoints::any(), limits);
    let mut first = Client::connect(&server);
    let mut second = Client::connect(&server);
    let mut third = Client::connect(&server);
    assert_eq!(first.next(), None);
    assert_eq!(tag(&third.query("select 1")), "SELECT 1");
    drop(server);
    for client in [&mut second, &mut third] {
        assert_eq!(field(&[client.next().unwrap()], b'C').as_deref(), Some("57P01"));
        assert_eq!(client.next(), None);
    }
}

/// A server with the events of a folder of scripts.
fn with_events(folder: &Path) -> Running {
    let server = Running::start();
    for signal in ["traces", "logs", "metrics"] {
        let Ok(events) = std::fs::read(folder.join("data").join(format!("{signal}.json"))) else { continue };
        let answer = server.post(&format!("/v1/{signal}"), &[("Content-Type", "application/json")], events);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    server
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt")
}

/// Runs a part of `tests/clients/postgres.py`; `None` if the clients are not installed.
fn python(what: &str, server: &Running, more: &[&str]) -> Option<Value> {
    let python = clients("clients of PostgreSQL")?.join("python/bin/python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/postgres.py");
    let address = server.addresses.get(Port::Postgres).unwrap();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let output = Command::new(python).args([script, what, &host, &port]).args(more).output().unwrap();
    assert!(output.status.success(), "{what}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn every_statement_of_the_scripts_has_the_answer_of_http() {
    let own = std::fs::read_dir(scripts()).unwrap().map(|entry| entry.unwrap().path());
    let folders = std::iter::once(scripts()).chain(own.filter(|path| path.join("data").is_dir()));
    let mut checked = 0;
    for folder in folders {
        let server = with_events(&folder);
        let Some(counts) = python("scripts", &server, &[&server.url(), folder.to_str().unwrap()]) else {
            return;
        };
        assert!(counts["simple"] == counts["prepared"] && counts["simple"] == counts["binary"], "{counts}");
        checked += counts["simple"].as_u64().unwrap();
    }
    assert!(checked > 200, "only {checked} statements were compared");
}

#[test]
fn psycopg_asyncpg_sqlalchemy_and_adbc_work() {
    let server = with_events(&scripts());
    for what in ["psycopg", "asyncpg", "sqlalchemy", "adbc"] {
        if python(what, &server, &[]).is_none() {
            return;
        }
    }
}

#[test]
fn statements_of_tools_about_the_catalogue_are_answered() {
    let server = with_events(&scripts());
    let Some(checked) = python("catalogue", &server, &[]) else { return };
    assert!(checked["statements"].as_u64() > Some(20), "{checked}");
}

/// Runs psql, if it is there.
fn psql(server: &Running, commands: &[&str]) -> Option<Output> {
    let address = server.addresses.get(Port::Postgres).unwrap();
    let mut psql = Command::new("psql");
    psql.env("PGHOST", address.ip().to_string())
        .env("PGPORT", address.port().to_string())
        .env("PGUSER", "test");
    psql.args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--pset=pager=off"]);
    for command in commands {
        psql.args(["-c", command]);
    }
    match psql.output() {
        Ok(output) => Some(output),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("\nSKIPPED psql: it is not installed; run `. .ci/clients` first\n");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn psql_shows_relations_columns_and_rows() {
    let server = with_events(&scripts());
    for (command, words) in [
        ("\\dt", &["events", "table"][..]),
        ("\\dv", &["spans", "view"]),
        ("\\d", &["events", "spans", "logs"]),
        ("\\d events", &["timestamp with time zone", "http.route", "bigint"]),
        ("\\d+ spans", &["View \"public.spans\"", "duration_ns"]),
        ("\\dn", &["public"]),
        ("\\l", &["broadloom", "UTF8"]),
        ("\\du", &["broadloom"]),
        ("\\df", &["0 rows"]),
        ("\\di", &[]),
        ("\\conninfo", &["connected"]),
        ("select name from spans order by name limit 1", &["GET /cart", "1 row"]),
        ("copy (select count(*) from spans) to stdout csv", &[]),
    ] {
        let Some(output) = psql(&server, &[command]) else { return };
        let (text, complaints) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {complaints}");
        for word in words {
            assert!(text.contains(word), "{command}: no {word:?} in\n{text}{complaints}");
        }
    }
}

//! Does a server keep strangers out, whatever they try?

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use broadloom::server::{Endpoints, KeyFile, Limits, NewKey, Port, Right, TlsSource};
use tempfile::TempDir;

use crate::running::{self, Answer, Running, Served};

/// A line of the list of routes in docs/http.md, which a test beside that list holds to what there is.
struct Route {
    path: String,
    methods: Vec<String>,
    ports: Vec<String>,
    right: Option<Right>,
}

fn routes() -> Vec<Route> {
    let page = include_str!("../../docs/http.md");
    let lines = page.lines().skip_while(|line| !line.starts_with("| route | methods")).skip(2);
    let routes: Vec<Route> = lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let list = |cell: &str| cell.split(", ").map(str::to_owned).collect::<Vec<_>>();
            Route {
                path: cells[0].trim_matches('`').to_owned(),
                methods: list(cells[1]),
                ports: list(cells[2]),
                right: Right::ALL.into_iter().find(|right| right.name() == cells[3]),
            }
        })
        .collect();
    assert!(routes.len() > 20, "the list is in docs/http.md");
    routes
}

struct Keys {
    directory: TempDir,
    write: String,
    read: String,
    admin: String,
    expired: String,
    revoked: String,
}

impl Keys {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = KeyFile::new(directory.path().join("keys.json"));
        let make = |name: &str, right, lifetime| {
            file.create(NewKey { name: name.to_owned(), rights: vec![right], lifetime }).unwrap()
        };
        let (write, read) = (make("writer", Right::Write, None), make("reader", Right::Read, None));
        let admin = make("chief", Right::Admin, None);
        let expired = make("old", Right::Admin, Some(Duration::ZERO));
        let revoked = make("gone", Right::Admin, None);
        file.revoke("gone").unwrap();
        Self { directory, write, read, admin, expired, revoked }
    }

    fn file(&self) -> KeyFile {
        KeyFile::new(self.directory.path().join("keys.json"))
    }
}

fn bearer(key: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {key}"))
}

fn request(url: &str, method: &str, headers: &[(&str, &str)]) -> Answer {
    match method {
        "GET" => running::get(url, headers),
        "POST" => running::post(url, headers, b""),
        "DELETE" => running::delete(url, headers),
        other => panic!("a new method: {other}"),
    }
}

/// Outcome of a request: its status, or that of gRPC.
fn outcome(answer: &Answer) -> u16 {
    match answer.header("grpc-status").map(|code| code.parse().unwrap()) {
        Some(16) => 401,
        Some(7) => 403,
        _ => answer.status,
    }
}

#[test]
fn every_route_keeps_strangers_out() {
    let keys = Keys::make();
    let server = Running::with(&Endpoints::any().with_keys(keys.file()), Limits::default());
    let mut tried = 0;
    for route in routes() {
        for (method, port) in route.methods.iter().flat_map(|m| route.ports.iter().map(move |p| (m, p))) {
            let port = *Port::ALL.iter().find(|known| known.name() == port).expect("a port");
            if port == Port::OtlpGrpc {
                // Spoken to by tonic's client, below.
                continue;
            }
            let path = route.path.replace("{id}", "0af7651916cd43dd8448eb211c80319c").replace("{row}", "0");
            let path = path.replace("{version}", "x").replace("{*path}", "app.js");
            // A tail has no end; one with a wrong option has.
            let path = path.replace("/v1/tail", "/v1/tail?spam=1");
            let url = format!("{}{path}", server.url_of(port));
            let with = |key: &str| {
                let (name, value) = bearer(key);
                outcome(&request(&url, method, &[(name, &value)]))
            };
            let without = outcome(&request(&url, method, &[]));
            let Some(right) = route.right else {
                assert!(![403].contains(&without), "{method} {path} is for everyone: {without}");
                continue;
            };
            tried += 1;
            assert_eq!(without, 401, "{method} {path} without a key");
            let mut wrong = keys.admin.clone();
            wrong.replace_range(wrong.len() - 4.., "0000");
            for (what, key) in
                [("a wrong key", &wrong), ("an expired key", &keys.expired), ("a revoked key", &keys.revoked)]
            {
                assert_eq!(with(key), 401, "{method} {path} with {what}");
            }
            let cookie = outcome(&request(&url, method, &[("Cookie", "broadloom_session=0")]));
            assert_eq!(cookie, 401, "{method} {path} with a session that is none");
            let basic = outcome(&request(&url, method, &[("Authorization", "Basic OmJs")]));
            assert_eq!(basic, 401, "{method} {path} with a wrong password");
            let (own, other) = match right {
                Right::Write => (&keys.write, &keys.read),
                _ => (&keys.read, &keys.write),
            };
            assert_eq!(with(other), 403, "{method} {path} with a key of another right");
            for key in [own, &keys.admin] {
                assert!(![401, 403].contains(&with(key)), "{method} {path} with the right");
            }
        }
    }
    assert!(tried > 10, "{tried}");
    let (name, value) = bearer(&keys.admin);
    let metrics = running::get(&format!("{}/metrics", server.url()), &[(name, &value)]);
    assert!(
        metrics.text().contains("broadloom_kept_out_total{kind=\"unauthenticated\"}"),
        "{}",
        metrics.text()
    );
    assert!(!metrics.text().contains(&keys.admin[12..]));
}

#[test]
fn grpc_needs_a_key_as_well() {
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
    let keys = Keys::make();
    let server = Running::with(&Endpoints::any().with_keys(keys.file()), Limits::default());
    let url = server.url_of(Port::OtlpGrpc);
    let send = |key: Option<&str>| {
        let mut request = tonic::Request::new(running::spans(3));
        if let Some(key) = key {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        let url = url.clone();
        server.runtime.block_on(async move {
            let mut client = TraceServiceClient::connect(url).await.unwrap();
            client.export(request).await.map(|_| ()).map_err(|status| status.code())
        })
    };
    assert_eq!(send(None), Err(tonic::Code::Unauthenticated));
    assert_eq!(send(Some(&keys.revoked)), Err(tonic::Code::Unauthenticated));
    assert_eq!(send(Some(&keys.read)), Err(tonic::Code::PermissionDenied));
    assert_eq!(server.database.stats().events, 0);
    assert_eq!(send(Some(&keys.write)), Ok(()));
    assert_eq!(server.database.stats().events, 3);
}

#[test]
fn a_browser_signs_in_and_out() {
    let keys = Keys::make();
    let server = Running::with(&Endpoints::any().with_keys(keys.file()), Limits::default());
    let json = ("Content-Type", "application/json");
    let get =
        |path: &str, headers: &[(&str, &str)]| running::get(&format!("{}{path}", server.url()), headers);
    let sign_in = |key: &str| server.post("/v1/session", &[json], format!("{{\"key\":\"{key}\"}}"));
    assert_eq!(sign_in(&keys.expired).status, 401);
    assert_eq!(server.post("/v1/session", &[json], "{}").status, 400);
    let answer = sign_in(&keys.read);
    assert_eq!(answer.status, 204);
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(&keys.read), "{cookie}");
    let own = ("Cookie", cookie.split(';').next().unwrap());
    assert_eq!(get("/v1/session", &[own]).json()["name"], "reader");
    assert_eq!(get("/v1/sql?query=select+1", &[own]).status, 200);
    let foreign = [own, ("Origin", "https://attacker.example")];
    assert_eq!(get("/v1/sql?query=select+1", &foreign).status, 403);
    assert_eq!(running::delete(&format!("{}/v1/session", server.url()), &[own]).status, 204);
    assert_eq!(get("/v1/sql?query=select+1", &[own]).status, 401);
}

#[test]
fn keys_are_needed_from_the_first_one_on_and_until_they_are_revoked() {
    let data = tempfile::tempdir().unwrap();
    let server = Served::start(data.path());
    let broadloom = |arguments: &[&str]| {
        let output = running::broadloom(arguments).env("BROADLOOM_DATA", data.path()).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let status =
        |headers: &[(&str, &str)]| running::get(&format!("{}/v1/status", server.http), headers).status;
    assert_eq!(status(&[]), 200);
    let (made, key, told) = broadloom(&["key", "create", "anna", "--right", "read"]);
    assert!(made && key.starts_with("bl_") && told.contains("not shown again"), "{told}");
    let key = key.trim();
    let becomes = |headers: &[(&str, &str)], wanted: u16| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while status(headers) != wanted {
            assert!(Instant::now() < deadline, "never {wanted}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    becomes(&[], 401);
    let (name, value) = bearer(key);
    assert_eq!(status(&[(name, &value)]), 200);
    let url = server.http.clone();
    let (asked, _, told) = broadloom(&["query", "--url", &url, "select 1"]);
    assert!(!asked && told.contains("a key is needed"), "{told}");
    let (asked, rows, told) =
        broadloom(&["query", "--url", &url, "--key", key, "--format", "csv", "select 1 as one"]);
    assert!(asked && rows == "one\n1\n", "{told}");
    let (listed, table, _) = broadloom(&["key", "list"]);
    assert!(
        listed && table.contains("anna") && table.contains("never") && !table.contains(&key[12..]),
        "{table}"
    );
    let (revoked, _, _) = broadloom(&["key", "revoke", "anna"]);
    assert!(revoked);
    becomes(&[(name, &value)], 401);
    let (again, _, told) = broadloom(&["key", "revoke", "anna"]);
    assert!(!again && told.contains("there is no key \"anna\""), "{told}");
}

#[test]
fn connections_are_encrypted_and_a_renewed_certificate_counts() {
    let directory = tempfile::tempdir().unwrap();
    let write = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(directory.path().join("server.key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(directory.path().join("server.pem"), made.cert.pem()).unwrap();
        made.cert.pem()
    };
    let first = write();
    let source = TlsSource::Files {
        certificate: directory.path().join("server.pem"),
        key: directory.path().join("server.key"),
        client_roots: None,
    };
    let server = Running::with(&Endpoints::any().with_tls(source), Limits::default());
    let port = server.addresses.get(Port::Http).unwrap().port();
    let ask = |root: &str| {
        std::fs::write(directory.path().join("root.pem"), root).unwrap();
        let url = format!("https://localhost:{port}");
        let output =
            running::broadloom(&["query", "--url", &url, "--format", "csv", "select 1 as one", "--ca"])
                .arg(directory.path().join("root.pem"))
                .output()
                .unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(ask(&first), ("one\n1\n".to_owned(), String::new()));
    let mut plain = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "nothing is said without encryption");
    // Its time must differ from that of the first.
    std::thread::sleep(Duration::from_millis(1100));
    let second = write();
    assert_eq!(ask(&second).0, "one\n1\n");
    let (rows, told) = ask(&first);
    assert!(rows.is_empty() && told.contains("certificate"), "{told}");
}

#[test]
#[cfg(feature = "postgres")]
fn a_session_needs_a_key_and_encryption_where_others_do() {
    if running::clients("psql").is_none() {
        return;
    }
    let keys = Keys::make();
    let endpoints = Endpoints::any()
        .with(Port::Postgres, "127.0.0.1:0")
        .with_keys(keys.file())
        .with_tls(TlsSource::Development);
    let server = Running::with(&endpoints, Limits::default());
    let port = server.addresses.get(Port::Postgres).unwrap().port();
    let psql = |key: &str, mode: &str| {
        let to = format!("host=127.0.0.1 port={port} user=me dbname=any sslmode={mode} connect_timeout=60");
        let output = std::process::Command::new("psql")
            .args([&to, "-XAtwc", "select 40 + 2"])
            .env("PGPASSWORD", key)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    assert_eq!(psql(&keys.read, "require"), ("42\n".to_owned(), String::new()));
    for (key, mode, why) in [
        (&keys.read, "disable", "wants encrypted connections"),
        (&keys.revoked, "require", "not known"),
        (&keys.expired, "require", "not known"),
        (&keys.write, "require", "does not have the right read"),
    ] {
        let (rows, said) = psql(key, mode);
        assert!(rows.is_empty() && said.contains(why), "{why}: {said}");
    }
}

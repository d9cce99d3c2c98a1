//! `broadloom key`: makes, lists and revokes the keys that clients of a server need.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::{Globals, units};
use crate::error::{Error, Result};
use crate::server::{KeyFile, NewKey, Right};

const AFTER_HELP: &str = "\
A server needs no keys until the first one is made; from then on every client needs one, within a second and without a
restart. The file of keys has only their hashes.

Examples:
  broadloom key create collector --right write
  broadloom key create grafana --right read --expires 90d
  broadloom key list
  broadloom key revoke grafana

Use a key:
  OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer bl_…' your-program
  BROADLOOM_KEY=bl_… broadloom query --url https://host:8080 'select 1'
  curl -H 'Authorization: Bearer bl_…' https://host:8080/v1/sql -d 'select 1'";

/// Arguments of `broadloom key`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    place: KeyPlace,
    #[command(subcommand)]
    command: KeyCommand,
}

/// Place of the keys.
#[derive(Debug, Args)]
pub(super) struct KeyPlace {
    /// File of the keys of clients
    ///
    /// Default: keys.json in the data directory; none if the data is in an object store.
    #[arg(long, global = true, value_name = "FILE", env = "BROADLOOM_KEYS")]
    keys: Option<PathBuf>,
}

impl KeyPlace {
    /// The file that was named, which must exist for a server.
    pub(super) fn named(&self) -> Option<KeyFile> {
        self.keys.clone().map(KeyFile::new)
    }

    /// The file in the data directory, if there is one.
    pub(super) fn default_of(globals: &Globals) -> Option<KeyFile> {
        globals.data.directory().map(|directory| KeyFile::new(directory.join("keys.json")))
    }

    fn file(&self, globals: &Globals) -> Result<KeyFile> {
        if let Some(file) = self.named() {
            return Ok(file);
        }
        globals.refuse_new_directory()?;
        Self::default_of(globals).ok_or_else(|| {
            Error::invalid("the data is in an object store: name a file of keys with --keys FILE")
        })
    }
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key and print it, the only time that it is shown
    Create(CreateArgs),
    /// List the keys, without their secrets
    List {
        /// Print the keys as JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key; requests with it are refused within a second
    Revoke {
        /// Name or id of the key
        name: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Name of the key: the program or the person that will have it
    name: String,
    /// Right of its holder: write (send telemetry), read (ask), or admin (everything); repeat it for several
    #[arg(long = "right", value_name = "RIGHT", required = true, value_parser = right())]
    rights: Vec<Right>,
    /// Time after which the key is refused, such as 90d
    ///
    /// Default: it is valid until it is revoked.
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    expires: Option<Duration>,
}

fn right() -> impl TypedValueParser<Value = Right> {
    let names = PossibleValuesParser::new(Right::ALL.map(Right::name));
    names.try_map(|name| Right::ALL.into_iter().find(|right| right.name() == name).ok_or("no such right"))
}

/// Runs `broadloom key`.
pub(super) fn run(args: KeyArgs, globals: &Globals) -> Result<()> {
    let file = args.place.file(globals)?;
    match args.command {
        KeyCommand::Create(args) => create(&file, args),
        KeyCommand::List { json } => list(&file, json),
        KeyCommand::Revoke { name } => {
            let revoked = file.revoke(&name)?;
            writeln!(std::io::stderr(), "revoked the key {:?}", revoked.name)?;
            Ok(())
        }
    }
}

fn create(file: &KeyFile, args: CreateArgs) -> Result<()> {
    let CreateArgs { name, mut rights, expires } = args;
    rights.sort_unstable();
    rights.dedup();
    let key = file.create(NewKey { name: name.clone(), rights, lifetime: expires })?;
    writeln!(std::io::stdout(), "{key}")?;
    let shown = file.path().display();
    writeln!(
        std::io::stderr(),
        "This is the key {name:?}. Keep it now: it is not shown again. {shown} has its hash."
    )?;
    Ok(())
}

fn list(file: &KeyFile, is_json: bool) -> Result<()> {
    let keys = file.read()?;
    let date = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
    let rights = |rights: &[Right]| rights.iter().map(|right| right.name()).collect::<Vec<_>>();
    if is_json {
        let keys = keys.iter().map(|key| {
            serde_json::json!({
                "name": key.name, "id": key.id, "rights": rights(&key.rights), "created": date(key.created),
                "expires": key.expires.map(date), "has_expired": key.has_expired(),
            })
        });
        writeln!(std::io::stdout(), "{:#}", keys.collect::<serde_json::Value>())?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["name", "id", "rights", "created", "expires"]);
    for key in &keys {
        let expires = key.expires.map_or_else(|| "never".to_owned(), date);
        let expires = if key.has_expired() { format!("{expires} (expired)") } else { expires };
        table.add_row([&key.name, &key.id, &rights(&key.rights).join(", "), &date(key.created), &expires]);
    }
    writeln!(std::io::stdout(), "{}", table.trim_fmt())?;
    Ok(())
}

//! What are the files of the page?
//!
//! [`ASSETS`] lists them, with their bytes. All of them lie below one folder whose name is a hash of them all, so
//! that relative imports stay as they are written, and a browser may keep every file for ever: another version is
//! another folder. The pages themselves are [`document`]s that name the folder, and are asked for again each time.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::Hasher;
use std::io::Write as _;
use std::sync::OnceLock;

use bytes::Bytes;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::error::{Error, Result};

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    /// Path below the folder of the version.
    pub(super) path: &'static str,
    /// Content.
    pub(super) bytes: &'static [u8],
    /// Media type.
    pub(super) media_type: &'static str,
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Lists files of `web/` with their media types.
macro_rules! web {
    ($($path:literal $media_type:expr),* $(,)?) => {
        &[
            $(Asset { path: $path, bytes: include_bytes!(concat!("web/", $path)), media_type: $media_type },)*
            Asset {
                path: "vendor/codemirror.js",
                bytes: include_bytes!("vendor/codemirror.js"),
                media_type: JAVASCRIPT,
            },
        ]
    };
}

/// Every file.
pub(super) const ASSETS: &[Asset] = web![
    "app.js" JAVASCRIPT,
    "base.css" CSS,
    "compare.css" CSS,
    "data/check.js" JAVASCRIPT,
    "data/complete.js" JAVASCRIPT,
    "data/keys.js" JAVASCRIPT,
    "data/lines.js" JAVASCRIPT,
    "data/request.js" JAVASCRIPT,
    "data/sql.js" JAVASCRIPT,
    "data/tail.js" JAVASCRIPT,
    "data/traces.js" JAVASCRIPT,
    "explore.css" CSS,
    "icon.svg" SVG,
    "logs.css" CSS,
    "pages.css" CSS,
    "pages/attribute-values.js" JAVASCRIPT,
    "pages/attributes.js" JAVASCRIPT,
    "pages/explore-heat.js" JAVASCRIPT,
    "pages/explore.js" JAVASCRIPT,
    "pages/log-context.js" JAVASCRIPT,
    "pages/log-detail.js" JAVASCRIPT,
    "pages/log-patterns.js" JAVASCRIPT,
    "pages/logs.js" JAVASCRIPT,
    "pages/missing.js" JAVASCRIPT,
    "pages/overview.js" JAVASCRIPT,
    "pages/sql.js" JAVASCRIPT,
    "pages/status.js" JAVASCRIPT,
    "pages/trace-diff.js" JAVASCRIPT,
    "pages/trace-keys.js" JAVASCRIPT,
    "pages/trace-minimap.js" JAVASCRIPT,
    "pages/trace-model.js" JAVASCRIPT,
    "pages/trace-read.js" JAVASCRIPT,
    "pages/trace-rows.js" JAVASCRIPT,
    "pages/trace-span.js" JAVASCRIPT,
    "pages/trace.js" JAVASCRIPT,
    "pages/traces.js" JAVASCRIPT,
    "parts/attribute-list.js" JAVASCRIPT,
    "parts/builder.js" JAVASCRIPT,
    "parts/colours.js" JAVASCRIPT,
    "parts/compare-with.js" JAVASCRIPT,
    "parts/copy.js" JAVASCRIPT,
    "parts/different.js" JAVASCRIPT,
    "parts/distribution.js" JAVASCRIPT,
    "parts/dom.js" JAVASCRIPT,
    "parts/empty.js" JAVASCRIPT,
    "parts/first-run.js" JAVASCRIPT,
    "parts/gone.js" JAVASCRIPT,
    "parts/group-table.js" JAVASCRIPT,
    "parts/heat-map.js" JAVASCRIPT,
    "parts/histogram.js" JAVASCRIPT,
    "parts/keys-dialog.js" JAVASCRIPT,
    "parts/lines.js" JAVASCRIPT,
    "parts/list.js" JAVASCRIPT,
    "parts/live.js" JAVASCRIPT,
    "parts/log-list.js" JAVASCRIPT,
    "parts/panel.js" JAVASCRIPT,
    "parts/pick.js" JAVASCRIPT,
    "parts/plot.js" JAVASCRIPT,
    "parts/range-picker.js" JAVASCRIPT,
    "parts/result-table.js" JAVASCRIPT,
    "parts/say.js" JAVASCRIPT,
    "parts/search-box.js" JAVASCRIPT,
    "parts/selection-bar.js" JAVASCRIPT,
    "parts/service-colour.js" JAVASCRIPT,
    "parts/sign-in.js" JAVASCRIPT,
    "parts/spark.js" JAVASCRIPT,
    "parts/sql-editor.js" JAVASCRIPT,
    "parts/statement-examples.js" JAVASCRIPT,
    "parts/statement-history.js" JAVASCRIPT,
    "parts/term-input.js" JAVASCRIPT,
    "parts/theme.js" JAVASCRIPT,
    "parts/trace-list.js" JAVASCRIPT,
    "parts/value-menu.js" JAVASCRIPT,
    "parts/virtual-rows.js" JAVASCRIPT,
    "parts/where-input.js" JAVASCRIPT,
    "state/address.js" JAVASCRIPT,
    "state/attribute-statements.js" JAVASCRIPT,
    "state/compare.js" JAVASCRIPT,
    "state/difference.js" JAVASCRIPT,
    "state/explore-statements.js" JAVASCRIPT,
    "state/explore.js" JAVASCRIPT,
    "state/figures.js" JAVASCRIPT,
    "state/heat.js" JAVASCRIPT,
    "state/ids.js" JAVASCRIPT,
    "state/live-statements.js" JAVASCRIPT,
    "state/live.js" JAVASCRIPT,
    "state/log-statements.js" JAVASCRIPT,
    "state/metrics.js" JAVASCRIPT,
    "state/range.js" JAVASCRIPT,
    "state/records.js" JAVASCRIPT,
    "state/selection.js" JAVASCRIPT,
    "state/statements.js" JAVASCRIPT,
    "state/text.js" JAVASCRIPT,
    "state/ticks.js" JAVASCRIPT,
    "state/time.js" JAVASCRIPT,
    "state/trace-diff.js" JAVASCRIPT,
    "state/units.js" JAVASCRIPT,
    "state/where.js" JAVASCRIPT,
    "theme-first.js" JAVASCRIPT,
];

/// The document of every page, with places for what differs.
const DOCUMENT: &str = include_str!("web/index.html");

/// Pages: the pattern of their addresses, and their module.
pub(super) const PAGES: &[(&str, &str)] = &[
    ("/", "pages/overview.js"),
    ("/explore", "pages/explore.js"),
    ("/traces", "pages/traces.js"),
    ("/trace/{id}", "pages/trace.js"),
    ("/trace/{id}/vs/{other}", "pages/trace-diff.js"),
    ("/logs", "pages/logs.js"),
    ("/sql", "pages/sql.js"),
    ("/attributes", "pages/attributes.js"),
    ("/status", "pages/status.js"),
];

/// Name of the folder: 12 hexadecimal digits of a hash of all files and the document.
pub(super) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut hasher = SipHasher13::new();
        for asset in ASSETS {
            hasher.write(asset.path.as_bytes());
            hasher.write(asset.bytes);
        }
        hasher.write(DOCUMENT.as_bytes());
        format!("{:012x}", hasher.finish128().h1 >> 16)
    })
}

/// The document of the page with this module: it names the modules that the page needs, so that a browser asks for
/// them all at once.
pub(super) fn document(module: &str) -> String {
    let version = version();
    let mut modules = BTreeSet::new();
    add_imports(&mut modules, "app.js");
    add_imports(&mut modules, module);
    let mut preloads = String::new();
    for path in modules {
        // Writing to a String cannot fail.
        let _ = writeln!(preloads, "<link rel=\"modulepreload\" href=\"/ui/{version}/{path}\">");
    }
    let mut styles = String::new();
    for asset in ASSETS.iter().filter(|asset| asset.media_type == CSS) {
        let _ = writeln!(styles, "<link rel=\"stylesheet\" href=\"/ui/{version}/{}\">", asset.path);
    }
    DOCUMENT.replace("STYLES\n", &styles).replace("PRELOADS\n", &preloads).replace("VERSION", version)
}

/// Adds a module and what it imports at once; what it imports when needed is not among it.
fn add_imports(modules: &mut BTreeSet<String>, path: &str) {
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else { return };
    if !modules.insert(path.to_owned()) {
        return;
    }
    let text = String::from_utf8_lossy(asset.bytes);
    for line in text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from ")) {
        if let Some(name) = line.split('"').nth(1) {
            add_imports(modules, &resolved(path, name));
        }
    }
}

/// The path that a module at `from` means by `./x.js` or `../x.js`.
fn resolved(from: &str, name: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A way to pack a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
}

impl Packing {
    /// The best that a client accepts; none where it accepts none.
    pub(super) fn accepted(accept_encoding: &str) -> Option<Self> {
        let accepts = |name: &str| {
            accept_encoding.split(',').any(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_named = parts.next().is_some_and(|encoding| encoding.eq_ignore_ascii_case(name));
                is_named
                    && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)))
            })
        };
        [Self::Zstd, Self::Gzip].into_iter().find(|packing| accepts(packing.name()))
    }

    /// Its name in `Content-Encoding`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn pack(self, bytes: &[u8]) -> Result<Vec<u8>> {
        let packed = match self {
            Self::Zstd => zstd::encode_all(bytes, 19),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
        };
        packed.map_err(|e| Error::internal("a file of the page cannot be packed").with_source(e))
    }
}

/// The packed files of one server; each is packed when it is first asked for.
#[derive(Debug)]
pub(in crate::server) struct PackedAssets(Vec<[OnceLock<Bytes>; 2]>);

impl Default for PackedAssets {
    fn default() -> Self {
        Self(ASSETS.iter().map(|_| Default::default()).collect())
    }
}

impl PackedAssets {
    /// The file at `index` of [`ASSETS`], packed. The first time takes as long as packing does.
    pub(super) fn get(&self, index: usize, packing: Packing) -> Result<Bytes> {
        let place = &self.0[index][packing as usize];
        if let Some(packed) = place.get() {
            return Ok(packed.clone());
        }
        let packed = packing.pack(ASSETS[index].bytes)?.into();
        Ok(place.get_or_init(|| packed).clone())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.extend(files(&path).iter().map(|file| format!("{name}/{file}")));
            } else {
                found.push(name);
            }
        }
        found
    }

    #[test]
    fn every_file_is_listed() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/ui/web");
        let mut there: Vec<String> = files(&web).into_iter().filter(|path| path != "index.html").collect();
        there.push("vendor/codemirror.js".to_owned());
        there.sort();
        let mut listed: Vec<&str> = ASSETS.iter().map(|asset| asset.path).collect();
        listed.sort_unstable();
        assert_eq!(there, listed);
    }

    #[test]
    fn files_are_small_enough() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.bytes.len()).sum();
        assert!(bytes <= 1_200_000, "{bytes} bytes of assets");
        let is_script = |path: &Path| path.extension().is_some_and(|extension| extension == "js");
        let ours = |path: &Path| is_script(path) && !path.starts_with("vendor");
        for asset in ASSETS.iter().filter(|asset| ours(Path::new(asset.path))) {
            let lines = asset.bytes.split(|b| *b == b'\n').count();
            assert!(lines <= 400, "{} has {lines} lines", asset.path);
        }
        let overview = document("pages/overview.js");
        let requests = overview.matches("/ui/").count();
        assert!(requests <= 44, "the overview asks for {requests} files");
    }

    #[test]
    fn a_document_preloads_what_its_page_imports() {
        let document = document("pages/sql.js");
        let version = version();
        assert_eq!(version.len(), 12);
        for path in ["app.js", "pages/sql.js", "parts/dom.js", "state/time.js"] {
            assert!(document.contains(&format!("\"modulepreload\" href=\"/ui/{version}/{path}\"")), "{path}");
        }
        for path in ["vendor/codemirror.js", "pages/logs.js"] {
            assert!(!document.contains(path), "{path}");
        }
        for placeholder in ["STYLES", "PRELOADS", "VERSION"] {
            assert!(!document.contains(placeholder), "{placeholder}");
        }
    }

    #[test]
    fn modules_import_files_that_exist_and_state_has_no_document() {
        for asset in ASSETS.iter().filter(|a| a.media_type == JAVASCRIPT && !a.path.starts_with("vendor")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for name in text.split("from \"").skip(1).chain(text.split("import(\"").skip(1)) {
                let name = name.split('"').next().unwrap();
                let path = resolved(asset.path, name);
                assert!(ASSETS.iter().any(|other| other.path == path), "{} imports {name}", asset.path);
            }
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(forbidden), "{} has {forbidden}", asset.path);
            }
            let is_pure = !asset.path.starts_with("state/");
            assert!(is_pure || !text.contains("document."), "{} touches the document", asset.path);
        }
    }

    #[test]
    fn a_packing_is_what_the_client_accepts() {
        assert_eq!(Packing::accepted("gzip, deflate, br, zstd"), Some(Packing::Zstd));
        assert_eq!(Packing::accepted("GZIP;q=0.5, zstd;q=0"), Some(Packing::Gzip));
        assert_eq!(Packing::accepted("br"), None);
        assert_eq!(Packing::accepted(""), None);
        let assets = PackedAssets::default();
        let gzip = assets.get(0, Packing::Gzip).unwrap();
        let mut back = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut back).unwrap();
        assert_eq!(back, ASSETS[0].bytes);
        assert_eq!(zstd::decode_all(&assets.get(0, Packing::Zstd).unwrap()[..]).unwrap(), ASSETS[0].bytes);
    }
}

//! Feeds one of the decoders in `src/hostile`, the one that `BROADLOOM_DECODER` names, with whatever libFuzzer comes
//! up with. How to run it is in `docs/design/hostile-bytes.md`.

#![no_main]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use broadloom::hostile::{DECODERS, Decoder};
use libfuzzer_sys::fuzz_target;

static DECODER: OnceLock<&Decoder> = OnceLock::new();

fn decoder() -> &'static Decoder {
    let name = std::env::var("BROADLOOM_DECODER").unwrap_or_default();
    Decoder::named(&name).unwrap_or_else(|| {
        let names: Vec<_> = DECODERS.iter().map(|decoder| decoder.name).collect();
        eprintln!("BROADLOOM_DECODER is one of {}", names.join(", "));
        std::process::exit(2);
    })
}

fuzz_target!(
    init: {
        // libFuzzer's wrapper ends the process at once at a panic. Those of other people's decoders are caught
        // and become errors; they shall not be noise either.
        let _ = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        DECODER.get_or_init(decoder);
    },
    |bytes: &[u8]| {
        let decoder = DECODER.get_or_init(decoder);
        let mut failed = None;
        let memory = allocation_counter::measure(|| {
            failed = catch_unwind(AssertUnwindSafe(|| (decoder.run)(bytes))).err();
        });
        if let Some(payload) = failed {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("?");
            eprintln!("{} panicked: {text}", decoder.name);
            std::process::abort();
        }
        let max = decoder.memory_max(bytes.len()) as u64;
        if memory.bytes_max > max {
            eprintln!("{} took {} bytes, at most {max}", decoder.name, memory.bytes_max);
            std::process::abort();
        }
    }
);

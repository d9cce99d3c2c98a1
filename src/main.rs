//! The `broadloom` program; its code is in the library, module `cli`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    broadloom::cli::main()
}

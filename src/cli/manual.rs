//! `broadloom completions` and `broadloom man`: what shells and `man` need, from the definitions of the options.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{Error, Result};

const COMPLETIONS_HELP: &str = "\
Examples:
  broadloom completions bash > /etc/bash_completion.d/broadloom
  broadloom completions zsh > ~/.zfunc/_broadloom            with fpath+=~/.zfunc before compinit
  broadloom completions fish > ~/.config/fish/completions/broadloom.fish";

const MAN_HELP: &str = "\
Examples:
  broadloom man ~/.local/share/man/man1       a page for each command: man broadloom-serve
  broadloom man | man -l -                    the main page";

/// Arguments of `broadloom completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(super) struct CompletionsArgs {
    /// Shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `broadloom man`.
#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub(super) struct ManArgs {
    /// Directory for a page of each command, created if it does not exist; without it the main page is printed
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Runs `broadloom completions`.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "broadloom", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Runs `broadloom man`.
pub(super) fn man(args: &ManArgs, command: Command) -> Result<()> {
    let Some(directory) = &args.directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return Ok(std::io::stdout().write_all(&page)?);
    };
    let wrong = |e: std::io::Error| {
        Error::from(e).context(format!("cannot write manual pages to {}", directory.display()))
    };
    std::fs::create_dir_all(directory).map_err(wrong)?;
    clap_mangen::generate_to(command, directory).map_err(wrong)
}

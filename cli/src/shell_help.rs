//! `statshub completions` and `statshub man`: what shells and `man` know of the program, generated
//! from its command line.

use std::{io, path::PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Which shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  statshub completions bash > ~/.local/share/bash-completion/completions/statshub
  statshub completions zsh > ~/.zfunc/_statshub
  statshub completions fish > ~/.config/fish/completions/statshub.fish")]
pub struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

/// Where to write the pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  statshub man | man -l -
  statshub man --to ~/.local/share/man/man1")]
pub struct ManOptions {
    /// A folder for the pages of all commands, instead of standard output for that of the program
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Prints the completions of a shell.
///
/// # Errors
/// They can't be written.
pub fn print_completions(options: &CompletionsOptions, mut program: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut program, "statshub", &mut script);
    Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?)
}

/// Prints the page of the program, or writes those of all commands to a folder.
///
/// # Errors
/// They can't be written.
pub fn write_man_pages(options: &ManOptions, program: Command) -> anyhow::Result<()> {
    let Some(folder) = &options.to else {
        return Ok(Man::new(program).render(&mut io::stdout().lock())?);
    };
    let context = || format!("the pages can't be written to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(program, folder).with_context(context)
}

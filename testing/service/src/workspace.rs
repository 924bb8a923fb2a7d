//! Where things are, and how to run a command to its end.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, bail};

/// The folder of the workspace that this command was started in.
#[must_use]
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = env::current_dir().unwrap_or_default();
        root_of(env::var_os("CARGO_MANIFEST_DIR"), &here)
    })
}

/// The workspace of a `package`, which cargo names when it runs this command; without one, the
/// workspace around `here`. Never a folder that was compiled in: in a copied checkout that would be
/// the original, and `--fresh` would delete its data.
fn root_of(package: Option<OsString>, here: &Path) -> PathBuf {
    let start = package.map_or_else(|| here.to_owned(), PathBuf::from);
    let workspace = start.ancestors().find(|folder| folder.join("template.yaml").exists());
    workspace.unwrap_or(here).to_owned()
}

/// A path below the build folder. Whatever a command makes belongs there.
#[must_use]
pub fn target(path: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(path)
}

/// The cargo that runs this command.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Reports what is going on, on the standard error output.
pub fn say(what: &str) {
    eprintln!("xtask: {what}");
}

/// Runs a command to its end.
///
/// # Errors
/// It can't be started, or does not succeed.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("{shown} can't be started"))?;
    if !status.success() {
        bail!("{shown} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn in_a_copied_checkout_the_root_is_the_copy() {
        let copy = env::temp_dir().join(format!("statshub-copy-{}", std::process::id()));
        fs::create_dir_all(copy.join("xtask")).unwrap();
        fs::create_dir_all(copy.join("docs")).unwrap();
        fs::write(copy.join("template.yaml"), "").unwrap();
        let elsewhere = env::temp_dir();
        assert_eq!(root_of(Some(copy.join("xtask").into()), &elsewhere), copy);
        assert_eq!(root_of(None, &copy.join("docs")), copy);
        assert_eq!(root_of(None, &elsewhere), elsewhere);
        fs::remove_dir_all(copy).unwrap();
    }
}

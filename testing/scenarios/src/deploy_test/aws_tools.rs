//! AWS's own tools and an emulator of AWS, installed below `target/tools` at pinned versions.

use std::path::PathBuf;

use service::{
    tools::{install, install_python_packages},
    workspace::target,
};

const BOTO3_VERSION: &str = "1.43.106";
const MINISTACK_VERSION: &str = "1.5.33";
const SAM_CLI_VERSION: &str = "1.170.0";
/// MiniStack and SAM read templates with the same version.
const SAM_TRANSLATOR_VERSION: &str = "1.115.0";
/// MiniStack checks signatures with it.
const CRYPTOGRAPHY_VERSION: &str = "50.0.2";

/// The `sam` binary, of AWS SAM.
pub fn sam() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/aws-sam-cli-{SAM_CLI_VERSION}"));
    install(&folder, |folder| {
        let translator = format!("aws-sam-translator=={SAM_TRANSLATOR_VERSION}");
        install_python_packages(folder, &[&format!("aws-sam-cli=={SAM_CLI_VERSION}"), &translator])
    })?;
    Ok(folder.join("bin/sam"))
}

/// The folder with MiniStack, an emulator of AWS, and with boto3: a virtual environment.
pub fn ministack() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/ministack-{MINISTACK_VERSION}"));
    install(&folder, |folder| {
        let packages = [
            format!("ministack=={MINISTACK_VERSION}"),
            format!("aws-sam-translator=={SAM_TRANSLATOR_VERSION}"),
            format!("boto3=={BOTO3_VERSION}"),
            format!("cryptography=={CRYPTOGRAPHY_VERSION}"),
        ];
        install_python_packages(folder, &packages.each_ref().map(String::as_str))
    })?;
    Ok(folder)
}

//! AWS's own tools and an emulator of AWS, installed below `target/tools` at pinned versions.

use std::path::PathBuf;

use service::tools::install_python_program;

/// The `sam` binary, of AWS SAM.
pub fn sam() -> anyhow::Result<PathBuf> {
    Ok(install_python_program("sam", "aws-sam-cli")?.join("bin/sam"))
}

/// The `aws` binary, of the AWS CLI.
pub fn aws_cli() -> anyhow::Result<PathBuf> {
    Ok(install_python_program("awscli", "awscli")?.join("bin/aws"))
}

/// The folder with MiniStack, an emulator of AWS, and with boto3: a virtual environment. It reads
/// templates with the same version of `aws-sam-translator` as SAM.
pub fn ministack() -> anyhow::Result<PathBuf> {
    install_python_program("ministack", "ministack")
}

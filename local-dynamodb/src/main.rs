//! `local-dynamodb serve` runs a DynamoDB; `local-dynamodb create-table` creates statshub's table.

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
#[command(about)]
enum Command {
    /// Run a DynamoDB that keeps its data in a file
    Serve {
        /// The file of the data
        #[arg(long)]
        file: PathBuf,
        /// The port, on the loopback interface
        #[arg(long)]
        port: u16,
    },
    /// Create the table, unless it exists, in the DynamoDB that the AWS variables name
    CreateTable {
        /// The table's name
        #[arg(long, env = "TABLE_NAME", default_value = shared::config::DEFAULT_TABLE_NAME)]
        name: String,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Serve { file, port } => local_dynamodb::serve_file(&file, port).await,
        Command::CreateTable { name } => {
            let config = aws_config::load_from_env().await;
            let client = aws_sdk_dynamodb::Client::new(&config);
            local_dynamodb::create_table(&client, &name).await
        }
    }
}

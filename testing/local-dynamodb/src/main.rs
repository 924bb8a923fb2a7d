//! `local-dynamodb serve` runs a DynamoDB; `create-table` creates statshub's table in any DynamoDB.

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
    /// Create the table, unless it exists, in the DynamoDB that AWS's variables name
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
        Command::CreateTable { name } => local_dynamodb::create_table(&client().await, &name).await,
    }
}

async fn client() -> aws_sdk_dynamodb::Client {
    let config = aws_config::from_env().http_client(shared::store::https_client());
    aws_sdk_dynamodb::Client::new(&config.load().await)
}

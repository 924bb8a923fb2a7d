//! What is measured on a store in this process: `contention`, `many-keys`, `large-query`,
//! `large-audit` and `large-deletion`.

use bench::{
    benchmarks, beside_redis, cold_start, contention, instructions, large_audit, large_deletion,
    large_query, many_keys,
};
use clap::Parser;

#[derive(Parser)]
enum Command {
    /// Measure all that docs/benchmarks.md has, and write it
    All(benchmarks::BenchmarkOptions),
    /// Measure how functions start, with TLS between them and DynamoDB
    ColdStart(cold_start::ColdStartOptions),
    /// Measure calls beside those of services on Redis
    BesideRedis(beside_redis::BesideRedisOptions),
    /// Serve the stats of a Redis: a process of `beside-redis`
    #[command(hide = true)]
    RedisFunction(beside_redis::redis_function::RedisFunctionOptions),
    /// Run a DynamoDB in memory: a process of `beside-redis`
    #[command(hide = true)]
    Dynamodb {
        /// The port, on the loopback interface
        #[arg(long)]
        port: u16,
    },
    /// Count the instructions of functions by callgrind
    Instructions(instructions::InstructionsOptions),
    /// Measure many writers on one dimension, with cells and with one cell
    Contention(contention::ContentionOptions),
    /// Measure what an update costs among many keys, and under a single one
    ManyKeys(many_keys::ManyKeysOptions),
    /// Measure questions about a dimension of many keys
    LargeQuery(large_query::LargeQueryOptions),
    /// Delete stats of many rollups beside updates
    LargeDeletion(large_deletion::LargeDeletionOptions),
    /// Ask a question, and report what it took: a process of `large-query`
    #[command(hide = true)]
    OneQuery(large_query::OneQueryOptions),
    /// Measure an audit and an export of many keys
    LargeAudit(large_audit::LargeAuditOptions),
    /// Audit or export, and report what it took: a process of `large-audit`
    #[command(hide = true)]
    OneAudit(large_audit::OneAuditOptions),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::All(options) => benchmarks::run_all(&options).await,
        Command::ColdStart(options) => {
            for ratio in cold_start::measure(&options).await? {
                println!("{ratio}");
            }
            Ok(())
        }
        Command::BesideRedis(options) => beside_redis::run(&options).await,
        Command::RedisFunction(options) => beside_redis::redis_function::run(&options),
        Command::Dynamodb { port } => local_dynamodb::serve_in_memory(port).await,
        Command::Instructions(options) => {
            println!("{}", instructions::count(&options.functions).await?.markdown());
            Ok(())
        }
        Command::Contention(options) => contention::run(&options).await,
        Command::ManyKeys(options) => many_keys::run(&options).await,
        Command::LargeQuery(options) => large_query::run_all(&options).await,
        Command::LargeDeletion(options) => large_deletion::run(&options).await.map(drop),
        Command::OneQuery(options) => large_query::run_one(&options).await,
        Command::LargeAudit(options) => large_audit::run_all(&options).await,
        Command::OneAudit(options) => large_audit::run_one(&options).await,
    }
}

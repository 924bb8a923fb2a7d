//! Ports to listen on.

use std::net::TcpListener;

use anyhow::Context;

/// Makes sure that something can listen on a port, which the operator chooses by an option.
///
/// # Errors
/// The port is taken; the message names the option.
pub fn require_free_port(address: &str, port: u16, option: &str) -> anyhow::Result<()> {
    TcpListener::bind((address, port))
        .map(drop)
        .with_context(|| format!("port {port} is not free; choose another with {option}"))
}

/// A port of the loopback interface that was free a moment ago.
///
/// # Errors
/// No port is left.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}

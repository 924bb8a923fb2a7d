//! The IPv6 loopback address, for those who take it for `localhost`: `cargo lambda invoke` does.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream},
    thread,
};

/// Passes on what comes to `[::1]` to the same port of `127.0.0.1`, as long as this process lives. Without
/// IPv6 there is nothing to pass on.
pub fn start(port: u16) {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)) else {
        return;
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // What can't be passed on is closed, which the client sees.
            let _ = pass_on(client, port);
        }
    });
}

fn pass_on(client: TcpStream, port: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (from_client, to_client) = (client.try_clone()?, client);
    let (from_server, to_server) = (server.try_clone()?, server);
    thread::spawn(move || copy(from_client, to_server));
    thread::spawn(move || copy(from_server, to_client));
    Ok(())
}

/// Copies until the one end is closed, and then closes the other.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::http::free_port;

    #[test]
    fn what_comes_by_ipv6_is_answered_by_ipv4() {
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            return;
        }
        let port = free_port().unwrap();
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        start(port);
        let answering = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut question = String::new();
            stream.read_to_string(&mut question).unwrap();
            stream.write_all(format!("{question}!").as_bytes()).unwrap();
        });
        let mut client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "hello!");
        answering.join().unwrap();
    }
}

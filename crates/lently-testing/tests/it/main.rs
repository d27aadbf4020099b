//! The helpers are tested where a wrong one would make other tests pass for nothing.

use std::{io::ErrorKind, time::Duration};

use lently_testing::{Proxy, RedisOptions, RedisServer, Wire, wait_until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const BOUND: Duration = Duration::from_secs(20);

async fn ping(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

#[tokio::test]
async fn a_server_dies_comes_back_with_its_data_and_can_be_replaced_by_an_empty_one() {
    let mut server =
        RedisServer::start_with(RedisOptions { persistent: true, ..RedisOptions::default() }).await;
    server.put("k", b"line one\nline two", 60);
    assert_eq!(server.bytes_of("k"), b"line one\nline two");
    server.kill();
    assert_eq!(server.cli(&["PING"]), "");
    server.restart().await;
    assert_eq!(server.cli(&["EXISTS", "k"]), "1");
    server.replace_by_empty().await;
    assert_eq!(server.cli(&["EXISTS", "k"]), "0");
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let server = RedisServer::start().await;
    let address = server.address();
    drop(server);
    assert_eq!(TcpStream::connect(address).await.expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_server_can_ask_for_a_password_and_for_tls() {
    let options = RedisOptions { password: Some("open".to_owned()), tls: true, ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await;
    assert_eq!(server.cli(&["PING"]), "PONG");
    assert!(server.ca_file().is_file());
}

#[tokio::test]
async fn a_stopped_server_keeps_its_connections_and_answers_when_it_goes_on() {
    let server = RedisServer::start().await;
    let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
    assert_eq!(ping(&mut stream).await.expect("an answer"), "+PONG");
    server.stop();
    assert!(timeout(Duration::from_millis(200), ping(&mut stream)).await.is_err());
    server.cont();
    let mut answer = [0; 7];
    timeout(BOUND, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"+PONG\r\n");
}

#[tokio::test]
async fn the_wire_can_be_stalled_cut_and_mended() {
    let server = RedisServer::start().await;
    let proxy = Proxy::to(server.address()).await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("a connection");
    assert_eq!(ping(&mut stream).await.expect("an answer"), "+PONG");
    proxy.set(Wire::Slow(Duration::from_millis(1)));
    assert_eq!(ping(&mut stream).await.expect("an answer"), "+PONG");
    proxy.set(Wire::Stalled);
    assert!(timeout(Duration::from_millis(200), ping(&mut stream)).await.is_err());
    proxy.set(Wire::Cut);
    let mut rest = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut rest)).await.expect("closed").ok();
    proxy.set(Wire::Whole);
    wait_until("the wire is whole again", BOUND, async || match TcpStream::connect(proxy.address()).await {
        Ok(mut stream) => ping(&mut stream).await.is_ok_and(|answer| answer == "+PONG"),
        Err(_) => false,
    })
    .await;
}

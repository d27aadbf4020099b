//! What the simulated server does that no real one can be asked for.

use super::{ConnectionId, Server};

const NOW: u64 = 1_700_000_000_000;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn do_it(server: &mut Server, command: &str) -> String {
    let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    text(server.execute(&words, NOW))
}

fn outgoing(server: &mut Server) -> Vec<(ConnectionId, Option<String>)> {
    server.outgoing().into_iter().map(|(to, bytes)| (to, bytes.map(text))).collect()
}

#[test]
fn a_restart_closes_everybody_and_keeps_the_keys_where_it_is_to() {
    let mut server = Server::new(1);
    let client = server.open();
    server.receive(client, b"CLIENT TRACKING ON BCAST\r\nSET a 1 PX 10\r\nSET b 2\r\nSE", NOW);
    assert_eq!(outgoing(&mut server), [(client, Some("+OK\r\n+OK\r\n+OK\r\n".to_owned()))]);
    let first = do_it(&mut server, "INFO server");
    server.restart(2, true);
    assert_eq!(outgoing(&mut server), [(client, None)]);
    assert_ne!(do_it(&mut server, "INFO server"), first);
    assert_eq!(server.value(b"a", NOW + 10), Some(&b"1"[..]), "in its last millisecond");
    assert_eq!(server.value(b"a", NOW + 11), None);
    let other = server.open();
    assert_ne!(other, client);
    server.receive(client, b"T c 3\r\n", NOW);
    server.receive(other, b"GET b\r\n", NOW);
    assert_eq!(outgoing(&mut server), [(other, Some("$1\r\n2\r\n".to_owned()))]);
    server.restart(3, false);
    assert_eq!(do_it(&mut server, "DBSIZE"), ":0\r\n");
}

#[test]
fn nothing_is_said_to_whom_is_gone() {
    let mut server = Server::new(1);
    let (client, other) = (server.open(), server.open());
    server.receive(client, b"HELLO 3\r\nCLIENT TRACKING ON BCAST\r\n", NOW);
    server.close(client);
    server.receive(other, b"SET a 1\r\n", NOW);
    assert_eq!(outgoing(&mut server), [(other, Some("+OK\r\n".to_owned()))]);
}

#[test]
fn a_walk_meets_every_key_that_stays_though_others_go() {
    let mut server = Server::new(1);
    for number in 0..25 {
        do_it(&mut server, &format!("SET key:{number:02} 1"));
    }
    let (mut cursor, mut met) = ("0".to_owned(), Vec::new());
    loop {
        let page = do_it(&mut server, &format!("SCAN {cursor} MATCH key:* COUNT 10"));
        let words: Vec<&str> = page.split("\r\n").collect();
        cursor = words[2].to_owned();
        for key in words.iter().filter(|word| word.starts_with("key:")) {
            met.push((*key).to_owned());
            do_it(&mut server, &format!("UNLINK {key}"));
        }
        if cursor == "0" {
            break;
        }
        do_it(&mut server, "SET key:00 1");
    }
    met.sort();
    assert_eq!(met, (0..25).map(|number| format!("key:{number:02}")).collect::<Vec<_>>());
}

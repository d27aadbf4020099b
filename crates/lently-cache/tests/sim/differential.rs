//! The simulated server beside a real one: the same goes to both, and both must say the same, byte for byte.

mod both;
mod frames;
mod sequence;
mod streams;

use lently_cache::{RedisConfig, RemoteConfig, Transport, conformance};

use self::{
    both::{Both, encode},
    sequence::{PREFIX, Sequence},
};
use crate::server::ConnectionId;

/// All that the cache promises, and so all it says to Redis, with several nodes at a time.
#[tokio::test]
async fn the_cache_meets_no_difference() {
    let Some(both) = Both::start().await else { return };
    let (servers, open) = streams::open(both);
    let config = RedisConfig { transport: Transport::Streams(open), ..RedisConfig::default() };
    let report = conformance::run(&RemoteConfig::Redis(config), "lently-test:").await;
    let shared = streams::lock(&servers);
    assert_eq!(shared.difference, None);
    report.assert_kept();
    assert_eq!(report.not_made, Vec::<String>::new());
    assert!(shared.both.answered > 500, "only {} commands were compared", shared.both.answered);
}

/// A node as the cache is one, one that hears of its own changes too, and two that hear of nothing.
struct Clients([ConnectionId; 4]);

impl Clients {
    fn of(both: &mut Both) -> Result<Self, String> {
        let clients = std::array::from_fn(|_| both.open());
        for (client, greeting) in clients.iter().zip([
            format!("HELLO 3\r\nCLIENT TRACKING ON BCAST NOLOOP PREFIX {PREFIX}\r\n"),
            format!("HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX u: PREFIX {PREFIX}1 PREFIX {PREFIX}~\r\n"),
            "HELLO 3\r\n".to_owned(),
            "CLIENT TRACKING ON BCAST\r\n".to_owned(),
        ]) {
            both.send(*client, greeting.as_bytes())?;
        }
        Ok(Self(clients))
    }
}

async fn a_sequence(seed: u64, turns: usize) -> Result<(), String> {
    let Some(mut both) = Both::start().await else { return Ok(()) };
    let mut sequence = Sequence::of(seed);
    let mut clients = Clients::of(&mut both)?;
    for _ in 0..turns {
        match sequence.number(100) {
            0 => both.refuse_writes(true),
            1..=3 => both.refuse_writes(false),
            4 => {
                let new = Clients::of(&mut both)?;
                clients.0.into_iter().for_each(|client| both.close(client));
                clients = new;
            }
            5 => both.expire().await?,
            6..=10 => {
                let command = sequence.command();
                let words: Vec<&[u8]> = command.iter().map(String::as_bytes).collect();
                both.execute(&words)?;
            }
            _ => {
                let client = clients.0[sequence.number(clients.0.len())];
                let mut bytes = Vec::new();
                for _ in 0..=sequence.number(4) {
                    let command = sequence.command();
                    bytes.extend(encode(&command.iter().map(String::as_bytes).collect::<Vec<_>>()));
                }
                // Sometimes in two pieces.
                let (first, second) = bytes.split_at(sequence.number(3 * bytes.len()).min(bytes.len()));
                if !second.is_empty() {
                    both.begin_to_send(client, first)?;
                }
                both.send(client, if second.is_empty() { first } else { second })?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn any_sequence_of_commands_is_answered_alike() {
    for seed in 0..8 {
        if let Err(difference) = a_sequence(seed, 1000).await {
            panic!("seed {seed}: {difference}");
        }
    }
}

#[tokio::test]
async fn whatever_is_no_command_is_answered_alike() {
    let Some(mut both) = Both::start().await else { return };
    let all: &[&[u8]] = &[
        b"*x\r\n",
        b"*1\r\n+x\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$536870913\r\n",
        b"*99999999999\r\n",
        b"nonsense yes\r\n",
        b"\r\nPING\r\n",
        b"*0\r\n*-1\r\nPING\r\n",
        b"*1\r\n$4\r\nPINGxxPING\n",
        b"\"x\r\n",
        b"*2\r\n$4\r\nPING\r\n$3\r\na\r\nb\r\n",
        b"QUIT\r\nPING\r\n",
        &[b'x'; 70_000],
        &[b'*'; 70_000],
    ];
    for garbage in all {
        let client = both.open();
        both.send(client, &[b"PING\r\n", *garbage].concat()).expect("no difference");
    }
}

//! What the cache stands before: `GET /KEY` at the counting upstream.

use std::fmt;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Clone, Copy, Debug)]
pub struct Upstream {
    port: u16,
}

/// The upstream said no, or could not be asked.
#[derive(Clone, Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "upstream: {}", self.0)
    }
}

impl std::error::Error for Refused {}

impl Upstream {
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    /// One call. Dropping it ends it here; the upstream has counted it.
    pub async fn fetch(self, key: &str) -> Result<String, Refused> {
        let asking = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let request = format!("GET /{key} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = asking.await.map_err(|error| Refused(error.to_string()))?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| Refused("no answer".to_owned()))?;
        if head.starts_with("HTTP/1.1 200") {
            return Ok(body.to_owned());
        }
        Err(Refused(head.lines().next().unwrap_or_default().to_owned()))
    }
}

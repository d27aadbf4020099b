//! What an entry takes beside its own key and value.

use bytes::Bytes;

use super::{BenchError, Measured, PREFIX, node, open, policy, server::Server, value};
use crate::{policy::Cost, service::RemoteConfig};

/// So many entries that what the process takes for itself does not count.
const IN_MEMORY: usize = 100_000;
const IN_REDIS: usize = 10_000;

fn key(n: usize) -> String {
    format!("thing:{n:07}:max_100:order_relevance")
}

/// By the memory of the whole process, where the system tells it as Linux does.
pub(super) async fn in_memory() -> Result<Vec<Measured>, BenchError> {
    let Some(before) = resident_bytes() else { return Ok(Vec::new()) };
    let (cache, content) = (open(RemoteConfig::None, 1 << 30).await?, value(900));
    for n in 0..IN_MEMORY {
        // As a fetch brings it: bytes of its own.
        let value = Bytes::copy_from_slice(&content);
        cache.set(&key(n), &policy(), value, Cost::default()).await?;
    }
    let Some(after) = resident_bytes() else { return Ok(Vec::new()) };
    let ours = after.saturating_sub(before) as f64 / IN_MEMORY as f64;
    let raw = (key(0).len() + content.len()) as f64;
    Ok(vec![Measured::beside("an entry of 900 bytes in memory", "its key and value", "B", &[ours], &[raw])])
}

pub(super) async fn in_redis(server: &Server) -> Result<Vec<Measured>, BenchError> {
    let (cache, mut lines) = (node(server, 0).await?, Vec::new());
    let mut connection = server.connection().await?;
    for bytes in [900, 20_000] {
        let content = value(bytes);
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        let empty = server.used_bytes().await?;
        for n in 0..IN_REDIS {
            cache.set(&key(n), &policy(), content.clone(), Cost::default()).await?;
        }
        let ours = (server.used_bytes().await? - empty) as f64 / IN_REDIS as f64;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        let empty = server.used_bytes().await?;
        for n in 0..IN_REDIS {
            let mut set = redis::cmd("SET");
            set.arg(format!("{PREFIX}{}", key(n))).arg(content.as_ref()).arg("PX").arg(3_600_000);
            set.exec_async(&mut connection).await?;
        }
        let bare = (server.used_bytes().await? - empty) as f64 / IN_REDIS as f64;
        let raw = (PREFIX.len() + key(0).len() + content.len()) as f64;
        let what = format!("an entry of {bytes} bytes in Redis");
        lines.push(Measured::beside(what.as_str(), "its key and value", "B", &[ours], &[raw]));
        lines.push(Measured::beside(what, "a bare SET of the same", "B", &[ours], &[bare]));
    }
    redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
    Ok(lines)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let told = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(told.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

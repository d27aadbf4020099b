//! A walk over our keys that match, on every primary, a batch at a time.

use std::sync::Arc;

use super::{
    RedisClient, Servers, lease,
    link::Lane,
    node::{Node, Request},
};
use crate::{error::CacheError, pattern::Pattern};

/// Keys asked for in one `SCAN` step, where as many are then to be deleted at once: that takes Redis some 2 µs each, and tells every
/// node that listens. A quarter of a millisecond leaves room for a machine many times slower.
const SCAN_COUNT: usize = 100;
/// The same where few of those looked at are told, and nothing is deleted.
const SCAN_LEASES_COUNT: usize = 500;
/// A key that moves from a server that is yet to be walked over to one that was is missed. While slots move, the walk is begun again,
/// so often at most: a key moves once, as a rule.
const PASSES: usize = 3;

pub(super) struct Walk<'a> {
    client: &'a RedisClient,
    glob: String,
    leases: bool,
    passes: usize,
    /// The layout at the beginning of this pass, and whether slots were moving then.
    began: (u64, bool),
    nodes: Vec<Arc<Node>>,
    cursor: u64,
    /// A primary that cannot be asked does not keep the walk from the others; it is told at the end.
    failed: Option<CacheError>,
}

impl<'a> Walk<'a> {
    /// Over values.
    pub(super) fn new(client: &'a RedisClient, pattern: &Pattern) -> Self {
        Self::over(client, format!("{}{pattern}", Pattern::escape(client.prefix())), false)
    }

    /// Over leases.
    pub(super) fn over_leases(client: &'a RedisClient, glob: String) -> Self {
        Self::over(client, glob, true)
    }

    fn over(client: &'a RedisClient, glob: String, leases: bool) -> Self {
        let (nodes, began) = (Vec::new(), (0, false));
        Self { client, glob, leases, passes: 0, began, nodes, cursor: 0, failed: None }
    }

    /// The next batch of full keys, perhaps empty, and who has them; `None` at the end. A key may be told twice.
    pub(super) async fn next(&mut self) -> Result<Option<(Arc<Node>, Vec<String>)>, CacheError> {
        loop {
            let Some(node) = self.nodes.last().cloned() else {
                if self.begin_a_pass().await {
                    continue;
                }
                return self.failed.take().map_or(Ok(None), Err);
            };
            let count = if self.leases { SCAN_LEASES_COUNT } else { SCAN_COUNT };
            let mut command = redis::cmd("SCAN");
            command.arg(self.cursor).arg("MATCH").arg(&self.glob).arg("COUNT").arg(count);
            let answer = node.send(Lane::Any, Request::One(&command)).await;
            let (next, keys): (u64, Vec<Vec<u8>>) = match answer {
                Ok(answer) => answer,
                Err(refused) => {
                    self.failed.get_or_insert(refused.into());
                    (0, Vec::new())
                }
            };
            self.cursor = next;
            if next == 0 {
                self.nodes.pop();
            }
            // A key of ours is text; whatever is not is someone else's.
            let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
            return Ok(Some((node, keys.filter(|key| self.wants(key)).collect())));
        }
    }

    /// False if what was walked over is all there is.
    async fn begin_a_pass(&mut self) -> bool {
        let now = match &self.client.0.servers {
            Servers::One(_) => (0, false),
            Servers::Cluster(cluster) => {
                let moving = cluster.look().await;
                (cluster.version(), moving)
            }
        };
        let in_peace = now == self.began && !now.1;
        if self.passes > 0 && (in_peace || self.passes == PASSES || self.failed.is_some()) {
            return false;
        }
        self.passes += 1;
        self.began = now;
        self.nodes = self.client.nodes();
        if self.nodes.is_empty() {
            let reason = "no primary of the cluster is known".to_owned();
            self.failed = Some(CacheError::Resting { reason });
        }
        !self.nodes.is_empty()
    }

    fn wants(&self, key: &str) -> bool {
        let inner = &self.client.0;
        let Some(bare) = key.strip_prefix(inner.prefix.as_str()) else { return false };
        if self.leases || lease::is_internal(bare) {
            return self.leases && lease::is_internal(bare);
        }
        !inner.prefix.is_empty() || inner.words.iter().any(|word| bare.starts_with(word.as_str()))
    }
}

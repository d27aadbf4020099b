//! Many keys in one go: one round trip for each server that has some of them.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use redis::RedisResult;

use super::{RedisClient, link::Lane, node::Node, reads};
use crate::error::CacheError;

impl RedisClient {
    /// The values of many keys, in their order: of each what [`get`](Self::get) would answer.
    ///
    /// Not `MGET`: that says nothing of a key that holds something else than a string, names keys of one slot only where the
    /// server is one of a cluster, and is a right more for the user to have.
    pub(crate) async fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Bytes>, CacheError>> {
        let mut servers: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            // A key that nobody is known to have is asked for by itself, and told why there is no answer.
            let Some(node) = self.node_of(key) else { continue };
            match servers.iter_mut().find(|(server, _)| Arc::ptr_eq(server, &node)) {
                Some((_, places)) => places.push(place),
                None => servers.push((node, vec![place])),
            }
        }
        let mut values: Vec<Option<Result<Option<Bytes>, CacheError>>> = vec![None; keys.len()];
        let asked =
            servers.iter().map(|(node, places)| self.get_from(node, places.iter().map(|&at| keys[at])));
        for ((_, places), answers) in servers.iter().zip(join_all(asked).await) {
            match answers {
                Ok(answers) => {
                    for (&place, answer) in places.iter().zip(answers) {
                        values[place] = answer.ok().map(|value| Ok(value.map(Bytes::from)));
                    }
                }
                Err(error) => places.iter().for_each(|&place| values[place] = Some(Err(error.clone()))),
            }
        }
        // What was answered with an error is asked again by itself: the error is then sorted, or followed to another server.
        join_all(values.into_iter().zip(keys).map(|(value, key)| async move {
            match value {
                Some(value) => value,
                None => self.get(key).await,
            }
        }))
        .await
    }

    async fn get_from(
        &self,
        node: &Node,
        keys: impl Iterator<Item = &str>,
    ) -> Result<Vec<RedisResult<Option<Vec<u8>>>>, CacheError> {
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for key in keys {
            pipe.add_command(reads::get(&self.full(key)));
        }
        Ok(node.send(Lane::Any, (&pipe).into()).await?)
    }
}

//! Asking Sentinels which server is the primary. What they say is a hint: whoever connects looks at the server's role itself.
//!
//! A primary that was replaced and comes back thinks itself one for some ten seconds, until a Sentinel tells it. So the role
//! alone does not tell it from the right one, and neither does a Sentinel that was not told of the failover: the latest that
//! any of them ever said is kept.

use std::{
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use redis::{
    AsyncConnectionConfig, FromRedisValue, RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    SentinelConfig,
    dial::{Address, Dialer},
};

/// So long it is waited for a Sentinel. All are asked at once, so that one that hangs costs this and no more. A connection that
/// takes longer, over TLS from far away, is not given up: it goes on with the next question.
const ANSWERS_WITHIN: Duration = Duration::from_millis(250);

/// The Sentinels of a service, with the connections to them, which are kept.
pub(super) struct Sentinels {
    service: String,
    dialer: Arc<Dialer>,
    /// So long a connection may take altogether.
    connects_within: Duration,
    all: Vec<Sentinel>,
    /// What was said of the latest failover that was heard of.
    latest: StdMutex<Option<Named>>,
}

struct Sentinel {
    address: Address,
    speaking: Mutex<Speaking>,
}

/// How far it is with the connection to a Sentinel.
#[derive(Default)]
enum Speaking {
    #[default]
    Not,
    /// So long it was waited for it.
    Begun(Duration, BoxFuture<'static, RedisResult<MultiplexedConnection>>),
    Over(MultiplexedConnection),
}

/// What a Sentinel says.
#[derive(Clone)]
struct Named {
    primary: Address,
    /// Raised by each failover: of two Sentinels that disagree, the one with the higher number knows more.
    epoch: u64,
}

impl Sentinels {
    /// `dialer` speaks as the Sentinels want it.
    pub(super) fn new(
        config: &SentinelConfig,
        addresses: Vec<Address>,
        dialer: Dialer,
        connects_within: Duration,
    ) -> Self {
        let all = addresses.into_iter().map(|address| Sentinel { address, speaking: Mutex::default() });
        Self {
            service: config.service.clone(),
            dialer: Arc::new(dialer),
            connects_within,
            all: all.collect(),
            latest: StdMutex::default(),
        }
    }

    /// The primary, as the Sentinel says, or said, that knows of the latest failover.
    ///
    /// # Errors
    /// None named one in time; the first one's reason.
    pub(super) async fn primary(&self) -> Result<Address, String> {
        let answers = join_all(self.all.iter().map(|sentinel| self.ask(sentinel))).await;
        let (mut best, mut reason): (Option<Named>, _) = (None, None);
        for answer in answers {
            match answer {
                Ok(named) if best.as_ref().is_none_or(|best| best.epoch < named.epoch) => best = Some(named),
                Ok(_) => {}
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        let Some(best) = best else {
            return Err(reason.unwrap_or_else(|| "there is no Sentinel to ask".to_owned()));
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // Where all answer and none knows of it, they were set up anew and count from the beginning.
        let known = latest.take().filter(|latest| latest.epoch > best.epoch && reason.is_some());
        Ok(latest.insert(known.unwrap_or(best)).primary.clone())
    }

    async fn ask(&self, sentinel: &Sentinel) -> Result<Named, String> {
        let mut speaking = sentinel.speaking.lock().await;
        let begins = match &*speaking {
            Speaking::Not => true,
            Speaking::Begun(waited, _) => *waited >= self.connects_within,
            Speaking::Over(_) => false,
        };
        if begins {
            let (dialer, address) = (self.dialer.clone(), sentinel.address.clone());
            let dialing = async move { dialer.dial(&address, AsyncConnectionConfig::new()).await };
            *speaking = Speaking::Begun(Duration::ZERO, dialing.boxed());
        }
        if let Speaking::Begun(waited, dialing) = &mut *speaking {
            match timeout(ANSWERS_WITHIN, dialing).await {
                Ok(Ok(connection)) => *speaking = Speaking::Over(connection),
                Ok(Err(error)) => {
                    *speaking = Speaking::Not;
                    return Err(format!("Sentinel {}: {error}", sentinel.address));
                }
                Err(_) => *waited += ANSWERS_WITHIN,
            }
        }
        // Not kept over a failure, nor over an answer that was not waited for.
        let mut connection = match std::mem::take(&mut *speaking) {
            Speaking::Over(connection) => connection,
            unfinished => {
                *speaking = unfinished;
                return Err(format!(
                    "Sentinel {}: no connection within {ANSWERS_WITHIN:?}",
                    sentinel.address
                ));
            }
        };
        let asking = async {
            let mut both = redis::pipe();
            both.ignore_errors();
            both.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
            both.cmd("SENTINEL").arg("MASTER").arg(&self.service);
            let answers: Vec<RedisResult<Value>> = both.query_async(&mut connection).await?;
            *speaking = Speaking::Over(connection);
            Ok::<_, RedisError>(answers)
        };
        let told = match timeout(ANSWERS_WITHIN, asking).await {
            Ok(Ok(answers)) => self.read(answers),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {ANSWERS_WITHIN:?}")),
        };
        told.map_err(|error| format!("Sentinel {}: {error}", sentinel.address))
    }

    fn read(&self, answers: Vec<RedisResult<Value>>) -> Result<Named, String> {
        let mut answers = answers.into_iter();
        let address = answers.next().unwrap_or(Ok(Value::Nil)).map_err(|error| error.to_string())?;
        let address =
            Option::<(String, u16)>::from_redis_value(address).map_err(|error| error.to_string())?;
        let Some((host, port)) = address else {
            return Err(format!("it watches no service named `{}`", self.service));
        };
        // Without a number, where our user may not ask for it, it is the least.
        let epoch = answers.next().and_then(Result::ok).and_then(|fields| {
            let fields = Vec::<String>::from_redis_value(fields).ok()?;
            let at = fields.iter().position(|field| field == "config-epoch")?;
            fields.get(at + 1)?.parse().ok()
        });
        Ok(Named { primary: Address { host, port }, epoch: epoch.unwrap_or(0) })
    }
}

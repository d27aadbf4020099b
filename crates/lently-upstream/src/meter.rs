//! What is told of spending, and when: before it happens, so that whoever keeps the books may write first, or refuse. It keeps none itself.

use std::{any::Any, fmt, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{
    bucket::{Bucket, Method},
    error::UpstreamError,
    gemini::TokenUsage,
};

/// What a client is about to spend, or has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expense {
    /// YouTube is about to be called, at the method's price. Told before each attempt; an error keeps it from being sent.
    Call(Method),
    /// YouTube says that the quota is used up until then.
    UsedUp {
        /// Which.
        bucket: Bucket,
        /// The next midnight Pacific Time.
        until: Timestamp,
    },
    /// Gemini is about to be asked. Told before each attempt; an error keeps it from being sent.
    Asking {
        /// The model.
        model: String,
        /// What is sent, in bytes: no fewer than the tokens.
        bytes: u64,
        /// The most tokens it may answer with.
        max_output_tokens: u32,
    },
    /// Gemini has answered, usefully or not. Told before the answer is handed over; where no answer came, nothing is told.
    Answered {
        /// The model.
        model: String,
        /// What it took.
        usage: TokenUsage,
    },
}

/// Whatever the books want to be kept for as long as the call is under way.
pub type Kept = Option<Box<dyn Any + Send>>;

type Tell = dyn Fn(Expense) -> BoxFuture<'static, Result<Kept, UpstreamError>> + Send + Sync;

/// Is told of every expense of a client. Cheap to clone.
#[derive(Clone)]
pub struct Meter(Arc<Tell>);

impl Meter {
    /// Tells `tell`.
    pub fn new<Fut>(tell: impl Fn(Expense) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<Kept, UpstreamError>> + Send + 'static,
    {
        Self(Arc::new(move |expense| Box::pin(tell(expense))))
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

/// Tells a meter, where there is one.
pub(crate) async fn tell(
    meter: Option<&Meter>,
    expense: impl FnOnce() -> Expense,
) -> Result<Kept, UpstreamError> {
    match meter {
        Some(Meter(tell)) => tell(expense()).await,
        None => Ok(None),
    }
}

//! What happens at each expense: first it is made sure that there is as much, then it is written, then it is told, and then it is sent.

use lently_upstream::{Bucket, Expense, Kept, Method, TokenUsage, UpstreamError};

use super::book;
use super::budgets::Payer;
use super::counters::{self, OfModel};
use super::{Job, Ledger};

impl Ledger {
    /// Told by a client's meter. An error keeps the call from being sent.
    pub(super) async fn told(
        &self,
        payer: &Payer,
        job: Option<&Job>,
        expense: Expense,
    ) -> Result<Kept, UpstreamError> {
        match expense {
            Expense::Call(method) => self.call(payer, job, method).await.map(|()| None),
            Expense::UsedUp { bucket, .. } => {
                self.used_up(payer, bucket).await;
                Ok(None)
            }
            Expense::Asking { model, bytes, max_output_tokens } => {
                self.asking(payer, &model, bytes, max_output_tokens.into()).await
            }
            Expense::Answered { model, usage } => {
                self.answered(payer, &model, usage).await;
                Ok(None)
            }
        }
    }

    async fn call(&self, payer: &Payer, job: Option<&Job>, method: Method) -> Result<(), UpstreamError> {
        let (bucket, units) = (method.bucket(), method.units());
        self.check_used_up(bucket)?;
        if payer.purpose.is_background() && self.is_paused() {
            return Err(UpstreamError::QuotaSetAside { until: self.day_ends_at() });
        }
        let held = match job.and_then(|job| job.take(bucket, units)) {
            Some(held) => held,
            None => {
                let limit = self.0.budgets.units_for(bucket, payer.purpose);
                let held = self.set_aside(&counters::units(bucket), units, units, limit).await;
                // Others may have told meanwhile that YouTube has nothing left.
                self.check_used_up(bucket)?;
                held.ok_or_else(|| {
                    self.refusal(&counters::units(bucket), units, self.0.budgets.units(bucket))
                })?
            }
        };
        self.note(payer, [(counters::units(bucket), units)]);
        self.0.freshness.update(&self.0.book);
        drop(held);
        self.refresh().await;
        Ok(())
    }

    /// Why there is no more: because it is spent, until midnight, or because it is only set aside or kept for others.
    fn refusal(&self, counter: &str, amount: u64, limit: u64) -> UpstreamError {
        let (day, sums) = self.0.book.view();
        let until = day.end();
        if book::amount(&sums.totals, counter).saturating_add(amount) > limit {
            UpstreamError::QuotaExhausted { until }
        } else {
            UpstreamError::QuotaSetAside { until }
        }
    }

    /// Once is enough.
    async fn used_up(&self, payer: &Payer, bucket: Bucket) {
        if self.check_used_up(bucket).is_ok() {
            tracing::warn!(%bucket, "YouTube says that the quota is used up");
            self.note(payer, [(counters::used_up(bucket), 1)]);
            self.0.freshness.update(&self.0.book);
            self.refresh().await;
        }
    }

    /// With a budget, what the call costs at most is set aside until it is over. A token has a byte at least.
    async fn asking(
        &self,
        payer: &Payer,
        model: &str,
        bytes: u64,
        max_output_tokens: u64,
    ) -> Result<Kept, UpstreamError> {
        let mut kept: Kept = None;
        if let Some(limit) = self.0.budgets.gemini_micro_dollars {
            // Without a price on this day it could cost anything.
            let most = self.micro_dollars(model, bytes, max_output_tokens).unwrap_or(u64::MAX);
            // A model that is free needs nothing set aside.
            if most > 0 {
                let held = self.set_aside(counters::MICRO_DOLLARS, most, most, limit).await;
                let refused = || self.refusal(counters::MICRO_DOLLARS, most, limit);
                kept = Some(Box::new(held.ok_or_else(refused)?));
            }
        }
        self.note(payer, [(OfModel::Calls.counter(model), 1)]);
        self.write().await;
        Ok(kept)
    }

    async fn answered(&self, payer: &Payer, model: &str, usage: TokenUsage) {
        let price = self.micro_dollars(model, usage.input, usage.output);
        let amounts = [
            (OfModel::TokensIn.counter(model), usage.input),
            (OfModel::TokensOut.counter(model), usage.output),
            (OfModel::MicroDollars.counter(model), price.unwrap_or_default()),
            (counters::MICRO_DOLLARS.to_owned(), price.unwrap_or_default()),
            (OfModel::Unpriced.counter(model), u64::from(price.is_none())),
        ];
        self.note(payer, amounts.into_iter().filter(|(_, amount)| *amount > 0));
        self.refresh().await;
    }

    fn note(&self, payer: &Payer, amounts: impl IntoIterator<Item = (String, u64)>) {
        self.0.book.note(payer.user.as_str(), payer.purpose.name(), amounts);
    }
}

//! The ledger as it is shown: by bucket, model, purpose and user. It spends nothing; what it shows of a day is whole, whoever spent it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lently_cache::{Amounts, Sums};
use lently_upstream::{Bucket, PacificDay};
use serde::Serialize;

use super::counters::{self, OfModel};
use super::lines::by;
use super::{Ledger, Purpose, book};
use crate::error::ServiceError;
use crate::ids::UserId;

/// Users in a report, those who spent most; the others are one.
const USERS_MAX: usize = 100;

/// A day of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LedgerReport {
    /// The day in America/Los_Angeles, `YYYY-MM-DD`.
    pub day: String,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ends, and all quotas begin anew.
    pub resets_at: Timestamp,
    /// Whether all nodes are in it. Else it is what this node's store has: there is no Redis, or it cannot be reached.
    pub whole_fleet: bool,
    /// YouTube's quotas.
    pub buckets: Vec<BucketReport>,
    /// Gemini's models, as far as they were asked.
    pub models: Vec<ModelReport>,
    /// What Gemini may cost a day in millionths of a dollar, and what it cost.
    pub gemini: DollarsReport,
    /// By what it was spent for.
    pub purposes: Vec<SpenderReport>,
    /// By user, those first who spent most of YouTube's units.
    pub users: Vec<SpenderReport>,
}

/// One of YouTube's quotas.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BucketReport {
    /// `shared`, `search` or `stats`.
    pub bucket: &'static str,
    /// Units spent, those of failed calls too.
    pub spent_units: u64,
    /// Units set aside for analyses under way.
    pub reserved_units: u64,
    /// What may be spent.
    pub limit_units: u64,
    /// What is left.
    pub left_units: u64,
    /// What is left to work that nobody waits for.
    pub left_to_background_units: u64,
    /// Whether YouTube itself has said that it is used up, whatever was counted.
    pub used_up: bool,
}

/// One of Gemini's models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// The model.
    pub model: String,
    /// Calls sent, in vain or not.
    pub calls: u64,
    /// Tokens sent.
    pub tokens_in: u64,
    /// Tokens produced, thinking included.
    pub tokens_out: u64,
    /// What they cost, in millionths of a dollar; nothing is said where none of them has a price.
    pub micro_dollars: Option<u64>,
    /// Answers for which the table has no price; they are not in it.
    pub unpriced_answers: u64,
}

/// What Gemini costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DollarsReport {
    /// In millionths of a dollar, of everything that has a price.
    pub spent_micro_dollars: u64,
    /// What calls under way may cost at most.
    pub reserved_micro_dollars: u64,
    /// What may be spent; as much as it takes where nothing is said.
    pub limit_micro_dollars: Option<u64>,
    /// Where the prices are from, and when they were read there.
    pub prices_source: String,
    /// As `YYYY-MM-DD`.
    pub prices_read_on: String,
}

/// What somebody spent, or was spent for something.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SpenderReport {
    /// The user, or the purpose.
    pub name: String,
    /// Units of YouTube's shared quota.
    pub shared_units: u64,
    /// Units of the quota for statistics.
    pub stats_units: u64,
    /// Searches.
    pub search_units: u64,
    /// Tokens sent to Gemini.
    pub tokens_in: u64,
    /// Tokens it produced.
    pub tokens_out: u64,
    /// What they cost, in millionths of a dollar, of everything that has a price.
    pub micro_dollars: u64,
}

/// What a user spent today. Shared fetches are the one's who began them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UserReport {
    /// The day in America/Los_Angeles, `YYYY-MM-DD`.
    pub day: String,
    /// When it ends.
    pub resets_at: Timestamp,
    /// By all purposes together.
    #[serde(flatten)]
    pub spent: SpenderReport,
}

impl SpenderReport {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(super) fn add(&mut self, counter: &str, amount: u64) {
        let place = match OfModel::read(counter) {
            Some((_, OfModel::TokensIn)) => &mut self.tokens_in,
            Some((_, OfModel::TokensOut)) => &mut self.tokens_out,
            Some((_, OfModel::MicroDollars)) => &mut self.micro_dollars,
            _ if counter == counters::units(Bucket::Shared) => &mut self.shared_units,
            _ if counter == counters::units(Bucket::Stats) => &mut self.stats_units,
            _ if counter == counters::units(Bucket::Search) => &mut self.search_units,
            _ => return,
        };
        *place = place.saturating_add(amount);
    }
}

impl Ledger {
    /// A day as the whole fleet spent it; today without one.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn report(&self, day: Option<PacificDay>) -> Result<LedgerReport, ServiceError> {
        self.refresh().await;
        let today = self.0.book.today();
        let day = day.unwrap_or(today);
        let (sums, whole) = match day == today {
            true => (self.0.book.view().1, self.is_heard()),
            false => self.sums_of(day).await?,
        };
        let lines = self.lines(day).await?;
        Ok(LedgerReport {
            day: day.to_string(),
            starts_at: day.start(),
            resets_at: day.end(),
            whole_fleet: whole,
            buckets: Bucket::ALL.into_iter().map(|bucket| self.bucket(bucket, &sums)).collect(),
            models: models(&sums.totals),
            gemini: self.dollars(&sums),
            purposes: by(&lines, |(_, purpose, _)| purpose.clone(), Purpose::ALL.len()),
            users: by(&lines, |(user, _, _)| user.clone(), USERS_MAX),
        })
    }

    /// What a user spent today, on all nodes, up to a second old.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn spent_by(&self, user: &UserId) -> Result<UserReport, ServiceError> {
        let day = self.0.book.today();
        let lines = self.late_lines(day).await?;
        let mut spent = SpenderReport::named(user.as_str());
        for ((of, _, counter), amount) in lines.iter() {
            if of == user.as_str() {
                spent.add(counter, *amount);
            }
        }
        Ok(UserReport { day: day.to_string(), resets_at: day.end(), spent })
    }

    /// YouTube's quotas, as far as known here: nothing is asked.
    pub fn buckets(&self) -> Vec<BucketReport> {
        let (_, sums) = self.0.book.view();
        Bucket::ALL.into_iter().map(|bucket| self.bucket(bucket, &sums)).collect()
    }

    /// Gemini's models, as far as known here.
    pub fn models(&self) -> Vec<ModelReport> {
        models(&self.0.book.view().1.totals)
    }

    fn bucket(&self, bucket: Bucket, sums: &Sums) -> BucketReport {
        let counter = counters::units(bucket);
        let (spent, reserved) = (book::amount(&sums.totals, &counter), book::amount(&sums.held, &counter));
        let used_up = book::amount(&sums.totals, &counters::used_up(bucket)) > 0;
        let left =
            |limit: u64| if used_up { 0 } else { limit.saturating_sub(spent).saturating_sub(reserved) };
        let limit_units = self.budgets().units(bucket);
        BucketReport {
            bucket: bucket.name(),
            spent_units: spent,
            reserved_units: reserved,
            limit_units,
            left_units: left(limit_units),
            left_to_background_units: left(self.budgets().units_for(bucket, Purpose::Warm)),
            used_up,
        }
    }

    fn dollars(&self, sums: &Sums) -> DollarsReport {
        DollarsReport {
            spent_micro_dollars: book::amount(&sums.totals, counters::MICRO_DOLLARS),
            reserved_micro_dollars: book::amount(&sums.held, counters::MICRO_DOLLARS),
            limit_micro_dollars: self.budgets().gemini_micro_dollars,
            prices_source: self.prices().source.clone(),
            prices_read_on: self.prices().read_on.to_string(),
        }
    }

    /// The sums of a day that is over, and whether those of others are in it: Redis forgets a day after three.
    async fn sums_of(&self, day: PacificDay) -> Result<(Sums, bool), ServiceError> {
        let totals = self.0.store.ledger_sums(day).await?;
        let told = self.exchange_totals(&format!("ledger:{day}"), totals.clone()).await;
        Ok(match told {
            Some(sums) => (sums, true),
            None => (Sums { totals, ..Sums::default() }, false),
        })
    }
}

fn models(totals: &Amounts) -> Vec<ModelReport> {
    let mut models: BTreeMap<&str, ModelReport> = BTreeMap::new();
    for (counter, amount) in totals {
        let Some((model, of)) = OfModel::read(counter) else { continue };
        let report = models.entry(model).or_insert_with(|| ModelReport {
            model: model.to_owned(),
            calls: 0,
            tokens_in: 0,
            tokens_out: 0,
            micro_dollars: None,
            unpriced_answers: 0,
        });
        match of {
            OfModel::Calls => report.calls = *amount,
            OfModel::TokensIn => report.tokens_in = *amount,
            OfModel::TokensOut => report.tokens_out = *amount,
            OfModel::MicroDollars => report.micro_dollars = Some(*amount),
            OfModel::Unpriced => report.unpriced_answers = *amount,
        }
    }
    let free = |report: &mut ModelReport| {
        if report.unpriced_answers == 0 {
            report.micro_dollars.get_or_insert(0);
        }
    };
    models.values_mut().for_each(free);
    models.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_price_is_not_said_to_cost_nothing() {
        let totals = Amounts::from([(OfModel::Calls.counter("m"), 1), (OfModel::Unpriced.counter("m"), 1)]);
        assert_eq!(models(&totals)[0].micro_dollars, None);
        assert_eq!(models(&Amounts::from([(OfModel::Calls.counter("m"), 1)]))[0].micro_dollars, Some(0));
    }
}

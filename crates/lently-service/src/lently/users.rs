//! A user's plan and usage: the part of the service that counts. Answers from the cache are free and are not counted.

use bytes::Bytes;
use jiff::Timestamp;
use lently_cache::{Controls, Fetched};
use serde::{Deserialize, Serialize};

use super::Lently;
use crate::error::ServiceError;
use crate::ids::UserId;
use crate::keys::{CacheKeys, EntryKind};
use crate::plan::{PlanLimits, UserPlan};
use crate::shape;
use crate::store::Reservation;

/// What a user may do this month and has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The user's plan.
    pub plan: UserPlan,
    /// What it allows.
    pub limits: PlanLimits,
    /// Analyses made for this user in the calendar month (UTC).
    pub used: u32,
    /// When the count begins anew.
    pub resets_at: Timestamp,
}

/// What invalidating a user removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UserInvalidation {
    /// Cached analyses.
    pub analyses: u64,
    /// The quota entry.
    pub quota: u64,
}

impl Lently {
    /// Returns a user's plan and usage, at most five minutes old; a change of plan and a finished analysis show at once.
    pub async fn usage(&self, user: &UserId) -> Result<Usage, ServiceError> {
        let policy = self.inner.ttl.policy(EntryKind::Quota);
        let (service, owner) = (self.clone(), user.clone());
        let fetch = move || async move {
            let usage = service.count(&owner).await.map_err(ServiceError::into_failure)?;
            let body = serde_json::to_vec(&usage).map_err(|error| {
                ServiceError::internal("a usage record cannot be written", error).into_failure()
            })?;
            Ok(Fetched::new(Bytes::from(body)))
        };
        let (cache, key) = (&self.inner.cache, CacheKeys::quota(user));
        let controls = Controls::DEFAULT;
        let answer = shape::get_or_set(cache, EntryKind::Quota, &key, &policy, &controls, fetch).await?;
        serde_json::from_slice(&answer.entry.value)
            .map_err(|error| ServiceError::internal("a cached value is not of its kind", error))
    }

    /// Changes a user's plan, in the store; the quota entry goes, so that the next look at the usage shows it.
    pub async fn set_plan(&self, user: &UserId, plan: UserPlan) -> Result<(), ServiceError> {
        self.inner.store.set_plan(user, plan).await?;
        self.forget_usage(user).await;
        Ok(())
    }

    /// Removes everything of a user from the cache: the analyses they asked for and their quota entry.
    ///
    /// Nobody else's entries are touched, whatever characters the id has, except that an analysis is one entry for all who
    /// asked for it.
    pub async fn invalidate_user(&self, user: &UserId) -> Result<UserInvalidation, ServiceError> {
        let quota = self.inner.cache.delete(&CacheKeys::quota(user)).await.map_err(ServiceError::cache)?;
        let analyses = self.inner.analyses.invalidate_user_analyses(user).await?;
        Ok(UserInvalidation { analyses, quota })
    }

    async fn count(&self, user: &UserId) -> Result<Usage, ServiceError> {
        let plan = self.plan(user).await?;
        let used = self.inner.store.used(user).await?;
        Ok(Usage { plan, limits: plan.limits(), used: used.analyses, resets_at: used.resets_at })
    }

    async fn plan(&self, user: &UserId) -> Result<UserPlan, ServiceError> {
        Ok(self.inner.store.plan(user).await?.unwrap_or(self.inner.default_plan))
    }

    /// Checks the plan and sets one analysis aside. Where nobody is limited, a store that fails is no reason to refuse.
    pub(super) async fn reserve(
        &self,
        user: &UserId,
        comments: u32,
    ) -> Result<Option<Reservation>, ServiceError> {
        let reserved = async {
            let plan = self.plan(user).await?;
            plan.check_comments(comments)?;
            self.inner.store.reserve(user, plan).await
        };
        match reserved.await {
            Ok(reservation) => Ok(Some(reservation)),
            Err(ServiceError::Store(error)) if self.inner.default_plan == UserPlan::Unlimited => {
                tracing::warn!(error = &error as &dyn std::error::Error, "usage not counted");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn settle(&self, reservations: Vec<Reservation>, counts: bool) {
        for reservation in reservations {
            if let Err(error) = self.inner.store.settle(reservation, counts).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "usage not settled");
            }
        }
    }

    /// Drops the cached quota entry, which has just become wrong. Where Redis cannot be reached its copy may stay wrong for the
    /// five minutes it lives; that is no reason to fail, and the cache tells of the outage itself.
    pub(super) async fn forget_usage(&self, user: &UserId) {
        if let Err(error) = self.inner.cache.delete(&CacheKeys::quota(user)).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "quota entry not removed");
        }
    }
}

//! Plans and usage in the store: what a user has subscribed to, and how many analyses were made for them this month.
//!
//! An analysis is reserved before the work and settled after it, so that two requests at once cannot both take the last one.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use super::{Store, earlier, millis};
use crate::error::ServiceError;
use crate::ids::UserId;
use crate::plan::UserPlan;

/// A reservation that was never settled (its process died) stops counting after an hour.
const RESERVATION_LIFE: Duration = Duration::from_secs(3_600);
/// Usage is kept for two months, then deleted.
pub(super) const USAGE_RETENTION: Duration = Duration::from_secs(62 * 24 * 3_600);

/// One analysis set aside for a user, until it is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reservation(i64);

/// How much of a month is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    pub analyses: u32,
    pub resets_at: Timestamp,
}

impl Store {
    /// A user's plan, where one was ever set.
    pub(crate) async fn plan(&self, user: &UserId) -> Result<Option<UserPlan>, ServiceError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT plan FROM users WHERE user_id = ?1")
            .bind(user.as_str())
            .fetch_optional(self.pool().await?)
            .await?;
        row.map(|(plan,)| plan.parse()).transpose()
    }

    /// Sets a user's plan.
    pub(crate) async fn set_plan(&self, user: &UserId, plan: UserPlan) -> Result<(), ServiceError> {
        sqlx::query(
            "INSERT INTO users (user_id, plan, changed_at) VALUES (?1, ?2, ?3) \
             ON CONFLICT (user_id) DO UPDATE SET plan = excluded.plan, changed_at = excluded.changed_at",
        )
        .bind(user.as_str())
        .bind(plan.name())
        .bind(millis(self.clock.now()))
        .execute(self.pool().await?)
        .await?;
        Ok(())
    }

    /// How many analyses of this calendar month (UTC) are used or set aside.
    pub(crate) async fn used(&self, user: &UserId) -> Result<Used, ServiceError> {
        let (period, resets_at) = month(self.clock.now());
        let pool = self.pool().await?;
        let (count,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM usage WHERE user_id = ?1 AND period = ?2 AND (settled = 1 OR reserved_at > ?3)",
        )
        .bind(user.as_str())
        .bind(period)
        .bind(millis(earlier(self.clock.now(), RESERVATION_LIFE)))
        .fetch_one(pool)
        .await?;
        Ok(Used { analyses: u32::try_from(count).unwrap_or(u32::MAX), resets_at })
    }

    /// Sets one analysis aside, or says that the plan allows none until the month ends.
    pub(crate) async fn reserve(&self, user: &UserId, plan: UserPlan) -> Result<Reservation, ServiceError> {
        let now = self.clock.now();
        let (period, resets_at) = month(now);
        let limit = plan.limits().analyses_per_month;
        let _turn = self.turn().await?;
        // One statement, so that counting and taking cannot be separated.
        let row: Option<(i64,)> = sqlx::query_as(
            "INSERT INTO usage (user_id, period, reserved_at) SELECT ?1, ?2, ?3 WHERE \
             (SELECT COUNT(*) FROM usage WHERE user_id = ?1 AND period = ?2 AND (settled = 1 OR reserved_at > ?4)) < ?5 \
             RETURNING id",
        )
        .bind(user.as_str())
        .bind(period)
        .bind(millis(now))
        .bind(millis(earlier(now, RESERVATION_LIFE)))
        .bind(limit.map_or(i64::MAX, i64::from))
        .fetch_optional(self.pool().await?)
        .await?;
        match (row, limit) {
            (Some((id,)), _) => Ok(Reservation(id)),
            (None, limit) => Err(ServiceError::PlanLimit {
                plan,
                limit: "analyses_per_month",
                allowed: limit.unwrap_or_default(),
                resets_at: Some(resets_at),
            }),
        }
    }

    /// Counts a reservation for good, or gives it back.
    pub(crate) async fn settle(&self, reservation: Reservation, counts: bool) -> Result<(), ServiceError> {
        let statement = if counts {
            sqlx::query("UPDATE usage SET settled = 1 WHERE id = ?1")
        } else {
            sqlx::query("DELETE FROM usage WHERE id = ?1")
        };
        let _turn = self.turn().await?;
        statement.bind(reservation.0).execute(self.pool().await?).await?;
        Ok(())
    }
}

/// The calendar month in UTC as `YYYY-MM`, and when the next one begins.
fn month(now: Timestamp) -> (String, Timestamp) {
    let first: Date = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let next = first
        .checked_add(1.month())
        .ok()
        .and_then(|date| date.to_zoned(TimeZone::UTC).ok())
        .map_or(Timestamp::MAX, |zoned| zoned.timestamp());
    (format!("{:04}-{:02}", first.year(), first.month()), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        let now: Timestamp = "2026-12-31T23:59:59Z".parse().expect("a time");
        let (period, resets_at) = month(now);
        assert_eq!(period, "2026-12");
        assert_eq!(resets_at, "2027-01-01T00:00:00Z".parse().expect("a time"));
    }
}

//! What each plan allows. The table is data, in this one place; counting is the store's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ServiceError;

/// What a user has subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserPlan {
    /// Ten analyses a month, a hundred comments each.
    Free,
    /// A hundred analyses a month, a thousand comments each.
    Pro,
    /// A thousand analyses a month, ten thousand comments each.
    Business,
    /// No limit of ours; a single user on their own key.
    Unlimited,
}

/// The limits of a plan; `None` means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimits {
    /// Analyses that had to be made, in a calendar month (UTC). Answers from the cache are not counted.
    pub analyses_per_month: Option<u32>,
    /// Comments that one analysis or one request for comments may read.
    pub max_comments: Option<u32>,
}

const TABLE: [(UserPlan, &str, PlanLimits); 4] = [
    (UserPlan::Free, "free", PlanLimits { analyses_per_month: Some(10), max_comments: Some(100) }),
    (UserPlan::Pro, "pro", PlanLimits { analyses_per_month: Some(100), max_comments: Some(1_000) }),
    (
        UserPlan::Business,
        "business",
        PlanLimits { analyses_per_month: Some(1_000), max_comments: Some(10_000) },
    ),
    (UserPlan::Unlimited, "unlimited", PlanLimits { analyses_per_month: None, max_comments: None }),
];

impl UserPlan {
    /// All plans, the smallest first.
    pub const ALL: [Self; 4] = [Self::Free, Self::Pro, Self::Business, Self::Unlimited];

    const fn row(self) -> &'static (Self, &'static str, PlanLimits) {
        match self {
            Self::Free => &TABLE[0],
            Self::Pro => &TABLE[1],
            Self::Business => &TABLE[2],
            Self::Unlimited => &TABLE[3],
        }
    }

    /// The name in JSON, in the store and in configuration.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// What the plan allows.
    pub const fn limits(self) -> PlanLimits {
        self.row().2
    }

    /// Refuses more comments than the plan reads at once.
    pub(crate) fn check_comments(self, asked: u32) -> Result<(), ServiceError> {
        match self.limits().max_comments {
            Some(allowed) if asked > allowed => {
                Err(ServiceError::PlanLimit { plan: self, limit: "max_comments", allowed, resets_at: None })
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for UserPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for UserPlan {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|plan| plan.name() == text).ok_or_else(|| ServiceError::Invalid {
            field: "plan",
            message: "must be one of `free`, `pro`, `business`, `unlimited`".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plan_stands_in_its_own_row_of_the_table() {
        for plan in UserPlan::ALL {
            assert_eq!(plan.row().0, plan);
            assert_eq!(plan.name().parse::<UserPlan>().expect("its own name"), plan);
            assert_eq!(serde_json::to_string(&plan).expect("JSON"), format!("\"{plan}\""));
        }
        assert!("gold".parse::<UserPlan>().is_err());
    }

    #[test]
    fn a_plan_reads_up_to_its_limit_and_no_further() {
        assert!(UserPlan::Free.check_comments(100).is_ok());
        assert!(UserPlan::Free.check_comments(101).is_err());
        assert!(UserPlan::Unlimited.check_comments(u32::MAX).is_ok());
    }
}

//! Analyses side by side: of several videos, or of one at two times. It makes none.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use lently_analysis::{Comparison, Coverage, SentimentSummary, compare};
use serde::Serialize;

use super::{AnalysisState, Lently};
use crate::body::AnalysisBody;
use crate::error::ServiceError;
use crate::ids::{AnalysisId, UserId};

/// The most analyses that are compared at once.
pub const COMPARED_MAX: usize = 10;

/// An analysis as it is now, or as it was: `<id>`, `<id>@<time>` for the version made then, `<id>@earlier` for the one before this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisVersion {
    /// Which analysis.
    pub id: AnalysisId,
    /// Which version of it.
    pub when: When,
}

/// Which version of an analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The one there is.
    Now,
    /// The last one that was kept before it: of another day.
    Earlier,
    /// The one made at this time.
    At(Timestamp),
}

impl FromStr for AnalysisVersion {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, when) = match text.split_once('@') {
            None => (text, When::Now),
            Some((id, "earlier")) => (id, When::Earlier),
            Some((id, time)) => {
                let at = time.parse().map_err(|_| ServiceError::Invalid {
                    field: "ids",
                    message: "must have a time (RFC 3339) or `earlier` behind `@`".to_owned(),
                })?;
                (id, When::At(at))
            }
        };
        Ok(Self { id: id.parse()?, when })
    }
}

impl fmt::Display for AnalysisVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::Now => write!(formatter, "{}", self.id),
            When::Earlier => write!(formatter, "{}@earlier", self.id),
            When::At(at) => write!(formatter, "{}@{at}", self.id),
        }
    }
}

/// Analyses side by side.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// Each, in the order that was asked for.
    pub analyses: Vec<ComparedAnalysis>,
    /// How each but the first differs from the first.
    pub differences: Vec<Difference>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedAnalysis {
    /// Which.
    pub analysis_id: AnalysisId,
    /// When it was made.
    pub created_at: Timestamp,
    /// The video's title, or the file's name.
    pub title: String,
    /// The video, where it is known.
    pub video_id: Option<String>,
    /// Who judged: verdicts of two engines are not alike.
    pub engine: String,
    /// How much was read.
    pub coverage: Coverage,
    /// How the comments feel.
    pub sentiment: SentimentSummary,
}

/// How one differs from the first.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Which.
    pub analysis_id: AnalysisId,
    /// When it was made.
    pub created_at: Timestamp,
    /// What differs.
    #[serde(flatten)]
    pub comparison: Comparison,
}

impl Lently {
    /// Compares a user's finished analyses with the first of them.
    ///
    /// # Errors
    /// Fewer than two or more than [`COMPARED_MAX`], one that the user never asked for, is not finished, or has no such version.
    pub async fn compare(
        &self,
        user: &UserId,
        versions: &[AnalysisVersion],
    ) -> Result<Compared, ServiceError> {
        let refused = |message: String| ServiceError::Invalid { field: "ids", message };
        if !(2..=COMPARED_MAX).contains(&versions.len()) {
            return Err(refused(format!("must name 2 to {COMPARED_MAX} analyses, not {}", versions.len())));
        }
        let mut bodies = Vec::with_capacity(versions.len());
        for version in versions {
            let body = self.body_of(user, version).await?;
            bodies.push(body.ok_or_else(|| refused(format!("must name what there is: no `{version}`")))?);
        }
        let differences = bodies.iter().skip(1).map(|body| Difference {
            analysis_id: body.analysis_id.clone(),
            created_at: body.created_at,
            comparison: compare(&bodies[0].report, &body.report),
        });
        let differences = differences.collect();
        let analyses = bodies.into_iter().map(|body| ComparedAnalysis {
            title: body.source.title().to_owned(),
            video_id: body.source.video_id().map(ToString::to_string),
            engine: body.engine.model.unwrap_or(body.engine.name),
            analysis_id: body.analysis_id,
            created_at: body.created_at,
            coverage: body.report.coverage,
            sentiment: body.report.sentiment,
        });
        Ok(Compared { analyses: analyses.collect(), differences })
    }

    /// When the versions of a user's analysis were made, the latest first; the one there is first of all.
    pub async fn versions(&self, user: &UserId, id: &AnalysisId) -> Result<Vec<Timestamp>, ServiceError> {
        let now = AnalysisVersion { id: id.clone(), when: When::Now };
        let body = self.body_of(user, &now).await?.ok_or(ServiceError::NotFound)?;
        let mut versions = vec![body.created_at];
        let earlier = self.inner.store.earlier_analyses(id).await?;
        versions.extend(earlier.into_iter().map(|earlier| earlier.created_at));
        Ok(versions)
    }

    /// The body of a version, where there is one.
    async fn body_of(
        &self,
        user: &UserId,
        version: &AnalysisVersion,
    ) -> Result<Option<AnalysisBody>, ServiceError> {
        let read = |json: &[u8]| {
            serde_json::from_slice::<AnalysisBody>(json)
                .map_err(|error| ServiceError::internal("a kept analysis cannot be read", error))
        };
        // Also the right to the earlier ones is that to the analysis.
        let AnalysisState::Ready(answer) = self.analysis(user, &version.id).await? else { return Ok(None) };
        let current = read(&answer.body)?;
        let wanted = match version.when {
            When::Now => return Ok(Some(current)),
            When::At(at) if at == current.created_at => return Ok(Some(current)),
            When::At(at) => Some(at),
            When::Earlier => None,
        };
        let earlier = self.inner.store.earlier_analyses(&version.id).await?;
        let found = earlier.into_iter().find(|earlier| wanted.is_none_or(|at| at == earlier.created_at));
        found.map(|earlier| read(&earlier.body)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_written_as_it_is_read() {
        let id = AnalysisId::derive(&["x"]);
        for text in [format!("{id}"), format!("{id}@earlier"), format!("{id}@2026-11-24T12:00:00Z")] {
            assert_eq!(text.parse::<AnalysisVersion>().expect("a version").to_string(), text);
        }
        for wrong in ["", "x", &format!("{id}@"), &format!("{id}@yesterday"), &format!("@{id}")] {
            assert!(wrong.parse::<AnalysisVersion>().is_err(), "{wrong}");
        }
    }
}

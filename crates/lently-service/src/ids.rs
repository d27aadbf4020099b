//! Who asks and what is asked for, as ids. They carry no rights of their own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ServiceError;

/// The longest user id accepted, in bytes; identity providers use up to 128 characters.
const USER_ID_MAX_BYTES: usize = 256;

/// A user, as the identity provider names them: any text without control characters, 1 to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

impl UserId {
    /// Checks and keeps the id.
    pub fn new(id: impl Into<String>) -> Result<Self, ServiceError> {
        let id = id.into();
        if id.is_empty() || id.len() > USER_ID_MAX_BYTES || id.chars().any(char::is_control) {
            return Err(ServiceError::Invalid {
                field: "user_id",
                message: format!("must be 1 to {USER_ID_MAX_BYTES} bytes without control characters"),
            });
        }
        Ok(Self(id))
    }

    /// The one user of a single-user installation: `local`.
    pub fn local() -> Self {
        Self("local".to_owned())
    }

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for UserId {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for UserId {
    type Error = ServiceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

/// An analysis: 32 lower-case hexadecimal digits, derived from everything that determines the result.
///
/// The same request has the same id on every node, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AnalysisId(String);

/// Half of a BLAKE3 hash: 128 bits.
const HASH_DIGITS: usize = 32;

impl AnalysisId {
    /// Hashes the parts with BLAKE3, each behind its length, so that no two lists of parts are confused.
    pub(crate) fn derive(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut id = hasher.finalize().to_hex().to_string();
        id.truncate(HASH_DIGITS);
        Self(id)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AnalysisId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for AnalysisId {
    type Err = ServiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == HASH_DIGITS && text.bytes().all(hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(ServiceError::Invalid {
            field: "analysis_id",
            message: format!("must be {HASH_DIGITS} lower-case hexadecimal digits"),
        })
    }
}

impl TryFrom<String> for AnalysisId {
    type Error = ServiceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<AnalysisId> for String {
    fn from(id: AnalysisId) -> Self {
        id.0
    }
}

/// A text, as far as equal texts are one: 32 lower-case hexadecimal digits. The text itself cannot be read from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextHash(String);

impl TextHash {
    /// Half of the text's BLAKE3 hash: 128 bits.
    pub fn of(text: &str) -> Self {
        let mut digits = blake3::hash(text.as_bytes()).to_hex().to_string();
        digits.truncate(HASH_DIGITS);
        Self(digits)
    }

    /// One that was written down.
    pub(crate) fn written(digits: String) -> Self {
        Self(digits)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TextHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_not_confused_with_one_another() {
        assert_ne!(AnalysisId::derive(&["ab", "c"]), AnalysisId::derive(&["a", "bc"]));
        assert_eq!(AnalysisId::derive(&["ab", "c"]), AnalysisId::derive(&["ab", "c"]));
    }

    #[test]
    fn an_analysis_id_is_read_back_and_nothing_else_is() {
        let id = AnalysisId::derive(&["x"]);
        assert_eq!(id.as_str().parse::<AnalysisId>().expect("its own spelling"), id);
        for wrong in ["", "abc", "*", &"G".repeat(32), &"A".repeat(32), &"a".repeat(33)] {
            assert!(wrong.parse::<AnalysisId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_id_has_a_bound_and_no_control_characters() {
        assert!(UserId::new("auth0|57a*").is_ok());
        for wrong in ["", "a\nb", &"x".repeat(257)] {
            assert!(UserId::new(wrong).is_err());
        }
    }
}

//! Why a configuration is refused. Names the variable and the remedy; a secret never stands in it.

/// A variable that cannot be used. Only changing the configuration helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {found}; {remedy}")]
pub struct ConfigError {
    /// The variable, or the file, that is at fault.
    pub variable: String,
    /// What is wrong with it; the value itself only where it is no secret.
    pub found: String,
    /// What would be right.
    pub remedy: String,
}

impl ConfigError {
    /// Says what is wrong with `variable` and what to do about it.
    pub fn new(variable: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { variable: variable.into(), found: found.into(), remedy: remedy.into() }
    }
}

//! Variables as values with a type and a range. Each refusal names the variable, what it is and what it may be.

use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use secrecy::SecretString;
use url::Url;

use super::{env::Env, error::ConfigError};

/// A bad value is shown up to here.
const SHOWN_CHARS_MAX: usize = 60;

/// Reads variables out of an environment.
pub(super) struct Reader<'a> {
    pub env: &'a Env,
}

impl Reader<'_> {
    pub fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.env.text(name)?.map(str::to_owned))
    }

    pub fn secret(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        self.env.secret(name)
    }

    pub fn path(&self, name: &str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.env.text(name)?.map(PathBuf::from))
    }

    /// A directory by the XDG base directory specification: only an absolute path counts.
    pub fn xdg(&self, name: &str, below_home: &str) -> Result<Option<PathBuf>, ConfigError> {
        let absolute = |path: &PathBuf| path.is_absolute();
        if let Some(path) = self.path(name)?.filter(absolute) {
            return Ok(Some(path));
        }
        Ok(self.path("HOME")?.filter(absolute).map(|home| home.join(below_home)))
    }

    pub fn number<N>(&self, name: &str, default: N, range: RangeInclusive<N>) -> Result<N, ConfigError>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.env.text(name)? else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            wrong(name, text, format!("set a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// Seconds, with a fraction where somebody wants one.
    pub fn seconds(
        &self,
        name: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let Some(text) = self.env.text(name)? else { return Ok(default) };
        let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.filter(|seconds| range.contains(seconds)).ok_or_else(|| {
            let (least, most) = (range.start().as_secs_f64(), range.end().as_secs_f64());
            wrong(name, text, format!("set a number of seconds from {least} to {most}"))
        })
    }

    pub fn milliseconds(
        &self,
        name: &str,
        default: Duration,
        range: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        self.number(name, default, range).map(Duration::from_millis)
    }

    pub fn flag(&self, name: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.env.text(name)? else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(Some(true)),
            "0" | "false" | "no" | "off" => Ok(Some(false)),
            _ => Err(wrong(name, text, "set `true` or `false`")),
        }
    }

    /// Anything that reads itself from text; `remedy` tells what it may be.
    pub fn parsed<T: FromStr>(&self, name: &str, default: T, remedy: &str) -> Result<T, ConfigError> {
        let Some(text) = self.env.text(name)? else { return Ok(default) };
        text.parse().map_err(|_| wrong(name, text, remedy))
    }

    /// An address of an API. Its user and password, if it has any, are never shown.
    pub fn base_url(&self, name: &str, default: Url) -> Result<Url, ConfigError> {
        Ok(self.url(name)?.unwrap_or(default))
    }

    /// The same where there is none by default.
    pub fn url(&self, name: &str) -> Result<Option<Url>, ConfigError> {
        let Some(text) = self.env.text(name)? else { return Ok(None) };
        let remedy = "set an address such as `https://api.example.com/`, without user, query or fragment";
        let url = Url::parse(text).map_err(|_| ConfigError::new(name, "is no URL", remedy))?;
        let usable = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !usable {
            return Err(ConfigError::new(name, "is a URL that cannot be a base", remedy));
        }
        Ok(Some(url))
    }
}

pub(super) fn wrong(name: &str, value: &str, remedy: impl Into<String>) -> ConfigError {
    let shown: String = value.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    ConfigError::new(name, format!("is `{shown}`"), remedy)
}

/// The URL that names an SQLite file; `%`, `?` and `#` would be read as something else.
pub(super) fn sqlite_url(path: &Path) -> String {
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite:{escaped}")
}

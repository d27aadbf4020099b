//! The environment as it was at the start: the process' variables over those of a `.env` file. Nothing else reads it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::error::ConfigError;

/// A secret file larger than this is not one: keys and passwords are short.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// A snapshot of the variables.
#[derive(Clone, Default)]
pub struct Env {
    /// `None` for a value that is not UTF-8.
    values: BTreeMap<String, Option<String>>,
    /// Why `.env` could not be read; told when the configuration is made.
    broken: Option<ConfigError>,
}

impl Env {
    /// Takes the process' variables, and below them those of `.env` in the working directory, where there is one.
    /// The process' own environment is not changed.
    #[must_use]
    pub fn process() -> Self {
        let mut env = Self::from_dotenv(Path::new(".env"));
        for (name, value) in std::env::vars_os() {
            if let Ok(name) = name.into_string() {
                env.values.insert(name, value.into_string().ok());
            }
        }
        env.without_service_links()
    }

    /// Takes exactly these variables; for tests, and for a server inside of another program.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect();
        Self { values, broken: None }.without_service_links()
    }

    /// Without what Kubernetes adds to each container for each service of its namespace: beside `REDIS_SERVICE_HOST` a
    /// `REDIS_PORT=tcp://10.0.0.11:6379` (kubernetes.io, "Service: Environment variables", read 2026-11-26). A service that is
    /// named `redis` or `lently` would else be read as settings that nobody made.
    fn without_service_links(mut self) -> Self {
        let services: Vec<String> = self
            .values
            .keys()
            .filter_map(|name| name.strip_suffix("_SERVICE_HOST"))
            .map(|service| format!("{service}_"))
            .collect();
        let is_link = |name: &str, value: Option<&str>| {
            services.iter().filter_map(|service| name.strip_prefix(service.as_str())).any(|rest| {
                let is_address = || value.is_some_and(|value| value.contains("://"));
                rest.starts_with("SERVICE_") || rest.starts_with("PORT_") || (rest == "PORT" && is_address())
            })
        };
        self.values.retain(|name, value| !is_link(name, value.as_deref()));
        self
    }

    /// Whether the terminal may be written to in color, by `NO_COLOR` (no-color.org, read 2026-11-24) and `TERM`.
    #[must_use]
    pub fn allows_color(&self) -> bool {
        let set = |name: &str| self.raw(name).ok().flatten().filter(|value| !value.is_empty());
        set("NO_COLOR").is_none() && set("TERM") != Some("dumb")
    }

    fn from_dotenv(path: &Path) -> Self {
        let broken = |what: &str| {
            Some(ConfigError::new(path.display().to_string(), what, "write one `NAME=value` on a line"))
        };
        let Ok(lines) = dotenvy::from_path_iter(path) else {
            let broken = if path.exists() { broken("cannot be opened") } else { None };
            return Self { values: BTreeMap::new(), broken };
        };
        let mut env = Self::default();
        for line in lines {
            match line {
                Ok((name, value)) => {
                    env.values.insert(name, Some(value));
                }
                // The error repeats the line, which may hold a secret.
                Err(_) => env.broken = broken("has a line that cannot be read"),
            }
        }
        env
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// The names that are set.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The value, also an empty one.
    pub(super) fn raw(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(ConfigError::new(name, "is not UTF-8", "write it in UTF-8")),
        }
    }

    /// The value; an empty one counts as not set, as container files write it.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ConfigError> {
        Ok(self.raw(name)?.map(str::trim).filter(|value| !value.is_empty()))
    }

    /// A secret from `NAME`, or from the file that `NAME_FILE` names, without the newline at its end.
    pub(super) fn secret(&self, name: &str) -> Result<Option<SecretString>, ConfigError> {
        let file_variable = format!("{name}_FILE");
        let (value, file) = (self.text(name)?, self.text(&file_variable)?);
        let secret = match (value, file) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(
                    name,
                    format!("and {file_variable} are both set"),
                    "set one of them",
                ));
            }
            (Some(value), None) => value.to_owned(),
            (None, Some(file)) => read_secret(&file_variable, &PathBuf::from(file))?,
        };
        if secret.chars().any(char::is_control) {
            return Err(ConfigError::new(name, "has a control character in it", "write it on one line"));
        }
        Ok(Some(secret.into()))
    }
}

fn read_secret(variable: &str, path: &Path) -> Result<String, ConfigError> {
    let wrong = |what: String| {
        ConfigError::new(variable, what, "name a readable text file that holds the secret and nothing else")
    };
    let told = path.display();
    let size = std::fs::metadata(path).map_err(|error| wrong(format!("names `{told}`: {error}")))?.len();
    if size > SECRET_FILE_BYTES_MAX {
        return Err(wrong(format!("names `{told}`, which has {size} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("names `{told}`: {error}")))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(wrong(format!("names `{told}`, which is empty")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_allowed_unless_somebody_minds() {
        assert!(Env::from_pairs([("NO_COLOR", ""), ("TERM", "xterm")]).allows_color());
        assert!(!Env::from_pairs([("NO_COLOR", "1")]).allows_color());
        assert!(!Env::from_pairs([("TERM", "dumb")]).allows_color());
    }

    #[test]
    fn a_dotenv_file_is_read_and_a_broken_one_is_refused_without_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(".env");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("a writable file");
            Env::from_dotenv(&path)
        };
        let env = read("# a comment\nexport YOUTUBE_API_KEY='from dotenv'\n");
        assert!(env.check().is_ok());
        assert_eq!(env.text("YOUTUBE_API_KEY").expect("UTF-8"), Some("from dotenv"));
        let told = read("YOUTUBE_API_KEY hunter2 =\n").check().expect_err("a broken line").to_string();
        assert!(told.contains(".env") && !told.contains("hunter2"), "{told}");
        assert!(Env::from_dotenv(&directory.path().join("absent")).check().is_ok());
    }
}

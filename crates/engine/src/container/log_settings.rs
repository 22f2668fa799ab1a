//! `--log-driver` and `--log-opt`: whether a container's log is kept, and how much of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::Settings;

/// How a container's log is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// `json-file` (also where it is empty), `local` or `none`.
    pub driver: String,
    /// `--log-opt`.
    pub options: BTreeMap<String, String>,
}

/// When a log's file gives way to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotation {
    /// The file is no longer than this, unless a single line is.
    pub(super) bytes: u64,
    /// How many files there are at most, the one that is written among them.
    pub(super) files: usize,
}

/// Why a log cannot be kept like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogSettingsError {
    /// There is no such driver.
    #[error(
        "error looking up logging plugin {0}: plugin {0:?} not found; json-file, local and none are there"
    )]
    Driver(String),
    /// The driver does not know the option.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    Option {
        /// The option.
        option: String,
        /// The driver.
        driver: String,
    },
    /// There is no such mode.
    #[error("logger: logging mode not supported: {0}")]
    Mode(String),
    /// A buffer is there only in one mode.
    #[error("logger: max-buffer-size option is only supported with 'mode=non-blocking'")]
    Buffer,
    /// The option cannot be kept.
    #[error("log option {0} is not supported")]
    NotSupported(String),
    /// No size.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// No number of files.
    #[error("invalid value for max-file: '{0}': it must be a number from 1 on")]
    Files(String),
    /// Files are counted only where they have a size.
    #[error("invalid options: max-file is set without max-size")]
    FilesWithoutSize,
}

const KNOWN: [&str; 8] =
    ["compress", "env", "env-regex", "labels", "labels-regex", "max-file", "max-size", "tag"];

impl LogSettings {
    /// The driver's name.
    pub fn driver(&self) -> &str {
        if self.driver.is_empty() { "json-file" } else { &self.driver }
    }

    /// Whether nothing is kept.
    pub fn is_nowhere(&self) -> bool {
        self.driver == "none"
    }

    /// Whether the log can be kept like that.
    ///
    /// # Errors
    /// [`LogSettingsError`], where not.
    pub fn check(&self) -> Result<(), LogSettingsError> {
        if !matches!(self.driver(), "json-file" | "local" | "none") {
            return Err(LogSettingsError::Driver(self.driver.clone()));
        }
        for (option, value) in &self.options {
            let is_known = KNOWN.contains(&option.as_str()) && !self.is_nowhere();
            let is_off = option == "compress" && value == "false";
            match option.as_str() {
                // the log is a file: nothing is there that a line could wait for, so nothing is thrown away
                "mode" if matches!(value.as_str(), "" | "blocking" | "non-blocking") => {}
                "mode" => return Err(LogSettingsError::Mode(value.clone())),
                "max-buffer-size" if self.options.get("mode").is_none_or(|mode| mode != "non-blocking") => {
                    return Err(LogSettingsError::Buffer);
                }
                "max-buffer-size" => {
                    bytes_of(value).ok_or_else(|| LogSettingsError::Size(value.clone()))?;
                }
                _ if !is_known => {
                    let driver = self.driver().to_owned();
                    return Err(LogSettingsError::Option { option: option.clone(), driver });
                }
                "env-regex" | "labels-regex" => {
                    return Err(LogSettingsError::NotSupported(option.clone()));
                }
                "compress" if !is_off => {
                    return Err(LogSettingsError::NotSupported(format!("{option}={value}")));
                }
                "tag" if value.contains("{{") => {
                    return Err(LogSettingsError::NotSupported(format!("{option}={value}")));
                }
                _ => {}
            }
        }
        self.rotation().map(drop)
    }

    /// When the log's file gives way to the next.
    pub(super) fn rotation(&self) -> Result<Option<Rotation>, LogSettingsError> {
        let is_local = self.driver == "local";
        let size = self.options.get("max-size").filter(|text| *text != "-1");
        let files = match self.options.get("max-file") {
            Some(text) => {
                let number = text.parse().ok().filter(|number| *number > 0);
                number.ok_or_else(|| LogSettingsError::Files(text.clone()))?
            }
            None if is_local => 5,
            None => 1,
        };
        let bytes = match size {
            Some(text) => bytes_of(text).ok_or_else(|| LogSettingsError::Size(text.clone()))?,
            None if is_local => 20 << 20,
            None if files > 1 => return Err(LogSettingsError::FilesWithoutSize),
            None => return Ok(None),
        };
        Ok(Some(Rotation { bytes, files }))
    }

    /// What each line says of the container.
    pub(super) fn attributes(&self, settings: &Settings) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        let named = |option: &str| {
            let names = self.options.get(option).map(String::as_str).unwrap_or_default();
            names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        for name in named("labels") {
            attributes.extend(settings.labels.get(&name).map(|value| (name.clone(), value.clone())));
        }
        for name in named("env") {
            let value = settings.env.iter().find_map(|entry| entry.strip_prefix(&format!("{name}=")));
            attributes.extend(value.map(|value| (name.clone(), value.to_owned())));
        }
        attributes.extend(self.options.get("tag").map(|tag| ("tag".to_owned(), tag.clone())));
        attributes
    }
}

/// A size as `10m`, `1k`, `5GB`.
pub(super) fn bytes_of(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let scale = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return None,
    };
    let bytes = digits.trim().parse::<u64>().ok()?.checked_mul(1 << scale)?;
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(driver: &str, options: &[(&str, &str)]) -> LogSettings {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        LogSettings { driver: driver.to_owned(), options: options.collect() }
    }

    #[test]
    fn what_can_be_kept() {
        let check = |driver: &str, options: &[(&str, &str)], expected: Option<(u64, usize)>| {
            let settings = settings(driver, options);
            assert_eq!(settings.check(), Ok(()), "{settings:?}");
            let rotation = settings.rotation().expect("checked");
            assert_eq!(rotation.map(|one| (one.bytes, one.files)), expected, "{settings:?}");
        };
        check("", &[], None);
        check("json-file", &[("max-size", "10m")], Some((10 << 20, 1)));
        check("json-file", &[("max-size", "1kb"), ("max-file", "3"), ("labels", "a")], Some((1024, 3)));
        check("local", &[], Some((20 << 20, 5)));
        check("none", &[], None);
    }

    #[test]
    fn what_cannot_be_kept() {
        let check = |driver: &str, option: (&str, &str), expected: &str| {
            let error = settings(driver, &[option]).check().expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("json-file", ("frob", "1"), "unknown log opt 'frob' for json-file log driver");
        check("none", ("max-size", "1m"), "unknown log opt");
        check("json-file", ("max-size", "x"), "invalid size: 'x'");
        check("json-file", ("max-file", "2"), "without max-size");
        check("json-file", ("max-file", "0"), "max-file");
        check("json-file", ("compress", "true"), "not supported");
        check("frob", ("a", "b"), "plugin \"frob\" not found");
    }
}

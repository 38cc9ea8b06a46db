//! The configuration file: one TOML file, one struct. `matcher.toml` beside this crate's manifest is the shipped one.

mod broker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use didar_protocol::id::{DeviceId, Env};
use serde::Deserialize;

use crate::files::{self, FileError};
pub use broker::{BrokerConfig, BrokerUrl, CommandError, Reload, UrlError};

/// The shipped configuration, which `serve --all-in-one` adapts.
pub const SHIPPED: &str = include_str!("../matcher.toml");

/// The matcher's configuration, checked. Paths are absolute, or relative to the working folder.
#[derive(Clone, Debug)]
pub struct Config {
    /// Trials or real persons.
    pub env: Env,
    /// This matcher's id.
    pub id: String,
    /// The models' manifest.
    pub models: PathBuf,
    /// The broker.
    pub broker: BrokerConfig,
    /// Key files.
    pub keys: KeysConfig,
    /// Where devices get their certificates; `None` where another authority gives them.
    pub enrolment: Option<EnrolmentConfig>,
    /// The database.
    pub store: StoreConfig,
    /// Challenges.
    pub challenge: ChallengeConfig,
    /// Limits of failures.
    pub limits: LimitsConfig,
    /// Thresholds of the comparison.
    pub comparison: ComparisonConfig,
    /// References.
    pub reference: ReferenceConfig,
    /// Pictures of documents.
    pub document: PictureConfig,
    /// Live pictures.
    pub live: PictureConfig,
}

/// Key files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Folder of the sealing keys.
    pub seal: PathBuf,
    /// How long a replaced sealing key still opens, hours; 1 to 720.
    pub overlap_hours: u32,
    /// The store's key.
    pub store: PathBuf,
}

/// The enrolment server (EST, RFC 7030).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentConfig {
    /// Address and port of the HTTPS server.
    pub listen: SocketAddr,
    /// Folder of the authority: `ca.pem` and `ca.key`.
    pub ca: PathBuf,
    /// The server's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PKCS#8 PEM.
    pub key: PathBuf,
    /// Life of a device's certificate, days; 1 to 825.
    pub days: u32,
}

/// The database.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// SQLite file.
    pub database: PathBuf,
}

/// Challenges.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeConfig {
    /// Life of a challenge, seconds; 10 to 600.
    pub lifetime_s: u32,
    /// Life of a verdict, seconds; 1 to 600.
    pub verdict_s: u32,
    /// Open challenges of one device; 1 to 64.
    pub open_per_device: u32,
}

/// Limits of failures within a window.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Length of the window, seconds; at least 1.
    pub window_s: u32,
    /// No-match and spoof of one person; 1 to 255.
    pub person_failures: u32,
    /// Inconclusive ones of one person; at least 1.
    pub person_unclear: u32,
    /// Everything but matches of one device, abandoned ones too; at least 1.
    pub device_failures: u32,
    /// Requests of one device at once, and a minute from then on; at least 1.
    pub requests_per_minute: u32,
    /// New audit records of one device at once: what it gathered without a link; at least 1.
    pub records_at_once: u32,
    /// New audit records of one device a minute from then on; at least 1.
    pub records_per_minute: u32,
    /// States of one device at once, and a minute from then on; at least 1.
    pub states_per_minute: u32,
    /// Hours of silence of a device after which an alarm tells of it; at least 1.
    pub away_hours: u32,
}

/// Thresholds of the comparison.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonConfig {
    /// Grants at the manifest's threshold `cosine_far_1e-N`; 1 to 9.
    pub false_match_exponent: u8,
    /// Least cosine x 1000 between a device's template and its picture; -1000 to 1000.
    pub continuity_milli: i32,
}

/// References.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceConfig {
    /// Longest life of a reference, days; at least 1.
    pub retention_days: u32,
}

/// What a picture must be like to become a reference.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureConfig {
    /// Least distance between the eyes, pixels.
    pub interocular_px: f32,
    /// Least sharpness, 0 to 100.
    pub sharpness: u8,
    /// Least exposure, 0 to 100.
    pub exposure: u8,
    /// Most yaw, pitch and roll, degrees.
    pub pose_deg: f32,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not TOML, or a key is missing, unknown or of the wrong type.
    #[error("{path}: {cause}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column and what is wrong.
        cause: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("{path}: {key} = {found}: {lawful} is lawful")]
    Range {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        lawful: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    env: EnvText,
    id: String,
    models: PathBuf,
    broker: BrokerConfig,
    keys: KeysConfig,
    enrolment: Option<EnrolmentConfig>,
    store: StoreConfig,
    challenge: ChallengeConfig,
    limits: LimitsConfig,
    comparison: ComparisonConfig,
    reference: ReferenceConfig,
    document: PictureConfig,
    live: PictureConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum EnvText {
    Test,
    Production,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Names file, line, key and what is lawful.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = files::read_text(path)?;
        let raw: Raw = toml::from_str(&text)
            .map_err(|cause| ConfigError::Syntax { path: path.to_owned(), cause: Box::new(cause) })?;
        let mut config = Self {
            env: match raw.env {
                EnvText::Test => Env::Test,
                EnvText::Production => Env::Production,
            },
            id: raw.id,
            models: raw.models,
            broker: raw.broker,
            keys: raw.keys,
            enrolment: raw.enrolment,
            store: raw.store,
            challenge: raw.challenge,
            limits: raw.limits,
            comparison: raw.comparison,
            reference: raw.reference,
            document: raw.document,
            live: raw.live,
        };
        config.check(path)?;
        config.root(path.parent().unwrap_or(Path::new(".")));
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let Self { challenge, limits, comparison, reference, .. } = self;
        let days = self.enrolment.as_ref().map_or(1, |enrolment| enrolment.days);
        let LimitsConfig {
            requests_per_minute,
            records_at_once,
            records_per_minute,
            states_per_minute,
            away_hours,
            ..
        } = *limits;
        let rates = [requests_per_minute, records_at_once, records_per_minute, states_per_minute, away_hours];
        let rules: [(bool, &'static str, String, &'static str); 13] = [
            ((1..=825).contains(&days), "enrolment.days", days.to_string(), "1 to 825"),
            (self.id.parse::<DeviceId>().is_ok(), "id", self.id.clone(), "1 to 40 of a-z, 0-9 and -"),
            (
                (1..=720).contains(&self.keys.overlap_hours),
                "keys.overlap_hours",
                self.keys.overlap_hours.to_string(),
                "1 to 720",
            ),
            (
                (10..=600).contains(&challenge.lifetime_s),
                "challenge.lifetime_s",
                challenge.lifetime_s.to_string(),
                "10 to 600",
            ),
            (
                (1..=600).contains(&challenge.verdict_s),
                "challenge.verdict_s",
                challenge.verdict_s.to_string(),
                "1 to 600",
            ),
            (
                (1..=64).contains(&challenge.open_per_device),
                "challenge.open_per_device",
                challenge.open_per_device.to_string(),
                "1 to 64",
            ),
            (limits.window_s > 0, "limits.window_s", limits.window_s.to_string(), "at least 1"),
            (
                (1..=255).contains(&limits.person_failures),
                "limits.person_failures",
                limits.person_failures.to_string(),
                "1 to 255",
            ),
            (
                limits.person_unclear > 0 && limits.device_failures > 0,
                "limits.person_unclear and device_failures",
                format!("{} and {}", limits.person_unclear, limits.device_failures),
                "at least 1 each",
            ),
            (
                rates.iter().all(|rate| *rate > 0),
                "limits: requests_per_minute, records_at_once, records_per_minute, states_per_minute and away_hours",
                format!("{rates:?}"),
                "at least 1 each",
            ),
            (
                (1..=9).contains(&comparison.false_match_exponent),
                "comparison.false_match_exponent",
                comparison.false_match_exponent.to_string(),
                "1 to 9",
            ),
            (
                (-1000..=1000).contains(&comparison.continuity_milli),
                "comparison.continuity_milli",
                comparison.continuity_milli.to_string(),
                "-1000 to 1000",
            ),
            (
                reference.retention_days > 0,
                "reference.retention_days",
                reference.retention_days.to_string(),
                "at least 1",
            ),
        ];
        for (holds, key, found, lawful) in rules {
            if !holds {
                return Err(ConfigError::Range { path: path.to_owned(), key, found, lawful });
            }
        }
        Ok(())
    }

    fn root(&mut self, folder: &Path) {
        let Self { models, broker, keys, enrolment, store, .. } = self;
        if let Some(EnrolmentConfig { ca, certificate, key, .. }) = enrolment {
            for path in [ca, certificate, key] {
                *path = folder.join(&*path);
            }
        }
        // A name without a slash is found by PATH.
        if let Some(Reload { program, .. }) = broker.reload.as_mut().filter(|reload| reload.program.contains('/')) {
            *program = folder.join(&*program).display().to_string();
        }
        let paths =
            [models, &mut broker.ca, &mut broker.certificate, &mut broker.key, &mut keys.store, &mut store.database];
        for path in paths.into_iter().chain([&mut keys.seal]).chain(&mut broker.revoked) {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("matcher.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_configuration_reads_and_its_paths_are_beside_it() {
        let config = read(SHIPPED).unwrap();
        assert_eq!(config.limits.person_failures, 5);
        assert_eq!(config.broker.url.to_string(), "mqtts://127.0.0.1:8883");
        assert!(config.keys.store.is_absolute());
        let program = |program: &str| {
            let line = format!("[broker]\nreload = [\"{program}\"]\n");
            read(&SHIPPED.replace("[broker]", &line)).unwrap().broker.reload.unwrap().program
        };
        assert_eq!(program("systemctl"), "systemctl");
        assert!(
            program("./tell-the-broker").starts_with('/') && program("./tell-the-broker").ends_with("tell-the-broker")
        );
    }

    #[test]
    fn a_wrong_key_or_value_is_named() {
        let swap = |from: &str, to: &str| read(&SHIPPED.replace(from, to)).unwrap_err();
        assert!(swap("window_s", "windows").contains("windows"));
        assert!(swap("env = \"test\"", "env = \"trial\"").contains("line 3"));
        assert!(swap("mqtts://", "mqtt://").contains("TLS only"));
        assert!(swap("[keys]", "reload = []\n[keys]").contains("reload = [] names no command"));
        assert!(swap("lifetime_s = 60", "lifetime_s = 5").contains("challenge.lifetime_s = 5: 10 to 600"));
        assert!(swap("id = \"matcher-1\"", "id = \"Matcher\"").contains("id = Matcher"));
    }
}

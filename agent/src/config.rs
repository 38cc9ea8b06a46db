//! The agent's configuration: one TOML file, one struct, and the facts of one board.
//!
//! **Here:** reading, and every rule that the file itself can break; errors name file, line, key and what is lawful.
//! **Not here:** opening what the file names (keys, models, sockets): `didar-agent check` does that through the modules
//! that own them. **Start** with [`Config::read`].
//!
//! Every key must be there: defaults are written once, in the shipped `firmware-config/agent.toml`, where an operator
//! can read them. Paths are relative to the file that names them.

mod board;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use board::{Board, CameraDevice, ColourSensor, LampsDevice, ScreenDevice};
use didar_protocol::id::{DeviceId, Env};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::attempt::{Language, Limits};
use crate::perception::Placement;
use crate::screen::Help;

/// The agent's configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Trials or real persons.
    pub env: Env,
    /// This device's id, as in its certificate.
    pub device: DeviceId,
    /// The folder of `device.key`, `device.pem` and `ca.pem`.
    pub site: PathBuf,
    /// The folder that the agent writes to: its outbox.
    pub state: PathBuf,
    /// The models' manifest.
    pub models: PathBuf,
    /// How to reach the broker.
    pub broker: Broker,
    /// Where the device gets its certificates; `None` where that is done by hand.
    pub enrolment: Option<Enrolment>,
    /// The kiosk application's door.
    pub local_api: LocalApi,
    /// The outbox.
    pub outbox: Outbox,
    /// How long each stage may take.
    pub limits: Limits,
    /// Where a face must be.
    pub placement: Placement,
    /// The screen's language between two persons.
    pub language: Language,
    /// Where a person finds help.
    pub help: Help,
    /// The board.
    pub board: Board,
}

/// How to reach the broker: any MQTT v5 broker that speaks TLS 1.3 with client certificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Name or address.
    pub host: String,
    /// Port, usually 8883.
    pub port: u16,
    /// The name in the broker's certificate.
    pub server_name: String,
}

/// The enrolment server (EST, RFC 7030): the matcher's, or another authority's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Name or address.
    pub host: String,
    /// Port, usually 8443.
    pub port: u16,
    /// The name in the server's certificate.
    pub server_name: String,
}

/// The kiosk application's door.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalApi {
    /// The Unix socket.
    pub socket: PathBuf,
}

/// The store of audit records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outbox {
    /// Most records without receipt; the default is 30 days at 1,000 attempts a day.
    pub records_max: u64,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong form.
    #[error("{path}: {cause}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column and reason.
        cause: Box<toml::de::Error>,
    },
    /// A value out of its range, or at odds with another.
    #[error("{path}: {key} is {found}; lawful: {lawful}")]
    Range {
        /// Which file.
        path: PathBuf,
        /// Which key, or keys.
        key: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        lawful: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentFile {
    env: EnvText,
    #[serde(deserialize_with = "parsed")]
    device: DeviceId,
    site: PathBuf,
    state: PathBuf,
    models: PathBuf,
    boards: PathBuf,
    board: String,
    broker: Broker,
    enrolment: Option<Enrolment>,
    local_api: LocalApi,
    outbox: Outbox,
    limits_ms: LimitsText,
    placement: Placement,
    screen: ScreenText,
    help: Help,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EnvText {
    Test,
    Production,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsText {
    position: u64,
    challenge: u64,
    judge: u64,
    reply: u64,
    show: u64,
    reconnect: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScreenText {
    language: Language,
}

impl Config {
    /// Reads and checks a configuration file and the board's file that it names.
    ///
    /// # Errors
    /// Names file, line or key, what it says and what is lawful.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file: AgentFile = read_toml(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let env = match file.env {
            EnvText::Test => Env::Test,
            EnvText::Production => Env::Production,
        };
        let limits = limits(path, &file.limits_ms)?;
        if !(1..=1_000_000).contains(&file.outbox.records_max) {
            return Err(range(path, "outbox.records_max", file.outbox.records_max, "1 to 1000000"));
        }
        if file.board.is_empty() || file.board.contains(['/', '.']) {
            return Err(range(path, "board", &file.board, "the name of a file in `boards`, without .toml"));
        }
        let board_path = folder.join(&file.boards).join(format!("{}.toml", file.board));
        let board = Board::read(&board_path, file.board, env)?;
        Ok(Self {
            env,
            device: file.device,
            site: folder.join(file.site),
            state: folder.join(file.state),
            models: folder.join(file.models),
            broker: file.broker,
            enrolment: file.enrolment,
            local_api: LocalApi { socket: folder.join(file.local_api.socket) },
            outbox: file.outbox,
            limits,
            placement: file.placement,
            language: file.screen.language,
            help: file.help,
            board,
        })
    }
}

fn limits(path: &Path, text: &LimitsText) -> Result<Limits, ConfigError> {
    let LimitsText { position, challenge, judge, reply, show, reconnect } = *text;
    let named = [
        ("limits_ms.position", position),
        ("limits_ms.challenge", challenge),
        ("limits_ms.judge", judge),
        ("limits_ms.reply", reply),
        ("limits_ms.show", show),
        ("limits_ms.reconnect", reconnect),
    ];
    for (key, found) in named {
        if !(100..=120_000).contains(&found) {
            return Err(range(path, key, found, "100 to 120000"));
        }
    }
    Ok(Limits {
        position: Duration::from_millis(position),
        challenge: Duration::from_millis(challenge),
        judge: Duration::from_millis(judge),
        reply: Duration::from_millis(reply),
        show: Duration::from_millis(show),
        reconnect: Duration::from_millis(reconnect),
    })
}

fn range(path: &Path, key: &'static str, found: impl ToString, lawful: &'static str) -> ConfigError {
    ConfigError::Range { path: path.to_path_buf(), key, found: found.to_string(), lawful }
}

fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_path_buf(), cause })?;
    toml::from_str(&text).map_err(|cause| ConfigError::Syntax { path: path.to_path_buf(), cause: Box::new(cause) })
}

fn parsed<'de, D: serde::Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests;

//! The broker's part of the configuration: where it is, and how it learns whom it must refuse.

use std::path::PathBuf;

use serde::Deserialize;

/// How to reach the broker, and how to tell it of revoked devices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `mqtts://HOST:PORT`
    pub url: BrokerUrl,
    /// The site's CA, PEM.
    pub ca: PathBuf,
    /// The matcher's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PKCS#8 PEM.
    pub key: PathBuf,
    /// Where a revocation writes the list of revoked certificates, PEM; `None` where somebody carries it there.
    pub revoked: Option<PathBuf>,
    /// What a revocation runs once the list is written.
    pub reload: Option<Reload>,
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// Name or address; checked against the broker's certificate.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A command that makes the broker read the list and end the open connection; run as it stands, by no shell.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Reload {
    /// The program: a path, or a name that PATH finds.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// A text that is no broker's address.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no broker address: write mqtts://HOST:PORT (TLS only)")]
pub struct UrlError(String);

/// A list that names no command.
#[derive(Debug, thiserror::Error)]
#[error("reload = [] names no command: write [\"PROGRAM\", \"ARGUMENT\"], or leave it out")]
pub struct CommandError;

impl TryFrom<String> for BrokerUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        let parsed = text.strip_prefix("mqtts://").and_then(|rest| {
            let (host, port) = rest.trim_end_matches('/').rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
        });
        parsed.ok_or(UrlError(text))
    }
}

impl std::fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "mqtts://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "mqtts://{}:{}", self.host, self.port)
        }
    }
}

impl TryFrom<Vec<String>> for Reload {
    type Error = CommandError;
    fn try_from(mut words: Vec<String>) -> Result<Self, CommandError> {
        if words.first().is_none_or(String::is_empty) {
            return Err(CommandError);
        }
        let arguments = words.split_off(1);
        words.pop().map(|program| Self { program, arguments }).ok_or(CommandError)
    }
}

//! What Mosquitto says: kept in a file of bounded length, and what in it somebody should hear of handed on.

use std::fs::{File, rename};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use didar_protocol::id::DeviceId;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::mpsc;

/// Longest log, bytes; the one before it is kept beside it.
const LOG_MAX: usize = 1024 * 1024;
/// Longest line that is kept, bytes.
const LINE_MAX: usize = 1024;

/// Whom the broker turned away before a word of MQTT was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turned {
    /// A certificate that is expired, not yet valid, revoked, or of another authority.
    Certificate,
    /// No certificate at all.
    NoCertificate,
    /// An older TLS than 1.3.
    OldTls,
}

impl Turned {
    /// In words, for an alarm.
    pub fn note(self) -> &'static str {
        match self {
            Self::Certificate => "the broker refused a certificate: expired, revoked, or of another authority",
            Self::NoCertificate => "the broker refused a client that shows no certificate",
            Self::OldTls => "the broker refused a client that offers an older TLS than 1.3",
        }
    }

    /// What a line of Mosquitto's log tells of it.
    fn of(line: &str) -> Option<Self> {
        // OpenSSL's texts, the same in versions 1.1.1 and 3.
        const TOLD: [(&str, Turned); 6] = [
            ("certificate verify failed", Turned::Certificate),
            ("peer did not return a certificate", Turned::NoCertificate),
            ("unsupported protocol", Turned::OldTls),
            ("version too low", Turned::OldTls),
            ("wrong version number", Turned::OldTls),
            ("no shared cipher", Turned::OldTls),
        ];
        TOLD.iter().find(|(text, _)| line.contains(text)).map(|(_, turned)| *turned)
    }
}

/// What somebody should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incident {
    /// A client was turned away.
    Turned(Turned),
    /// Another connection of this device took the place of one that was open.
    TakenOver(DeviceId),
}

impl Incident {
    fn of(line: &str) -> Option<Self> {
        let taken = || {
            let (_, rest) = line.split_once("Client ")?;
            let (client, _) = rest.split_once(" already connected, closing old connection")?;
            // A matcher or an operator is none.
            client.parse().ok().map(Self::TakenOver)
        };
        Turned::of(line).map(Self::Turned).or_else(taken)
    }
}

/// Reads what the broker says until it ends.
pub(super) async fn listen(said: impl AsyncRead + Unpin, log: PathBuf, incidents: mpsc::Sender<Incident>) {
    let mut lines = BufReader::new(said).split(b'\n');
    let mut file = File::create(&log).ok();
    let mut written = 0;
    while let Ok(Some(mut line)) = lines.next_segment().await {
        line.truncate(LINE_MAX);
        if let Some(incident) = Incident::of(&String::from_utf8_lossy(&line)) {
            // Whoever counts them needs no more than the channel holds.
            let _ = incidents.try_send(incident);
        }
        line.push(b'\n');
        if written + line.len() > LOG_MAX {
            file = begin_again(&log);
            written = 0;
        }
        written += line.len();
        // A full disk costs lines of the log, not the broker, which must never wait for its reader.
        let _ = file.as_mut().map(|file| file.write_all(&line));
    }
}

fn begin_again(log: &Path) -> Option<File> {
    let _ = rename(log, log.with_extension("log.1"));
    File::create(log).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn refusals_are_told_and_the_log_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("mosquitto.log");
        let (sender, mut turned) = mpsc::channel(8);
        let mut text = "1: OpenSSL Error[0]: error:0A000086:SSL routines::certificate verify failed\n\
             2: OpenSSL Error[0]: error:0A0000C7:SSL routines::peer did not return a certificate\n\
             3: Client connection from 127.0.0.1 failed: error:0A000102:SSL routines::unsupported protocol.\n\
             4: Client matcher:matcher-1 already connected, closing old connection.\n\
             5: Client kiosk-1 already connected, closing old connection.\n\
             6: Client closed\n"
            .to_owned();
        text += &format!("{}\n", "x".repeat(2000)).repeat(3000);
        listen(text.as_bytes(), log.clone(), sender).await;
        let mut told = Vec::new();
        while let Some(one) = turned.recv().await {
            told.push(one);
        }
        let turned = [Turned::Certificate, Turned::NoCertificate, Turned::OldTls].map(Incident::Turned);
        assert_eq!(told[..3], turned);
        assert_eq!(told[3..], [Incident::TakenOver("kiosk-1".parse().unwrap())]);
        assert!(std::fs::metadata(&log).unwrap().len() <= LOG_MAX as u64);
        assert!(folder.path().join("mosquitto.log.1").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

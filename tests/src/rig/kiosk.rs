//! The kiosk's files in the guest: identity, configuration, board.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{API_SOCKET, HOST};
use crate::site::KioskSite;

/// What differs from the shipped configuration.
pub struct Settings<'a> {
    /// Whose files.
    pub kiosk: &'a KioskSite,
    /// The broker's port on this host.
    pub broker_port: u16,
    /// Whether a face is ever near enough: if not, the agent looks and guides until the attempt is cancelled.
    pub near: Near,
    /// The board in `boards`.
    pub board: &'static str,
}

/// Whether a face can be near enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Near {
    /// As shipped.
    AsShipped,
    /// Never.
    Never,
}

/// Lays the kiosk's files out in `folder` and packs them for the guest: an archive that holds /didar.
///
/// # Errors
/// A file is missing, or `cpio`.
pub fn pack(settings: &Settings<'_>, root: &Path, folder: &Path) -> Result<PathBuf> {
    let home = folder.join("root/didar");
    if home.exists() {
        std::fs::remove_dir_all(&home)?;
    }
    for part in ["boards", "site", "state"] {
        std::fs::create_dir_all(home.join(part))?;
    }
    for file in ["device.key", "device.pem", "ca.pem"] {
        std::fs::copy(settings.kiosk.folder().join("site").join(file), home.join("site").join(file))
            .with_context(|| format!("the kiosk's {file}"))?;
    }
    for entry in std::fs::read_dir(root.join("firmware-config/boards"))?.flatten() {
        std::fs::copy(entry.path(), home.join("boards").join(entry.file_name()))?;
    }
    std::fs::write(home.join("agent.toml"), configuration(settings)?)?;
    archive(&folder.join("root"), &folder.join("kiosk.cpio"))
}

/// The shipped configuration with the rig's places in it. Times are the guest's: the wait for somebody else (challenge,
/// verdict, connection) is longer, because those live by a faster clock.
fn configuration(settings: &Settings<'_>) -> Result<String> {
    let mut agent: toml::Table = include_str!("../../../firmware-config/agent.toml").parse()?;
    agent["device"] = settings.kiosk.id().into();
    agent["board"] = settings.board.into();
    agent["broker"]["host"] = HOST.into();
    agent["broker"]["port"] = i64::from(settings.broker_port).into();
    agent["local_api"]["socket"] = API_SOCKET.into();
    agent["screen"]["language"] = "en".into();
    if settings.near == Near::Never {
        agent["placement"]["eyes_milli_min"] = 259.into();
    }
    for limit in ["position", "challenge", "judge", "reply", "reconnect"] {
        agent["limits_ms"][limit] = 100_000.into();
    }
    agent["limits_ms"]["show"] = 1_000.into();
    Ok(toml::to_string(&agent)?)
}

/// Packs a folder as the kernel wants it.
fn archive(folder: &Path, to: &Path) -> Result<PathBuf> {
    let packed = std::fs::File::create(to).with_context(|| format!("creating {}", to.display()))?;
    let status = Command::new("sh")
        .args(["-c", "find . -print0 | cpio --quiet -0 -o -H newc"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(packed)
        .status()
        .context("running cpio")?;
    if !status.success() {
        bail!("packing {} for the guest: {status}", folder.display());
    }
    Ok(to.to_path_buf())
}

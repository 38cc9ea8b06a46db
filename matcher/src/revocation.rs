//! Revoking a device, or the other certificates of one in quarantine: the matcher refuses them at once, the broker once it
//! has the new list and ends the open connection.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use didar_matcher::config::{Config, Reload};
use didar_matcher::ledger::{Entry, What};
use didar_matcher::site::{Site, list_revoked};
use didar_matcher::store::Store;
use didar_matcher::time;
use didar_protocol::id::DeviceId;

use crate::arguments::Place;
use crate::offline::{config_of, entry, open_store};
use crate::say;

/// Longest time the broker's command may take: a revoked device is to be gone within a minute.
const RELOAD_MAX: Duration = Duration::from_secs(60);
/// Where the broker's command finds the id of the device that was revoked, which is also its MQTT client's.
const DEVICE: &str = "DIDAR_DEVICE";

pub(crate) fn list(out: &Path, place: &Place) -> anyhow::Result<()> {
    let config = config_of(place)?;
    let mut store = open_store(&config)?;
    let listed = write(out, &config, place, &mut store)?;
    say(format_args!("wrote {}: {listed} revoked certificate(s)", out.display()))?;
    Ok(())
}

pub(crate) fn revoke(device: &DeviceId, place: &Place) -> anyhow::Result<()> {
    let config = config_of(place)?;
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    if !work.revoke_device(device, time::now_ms())? {
        bail!("there is no device {device}: see didar-matcher device list");
    }
    work.append(&Entry { device: Some(device.to_string()), ..entry(&config, What::DeviceRevoked) })?;
    work.commit()?;
    say(format_args!("device {device} is refused from now on"))?;
    tell_broker(device, "its certificate", &config, place, &mut store).with_context(|| {
        format!(
            "the matcher refuses {device}, but the broker may still let it in: remove the cause and revoke it again"
        )
    })
}

/// Tells the broker of a device whose other certificates were revoked when it got a new one.
pub(crate) fn replaced(device: &DeviceId, config: &Config, place: &Place, store: &mut Store) -> anyhow::Result<()> {
    tell_broker(device, "its other certificates", config, place, store).with_context(|| {
        // Adding it again would find nothing left to revoke, and tell nobody.
        let cure = match (&place.dir, &config.enrolment) {
            (Some(dir), _) => made_again(&Site::new(dir).revoked(), "--dir", dir),
            (None, Some(_)) => {
                let file = config.broker.revoked.as_deref().unwrap_or(Path::new("FILE"));
                format!("{}, and start the broker again", made_again(file, "--config", named(place)))
            }
            (None, None) => "give the broker your authority's list, and start it again".to_owned(),
        };
        format!(
            "device {device} is served and the matcher refuses its other certificates, but the broker may still let them \
             in: remove the cause, then {cure}"
        )
    })
}

/// The command that makes the list anew.
fn made_again(file: &Path, option: &str, place: &Path) -> String {
    format!("make the list: didar-matcher ca revoked --out {} {option} {}", file.display(), place.display())
}

/// `which` certificates of the device were revoked.
fn tell_broker(
    device: &DeviceId,
    which: &str,
    config: &Config,
    place: &Place,
    store: &mut Store,
) -> anyhow::Result<()> {
    match &place.dir {
        // The site itself starts its broker again.
        Some(dir) => {
            write(&Site::new(dir).revoked(), config, place, store)?;
        }
        None => {
            match &config.broker.revoked {
                Some(file) => {
                    let listed = write(file, config, place, store)?;
                    say(format_args!("wrote {}: {listed} revoked certificate(s)", file.display()))?;
                }
                None => say(by_hand(which, config, place))?,
            }
            match &config.broker.reload {
                Some(reload) => run(reload, device)?,
                None => say("start your broker again: until then it keeps the open connection of the device")?,
            }
        }
    }
    Ok(())
}

/// Writes the list of all revoked certificates; gives their number.
fn write(file: &Path, config: &Config, place: &Place, store: &mut Store) -> anyhow::Result<usize> {
    Ok(list_revoked(&authority(config, place)?, file, store, time::now_ms())?)
}

fn authority(config: &Config, place: &Place) -> anyhow::Result<PathBuf> {
    match (&place.dir, &config.enrolment) {
        (Some(dir), _) => Ok(Site::new(dir).ca()),
        (None, Some(enrolment)) => Ok(enrolment.ca.clone()),
        (None, None) => bail!(
            "the configuration names no authority that could sign the list ([enrolment] ca): revoke the certificate at the \
             authority that issued it, and give your broker the list that this one publishes"
        ),
    }
}

/// What the operator has to do where the configuration does not say where the broker's list is.
fn by_hand(which: &str, config: &Config, place: &Place) -> String {
    if config.enrolment.is_some() {
        format!("make your broker's list: didar-matcher ca revoked --out FILE --config {}", named(place).display())
    } else {
        format!("revoke {which} at your authority, and give your broker the list that it publishes")
    }
}

/// The configuration, as an operator can write it.
fn named(place: &Place) -> &Path {
    place.config.as_deref().unwrap_or(Path::new("matcher.toml"))
}

fn run(reload: &Reload, device: &DeviceId) -> anyhow::Result<()> {
    let Reload { program, arguments } = reload;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .env(DEVICE, device.as_str())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {program} (`reload` in [broker])"))?;
        match tokio::time::timeout(RELOAD_MAX, child.wait()).await {
            Ok(ended) => ended.with_context(|| format!("cannot wait for {program}")),
            Err(_) => bail!("{program} (`reload` in [broker]) did not end within {RELOAD_MAX:?}"),
        }
    })?;
    if !status.success() {
        bail!("{program} (`reload` in [broker]) failed: {status}");
    }
    say(format_args!("ran {program}"))?;
    Ok(())
}

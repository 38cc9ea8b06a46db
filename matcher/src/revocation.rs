//! Revoking a device: the matcher refuses it at once, the broker once it has the new list and ends the open connection.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use didar_matcher::ca::Ca;
use didar_matcher::config::{Config, Reload};
use didar_matcher::files;
use didar_matcher::ledger::{Entry, What};
use didar_matcher::site::Site;
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
    tell_broker(device, &config, place, &mut store).with_context(|| {
        format!(
            "the matcher refuses {device}, but the broker may still let it in: remove the cause and revoke it again"
        )
    })
}

fn tell_broker(device: &DeviceId, config: &Config, place: &Place, store: &mut Store) -> anyhow::Result<()> {
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
                None => say(by_hand(config, place))?,
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
    let ca = Ca::open(&authority(config, place)?)?;
    // Nobody else revokes until the list is written: of two at once, the later list never lacks the other's device.
    let work = store.begin()?;
    let revoked = work.revocations()?;
    files::write_public(file, &ca.revocation_list(&revoked, time::now_ms())?)?;
    Ok(revoked.len())
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
fn by_hand(config: &Config, place: &Place) -> String {
    let named = place.config.as_deref().unwrap_or(Path::new("matcher.toml")).display();
    if config.enrolment.is_some() {
        format!("make your broker's list: didar-matcher ca revoked --out FILE --config {named}")
    } else {
        "revoke its certificate at your authority, and give your broker the list that it publishes".to_owned()
    }
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

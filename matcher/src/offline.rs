//! Commands that need no broker: they work on the site's files and database, also while the matcher serves.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use didar_matcher::ca::{Ca, Validity};
use didar_matcher::config::Config;
use didar_matcher::est::desk;
use didar_matcher::files;
use didar_matcher::identity::seal_keys::{self, SealFile};
use didar_matcher::ledger::exported::{self, Unwritable};
use didar_matcher::ledger::{Checked, Entry, Head, LedgerError, What};
use didar_matcher::pki::{Certificate, Holder};
use didar_matcher::reference::{Source, VisionPortraits};
use didar_matcher::site::Site;
use didar_matcher::store::{EndedChain, Listed, Store, Waiting};
use didar_matcher::time;
use didar_matcher::tls;
use didar_protocol::id::{DeviceId, InitiatorId};
use zeroize::Zeroizing;

use crate::arguments::{CaCommand, ConsentCommand, DeviceCommand, EnrolArguments, KeysCommand, LedgerCommand, Place};
use crate::{revocation, say};

/// Largest picture file that `enrol` reads, bytes.
const PICTURE_MAX: u64 = 32 * 1024 * 1024;

pub(crate) fn config_of(place: &Place) -> anyhow::Result<Config> {
    let path = match (&place.config, &place.dir) {
        (Some(config), _) => config.clone(),
        (None, Some(dir)) => Site::new(dir).config(),
        (None, None) => bail!("say where: --dir DIR of an all-in-one site, or --config FILE"),
    };
    Ok(Config::read(&path)?)
}

pub(crate) fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(Store::open(&config.store.database, &config.keys.store, config.env)?)
}

pub(crate) fn entry(config: &Config, what: What) -> Entry {
    Entry { at_ms: time::now_ms(), what, matcher: config.id.clone(), ..Entry::default() }
}

pub(crate) fn enrol(arguments: &EnrolArguments) -> anyhow::Result<()> {
    let config = config_of(&arguments.place)?;
    let picture = read_picture(&arguments.picture)?;
    let mut portraits = VisionPortraits::load(&config)?;
    let reference = portraits
        .document(&picture)
        .with_context(|| format!("picture {} cannot become a reference", arguments.picture.display()))?;
    let now_ms = time::now_ms();
    let longest_ms = now_ms + u64::from(config.reference.retention_days) * 86_400_000;
    let expires_ms = match arguments.consent_until {
        Some(until) => {
            let end = until.to_zoned(jiff::tz::TimeZone::UTC).context("--consent-until")?.timestamp().as_millisecond();
            u64::try_from(end).unwrap_or(0).min(longest_ms)
        }
        None => longest_ms,
    };
    if expires_ms <= now_ms {
        bail!("--consent-until lies in the past: the reference would be destroyed at once");
    }
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    let subject = work.make_subject(&arguments.iin, now_ms)?;
    let person = Some(hex::encode(subject.person));
    // A face that was granted by an earlier picture need not be this one's.
    let replaced = work.forget_live(&subject.tag)?;
    if replaced > 0 {
        work.append(&Entry {
            person: person.clone(),
            number: Some(replaced as u64),
            note: Some("another document's picture takes its place".into()),
            ..entry(&config, What::Destroyed)
        })?;
    }
    let version = work.put_reference(&subject.tag, Source::Document, &reference, now_ms, expires_ms)?;
    let number = work.append(&Entry {
        person,
        number: Some(version),
        hash: Some(hex::encode(reference.model)),
        note: Some(format!("consent text {:?}", arguments.consent)),
        ..entry(&config, What::Enrolled)
    })?;
    work.commit()?;
    if replaced > 0 {
        store.settle()?;
    }
    say(format_args!("enrolled: version {version}, until {}, ledger line {number}", time::text(expires_ms)))?;
    Ok(())
}

fn read_picture(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let found = std::fs::metadata(path).with_context(|| format!("cannot read picture {}", path.display()))?.len();
    if found > PICTURE_MAX {
        bail!("picture {} has {found} bytes: at most {PICTURE_MAX} are read", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read picture {}", path.display()))?;
    Ok(Zeroizing::new(bytes))
}

pub(crate) fn ca_command(command: CaCommand) -> anyhow::Result<()> {
    let now_ms = time::now_ms();
    match command {
        CaCommand::Init { dir } => {
            Ca::init(&dir, now_ms)?;
            say(format_args!("made {}", dir.join(didar_matcher::ca::CERTIFICATE_FILE).display()))?;
        }
        CaCommand::SignDevice { csr, device, out, days, dir, ca } => {
            let folder = ca_folder(ca, dir)?;
            let request = files::read_text(&csr)?;
            let certificate = Ca::open(&folder)?
                .sign_device(&request, &device, Validity { issued_ms: now_ms, days })
                .with_context(|| csr.display().to_string())?;
            files::write_public(&out, &certificate)?;
            say(format_args!("signed {} for {days} days; register it with: didar-matcher device add", out.display()))?;
        }
        CaCommand::Revoked { out, place } => revocation::list(&out, &place)?,
        CaCommand::Operator { name, dir } => {
            let (certificate, key) = Site::new(&dir).add_operator(&name, now_ms)?;
            say(format_args!("made {} and {}", certificate.display(), key.display()))?;
        }
    }
    Ok(())
}

fn ca_folder(ca: Option<PathBuf>, dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match (ca, dir) {
        (Some(ca), _) => Ok(ca),
        (None, Some(dir)) => Ok(Site::new(&dir).ca()),
        (None, None) => bail!("say which CA: --dir DIR of an all-in-one site, or --ca FOLDER of ca.pem and ca.key"),
    }
}

pub(crate) fn device_command(command: DeviceCommand) -> anyhow::Result<()> {
    match command {
        DeviceCommand::Add { certificate, initiator, place } => add(&certificate, &initiator, &place)?,
        DeviceCommand::List { place } => {
            let mut store = open_store(&config_of(&place)?)?;
            let listed = store.look()?.devices()?;
            for listed in listed {
                let Listed { id, state, online, not_after_s, initiators } = listed;
                let online = if online { "connected" } else { "gone" };
                say(format_args!(
                    "{id}  {}  {online}  until {}  serves {initiators}",
                    state.name(),
                    time::text(not_after_s * 1000)
                ))?;
            }
        }
        DeviceCommand::Invite { device, initiator, hours, place } => invite(&device, &initiator, hours, &place)?,
        DeviceCommand::Pending { place } => pending(&place)?,
        DeviceCommand::Approve { device, fingerprint, initiator, place } => {
            approve(&device, &fingerprint, &initiator, &place)?;
        }
        DeviceCommand::Release { device, place } => release(&device, &place)?,
        DeviceCommand::NewChain { device, from, place } => new_chain(&device, from, &place)?,
        DeviceCommand::Revoke { device, place } => revocation::revoke(&device, &place)?,
    }
    Ok(())
}

fn add(path: &Path, initiators: &[InitiatorId], place: &Place) -> anyhow::Result<()> {
    let config = config_of(place)?;
    let pem = files::read_text(path)?;
    let found = Certificate::from_pem(&pem).with_context(|| path.display().to_string())?;
    let Holder::Device(device) = found.holder() else {
        bail!("{} is of {}, not of a device", path.display(), found.holder());
    };
    // Judged by its first second: one that has ended still vouches for the records of its time.
    let issued_ms = found.not_before_s() * 1000;
    found.check(&tls::read_ca(&config.broker.ca)?, issued_ms).with_context(|| path.display().to_string())?;
    if found.not_after_s() * 1000 <= time::now_ms() {
        let ended = time::text(found.not_after_s() * 1000);
        tracing::warn!(%device, ended, "this certificate has ended: the device is refused until it has a new one");
    }
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    let others = work.add_device(device, &found, initiators, time::now_ms())?;
    work.append(&Entry {
        device: Some(device.to_string()),
        hash: Some(hex::encode(found.thumbprint())),
        ..entry(&config, What::DeviceAdded)
    })?;
    work.commit()?;
    say(format_args!("device {device} is served"))?;
    // The device was in quarantine.
    if others > 0 {
        say(format_args!("its {others} other certificate(s) are refused from now on"))?;
        revocation::replaced(device, &config, place, &mut store)?;
    }
    Ok(())
}

fn invite(device: &DeviceId, initiators: &[InitiatorId], hours: u32, place: &Place) -> anyhow::Result<()> {
    let mut store = open_store(&config_of(place)?)?;
    let mut bytes = Zeroizing::new([0; 16]);
    getrandom::fill(&mut *bytes).context("the system gives no random bytes")?;
    let code = Zeroizing::new(hex::encode(*bytes));
    let until_ms = time::now_ms() + u64::from(hours) * 3_600_000;
    let work = store.begin()?;
    work.invite(device, &desk::code_hash(&code), initiators, until_ms)?;
    work.commit()?;
    // The one place where the code is ever shown.
    say(code.as_str())?;
    Ok(())
}

fn pending(place: &Place) -> anyhow::Result<()> {
    let mut store = open_store(&config_of(place)?)?;
    let waiting = store.look()?.waiting()?;
    for Waiting { device, fingerprint, since_ms } in waiting {
        say(format_args!("{device}  {}  since {}", hex::encode(fingerprint), time::text(since_ms)))?;
    }
    Ok(())
}

fn approve(device: &DeviceId, fingerprint: &str, initiators: &[InitiatorId], place: &Place) -> anyhow::Result<()> {
    let digits: String = fingerprint.chars().filter(char::is_ascii_hexdigit).collect();
    let mut wanted = [0; 32];
    hex::decode_to_slice(&digits, &mut wanted).context("--fingerprint has 64 hexadecimal digits")?;
    let mut store = open_store(&config_of(place)?)?;
    let work = store.begin()?;
    if !work.approve(device, &wanted, initiators, time::now_ms())? {
        bail!("no request of {device} with this fingerprint waits: see didar-matcher device pending");
    }
    work.commit()?;
    say(format_args!("{device} gets its certificate when it asks again, within some seconds"))?;
    Ok(())
}

fn release(device: &DeviceId, place: &Place) -> anyhow::Result<()> {
    let config = config_of(place)?;
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    if !work.release_device(device)? {
        bail!("device {device} is not in quarantine: see didar-matcher device list");
    }
    work.append(&Entry { device: Some(device.to_string()), ..entry(&config, What::DeviceReleased) })?;
    work.commit()?;
    say(format_args!(
        "device {device} is served again; if its key was copied, revoke it and enrol it with a new key; if its audit chain \
         forks, begin a new one: didar-matcher device new-chain {device}"
    ))?;
    Ok(())
}

fn new_chain(device: &DeviceId, from: Option<u64>, place: &Place) -> anyhow::Result<()> {
    let config = config_of(place)?;
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    let now_ms = time::now_ms();
    let Some(EndedChain { number, reached }) = work.begin_chain(device, from, now_ms)? else {
        bail!("there is no device {device}: see didar-matcher device list");
    };
    let chain = number + 1;
    let user = rustix::process::getuid().as_raw();
    let line = work.append(&Entry {
        device: Some(device.to_string()),
        number: Some(reached),
        chain: Some(chain),
        note: Some(format!(
            "chain {number} had reached record {reached}; begun by user {user} of the centre's machine"
        )),
        ..entry(&config, What::ChainBegun)
    })?;
    work.commit()?;
    say(format_args!(
        "device {device}: chain {number} stays as it is, up to record {reached}; chain {chain} begins, ledger line {line}"
    ))?;
    Ok(())
}

pub(crate) fn keys_command(command: KeysCommand) -> anyhow::Result<()> {
    let now_ms = time::now_ms();
    match command {
        KeysCommand::Rotate { signing, place } => {
            let keys = config_of(&place)?.keys;
            let made = seal_keys::rotate(&keys.seal, keys.overlap_hours, now_ms / 1000)?;
            say(format_args!("made {}; the one before it opens for {} hours", made.display(), keys.overlap_hours))?;
            if let Some(dir) = place.dir.filter(|_| signing) {
                Site::new(&dir).renew_matcher(now_ms)?;
                say("made a new signing key with its certificate")?;
            }
        }
        KeysCommand::List { place } => {
            let keys = config_of(&place)?.keys;
            for SealFile { path, made_s, ends_s } in seal_keys::list(&keys.seal, keys.overlap_hours)? {
                let ends =
                    ends_s.map_or("current".to_owned(), |ends_s| format!("opens until {}", time::text(ends_s * 1000)));
                say(format_args!("{}  made {}  {ends}", path.display(), time::text(made_s * 1000)))?;
            }
        }
    }
    Ok(())
}

pub(crate) fn consent_command(command: ConsentCommand) -> anyhow::Result<()> {
    let ConsentCommand::Withdraw { iin, place } = command;
    let config = config_of(&place)?;
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    let destroyed = work.withdraw(&iin, time::now_ms())?;
    let (person, references) = destroyed.map_or((None, 0), |gone| (Some(hex::encode(gone.person)), gone.references));
    let number = work.append(&Entry {
        person,
        number: Some(references as u64),
        note: Some("the person withdrew the consent".into()),
        ..entry(&config, What::Destroyed)
    })?;
    work.commit()?;
    store.settle()?;
    say(format_args!("destroyed {references} reference(s); receipt: ledger line {number}"))?;
    Ok(())
}

pub(crate) fn ledger_command(command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Verify { place, file, seen } => {
            let checked = match (file, seen) {
                (Some(file), seen) => verify_file(&file, seen).with_context(|| file.display().to_string())?,
                (None, None) => open_store(&config_of(&place)?)?.verify_ledger()?,
                (None, Some(seen)) => open_store(&config_of(&place)?)?.verify_ledger_since(seen)?,
            };
            let as_seen = seen.map_or(String::new(), |seen| format!("; line {} is as it was seen", seen.number));
            say(format_args!("{checked}{as_seen}"))?;
        }
        LedgerCommand::Export { place } => {
            let mut store = open_store(&config_of(&place)?)?;
            match store.export_ledger(std::io::stdout().lock()) {
                // Nobody reads any more: `ledger export | head` ends so.
                Err(LedgerError::Export(Unwritable::Output(cause))) if cause.kind() == ErrorKind::BrokenPipe => {}
                exported => exported?,
            }
        }
    }
    Ok(())
}

fn verify_file(path: &Path, seen: Option<Head>) -> anyhow::Result<Checked> {
    if path == Path::new("-") {
        return Ok(exported::verify(std::io::stdin().lock(), seen)?);
    }
    let file = File::open(path).context("cannot open the exported file")?;
    Ok(exported::verify(BufReader::new(file), seen)?)
}

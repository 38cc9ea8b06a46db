//! The centre of the chaos: one Mosquitto and two matchers over one database, each in a namespace of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use didar_matcher::ca::{Ca, Subject as Holder, Validity};
use didar_matcher::config::Config;
use didar_matcher::files;
use didar_matcher::ledger::{Entry, LedgerError};
use didar_matcher::store::Store;
use didar_protocol::id::Iin;

use super::net::{HUB, Network};
use super::victim::Victim;
use crate::process;
use crate::site::{KioskSite, Site};

/// The files of the centre, installed and not served yet.
pub(super) struct Installed {
    folder: PathBuf,
    pub(super) kiosks: Vec<KioskSite>,
    port: u16,
}

/// The centre's processes.
pub(super) struct Centre {
    pub(super) broker: Arc<Victim>,
    pub(super) matchers: [Arc<Victim>; 2],
    config: PathBuf,
}

/// What the chaos changes in the shipped configuration: limits are the subject of other tests and would only end attempts
/// early; a challenge that nobody answers is swept soon, so that the end need not be waited for.
const EDITS: &[(&str, &str, i64)] = &[
    ("limits", "person_failures", 255),
    ("limits", "person_unclear", 1_000_000),
    ("limits", "device_failures", 1_000_000),
    ("limits", "requests_per_minute", 1_000_000),
    ("limits", "states_per_minute", 1_000_000),
    ("challenge", "open_per_device", 64),
    ("challenge", "lifetime_s", 20),
];

/// Life of the second matcher's certificate, days: longer than any kiosk's clock is ahead.
const DAYS: u32 = 365;

impl Installed {
    /// Does what an installer does, on loopback: authority, keys, a person, the kiosks. Then everything is ended.
    pub(super) fn make(
        folder: &Path,
        manifest: &Path,
        sockets: &Path,
        kiosks: usize,
        person: (&Iin, &Path),
    ) -> Result<Self> {
        let site = Site::open_with(folder, manifest, &["--name", HUB, "--bind", "0.0.0.0"])?;
        site.enrol(person.0, person.1)?;
        let port = site.broker().port();
        let kiosks = (1..=kiosks)
            .map(|number| site.kiosk(&format!("kiosk-{number}"), manifest, sockets, port, 365))
            .collect::<Result<Vec<_>>>()?;
        let centre = site.centre();
        site.close()?;
        for kiosk in &kiosks {
            edit(&kiosk.config, |agent| {
                agent["broker"]["host"] = HUB.into();
                agent["limits_ms"]["show"] = 100.into();
            })?;
            // Pictures that come late because this machine is busy are no broken camera.
            edit(&kiosk.folder().join("boards/bridge.toml"), |board| board["sensor"]["stall_ms"] = 10_000.into())?;
        }
        let installed = Self { folder: centre, kiosks, port };
        installed.double_the_matcher()?;
        Ok(installed)
    }

    fn config(&self, matcher: u8) -> PathBuf {
        self.folder.join(if matcher == 1 { "matcher/matcher.toml" } else { "matcher/matcher-2.toml" })
    }

    /// A second matcher with a certificate of its own over the same database, and its lines in the broker's rules.
    fn double_the_matcher(&self) -> Result<()> {
        let url = format!("mqtts://{HUB}:{}", self.port);
        edit(&self.config(1), |matcher| {
            matcher.remove("enrolment");
            matcher["broker"]["url"] = url.into();
            for (table, key, value) in EDITS {
                matcher[*table][*key] = (*value).into();
            }
        })?;
        std::fs::copy(self.config(1), self.config(2)).context("copying the matcher's configuration")?;
        edit(&self.config(2), |matcher| {
            matcher["id"] = "matcher-2".into();
            matcher["broker"]["certificate"] = "matcher-2.pem".into();
            matcher["broker"]["key"] = "matcher-2.key".into();
        })?;
        let validity = Validity { issued_ms: didar_matcher::time::now_ms(), days: DAYS };
        let issued = Ca::open(&self.folder.join("ca"))?.issue(&Holder::Matcher("matcher-2".into()), validity)?;
        files::write_secret(&self.folder.join("matcher/matcher-2.key"), &issued.key_pem)?;
        files::write_public(&self.folder.join("matcher/matcher-2.pem"), &issued.certificate_pem)?;
        let acl = self.folder.join("broker/acl");
        let rules = files::read_text(&acl)?;
        let first = rules.find("user matcher:matcher-1").context("no matcher in the broker's rules")?;
        let lines = rules[first..].split("\n\n").next().unwrap_or_default().replace("matcher-1", "matcher-2");
        let (before, after) = rules.split_at(first);
        Ok(files::write_public(&acl, &format!("{before}{lines}\n\n{after}"))?)
    }

    /// The centre's processes, not started yet. The matchers' links are the first two of `network`.
    pub(super) fn centre(&self, network: &Network) -> Result<Centre> {
        let conf = self.folder.join("broker/mosquitto.conf");
        let broker = ["/usr/sbin/mosquitto".to_owned(), "-c".to_owned(), conf.display().to_string()];
        let broker = Victim::new("mosquitto", network.hub(), broker.into(), self.folder.join("mosquitto.log"))?;
        let program = process::sibling("didar-matcher")?.display().to_string();
        let matcher = |number: u8| {
            let order = vec![program.clone(), "serve".to_owned(), self.config(number).display().to_string()];
            let log = self.folder.join(format!("matcher-{number}.log"));
            let link = network.link(usize::from(number) - 1);
            Victim::new("didar-matcher", link.namespace(), order, log).map(Arc::new)
        };
        Ok(Centre { broker: Arc::new(broker), matchers: [matcher(1)?, matcher(2)?], config: self.config(1) })
    }
}

impl Centre {
    /// The ledger's entries, after its chain was verified. The matchers may run.
    pub(super) fn ledger(&self) -> Result<Vec<Entry>> {
        let config = Config::read(&self.config)?;
        let mut store = Store::open(&config.store.database, &config.keys.store, config.env)?;
        store.verify_ledger()?;
        let mut entries = Vec::new();
        store.each_line(|line| {
            entries.push(serde_json::from_str(&line.text).map_err(LedgerError::Entry)?);
            Ok(())
        })?;
        Ok(entries)
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut toml::Table)) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut table: toml::Table = text.parse()?;
    change(&mut table);
    std::fs::write(path, toml::to_string(&table)?).with_context(|| format!("writing {}", path.display()))
}

//! The one-machine site: a folder with CA, broker, matcher and operator, made where missing and never overwritten.
//!
//! ```text
//! DIR/ca/ca.pem ca.key                 the site's CA
//! DIR/broker/broker.pem broker.key     with mosquitto.conf, acl, mosquitto.log, written at every start
//! DIR/matcher/matcher.toml             the configuration, made once: edit it
//! DIR/matcher/matcher.pem matcher.key seal/ store.key didar.sqlite
//! DIR/operator/operator.pem .key       and further ones by `didar-matcher ca operator NAME --dir DIR`
//! ```

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::broker::{self, BrokerError, BrokerPlan};
use crate::ca::{Ca, CaError, DEVICE_DAYS, Issued, Subject, Validity};
use crate::config::{self, Config, ConfigError};
use crate::files::{self, FileError};
use crate::identity::{IdentityError, seal_keys};
use crate::pki::{self, PkiError};
use crate::store::{Store, StoreError, VaultError, make_store_key};
use crate::time;

/// The matcher's id on a one-machine site.
const MATCHER: &str = "matcher-1";
/// The operator whose certificate is made with the site.
pub const OPERATOR: &str = "operator";
/// How long the certificates of broker, matcher and operators live, days: renewed by a start after two thirds of it.
const OWN_DAYS: u32 = DEVICE_DAYS;

/// The folder of a one-machine site.
#[derive(Clone, Debug)]
pub struct Site {
    folder: PathBuf,
}

/// What the site is made with, the first time.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// Address that the broker listens on.
    pub bind: IpAddr,
    /// The broker's port; `None` keeps the configured one, or takes a free one the first time.
    pub port: Option<u16>,
    /// Further names or addresses for the broker's certificate.
    pub names: Vec<String>,
    /// The models' manifest.
    pub models: PathBuf,
}

/// Why there is no site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's key.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A certificate of the site's own cannot be read.
    #[error("{path}; delete it and a new one is made")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: PkiError,
    },
    /// An operator of this name has a certificate already.
    #[error("operator {0} has a certificate that is still good; each program that watches needs one of its own name")]
    Taken(String),
    /// The broker's port.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// What is made by this clock would not count.
    #[error("the clock says {now}, and the site's authority counts from {from} to {until}: set the clock")]
    Clock {
        /// The clock.
        now: String,
        /// The authority's first second.
        from: String,
        /// And its last.
        until: String,
    },
    /// By this clock the matcher's certificate has ended. A new one would let it act, also where the clock is wrong: by one that
    /// is a year ahead it would destroy every reference.
    #[error(
        "the clock says {now}, and {path} has ended: set the clock; or if that is right, make a new one with \
         didar-matcher keys rotate --signing --dir DIR"
    )]
    Ended {
        /// The certificate.
        path: PathBuf,
        /// The clock.
        now: String,
    },
    /// The folder cannot be found.
    #[error("cannot use folder {folder}")]
    Folder {
        /// Which one.
        folder: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The models' manifest is not there.
    #[error("models' manifest {0} not found: name it with --models FILE")]
    Models(PathBuf),
}

impl Site {
    /// A site's folder, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The folder of the CA.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca")
    }

    /// The site's CA certificate.
    pub fn ca_certificate(&self) -> PathBuf {
        self.ca().join(crate::ca::CERTIFICATE_FILE)
    }

    /// The matcher's configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join("matcher/matcher.toml")
    }

    /// The broker's list of revoked certificates. With a new one, a running site ends every connection within a second,
    /// and whoever is not on it comes back.
    pub fn revoked(&self) -> PathBuf {
        self.folder.join("broker/revoked.pem")
    }

    /// An operator's certificate and key.
    pub fn operator(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = self.folder.join("operator");
        (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
    }

    /// Makes what is missing, and says what the site is.
    ///
    /// # Errors
    /// Names the file that cannot be made or read.
    pub fn prepare(&self, wishes: &Wishes, now_ms: u64) -> Result<(Config, BrokerPlan), SiteError> {
        files::make_folder(&self.folder)?;
        let folder =
            self.folder.canonicalize().map_err(|cause| SiteError::Folder { folder: self.folder.clone(), cause })?;
        let site = Self { folder };
        for part in ["broker", "matcher", "operator"] {
            files::make_folder(&site.folder.join(part))?;
        }
        let ca = if site.ca_certificate().exists() { Ca::open(&site.ca())? } else { Ca::init(&site.ca(), now_ms)? };
        let ca_s = pki::validity(ca.certificate())
            .map_err(|cause| SiteError::Certificate { path: site.ca_certificate(), cause })?;
        if !ca_s.contains(&(now_ms / 1000)) {
            let [now, from, until] = [now_ms, ca_s.start() * 1000, ca_s.end() * 1000].map(time::text);
            return Err(SiteError::Clock { now, from, until });
        }
        let own = site.folder.join("matcher/matcher.pem");
        if own.exists() && pki::has_ended(&files::read_text(&own)?, now_ms).unwrap_or(false) {
            return Err(SiteError::Ended { path: own, now: time::text(now_ms) });
        }
        site.make_keys(&ca, wishes, now_ms)?;
        if !site.config().exists() {
            site.make_config(wishes)?;
        }
        let mut config = Config::read(&site.config())?;
        if let Some(port) = wishes.port {
            config.broker.url.port = port;
        }
        let broker = site.folder.join("broker");
        let plan = BrokerPlan {
            bind: wishes.bind,
            port: config.broker.url.port,
            ca: site.ca_certificate(),
            certificate: broker.join("broker.pem"),
            key: broker.join("broker.key"),
            revoked: site.revoked(),
            env: config.env,
            folder: broker,
        };
        if !site.revoked().exists() {
            files::write_public(&site.revoked(), &ca.revocation_list(&[], now_ms)?)?;
        }
        plan.write(&config.id, &site.operators()?)?;
        Ok((config, plan))
    }

    /// Issues a further operator's certificate; a running site lets them in within a second.
    ///
    /// # Errors
    /// When the name is taken or not lawful.
    pub fn add_operator(&self, name: &str, now_ms: u64) -> Result<(PathBuf, PathBuf), SiteError> {
        let ca = Ca::open(&self.ca())?;
        let (certificate, key) = self.operator(name);
        if !is_missing_or_due(&certificate, now_ms)? {
            return Err(SiteError::Taken(name.to_owned()));
        }
        make(&ca, &Subject::Operator(name.to_owned()), &certificate, &key, now_ms)?;
        Ok((certificate, key))
    }

    /// The names of the site's operators.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn operators(&self) -> Result<Vec<String>, FileError> {
        let folder = self.folder.join("operator");
        let failed = |cause| FileError::Read { path: folder.clone(), cause };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            // The same check as when the certificate was issued: no file name becomes a rule of the broker.
            let lawful = name.parse::<didar_protocol::id::DeviceId>().is_ok();
            if lawful && path.extension().is_some_and(|extension| extension == "pem") {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Gives the matcher a new signing key with a certificate; a running one uses it within a second.
    ///
    /// # Errors
    /// When the CA or a file cannot be used.
    pub fn renew_matcher(&self, now_ms: u64) -> Result<(), SiteError> {
        let ca = Ca::open(&self.ca())?;
        let [certificate, key] = ["matcher/matcher.pem", "matcher/matcher.key"].map(|path| self.folder.join(path));
        make(&ca, &Subject::Matcher(MATCHER.into()), &certificate, &key, now_ms)
    }

    fn make_keys(&self, ca: &Ca, wishes: &Wishes, now_ms: u64) -> Result<(), SiteError> {
        let mut names = vec!["127.0.0.1".to_owned(), "::1".to_owned(), "localhost".to_owned()];
        names.extend(host_name());
        names.extend(wishes.names.iter().cloned());
        names.sort();
        names.dedup();
        let (operator, operator_key) = self.operator(OPERATOR);
        let in_folder = |path: &str| self.folder.join(path);
        let own = [
            (Subject::Broker(names), in_folder("broker/broker.pem"), in_folder("broker/broker.key")),
            (Subject::Matcher(MATCHER.into()), in_folder("matcher/matcher.pem"), in_folder("matcher/matcher.key")),
            (Subject::Operator(OPERATOR.into()), operator, operator_key),
        ];
        for (subject, certificate, key) in own {
            if is_missing_or_due(&certificate, now_ms)? {
                make(ca, &subject, &certificate, &key, now_ms)?;
            }
        }
        let (seal, store) = (in_folder("matcher/seal"), in_folder("matcher/store.key"));
        if !seal.exists() {
            // Nothing to overlap with yet.
            seal_keys::rotate(&seal, 0, now_ms / 1000)?;
        }
        if !store.exists() {
            make_store_key(&store)?;
        }
        Ok(())
    }

    fn make_config(&self, wishes: &Wishes) -> Result<(), SiteError> {
        let models = wishes.models.canonicalize().map_err(|_| SiteError::Models(wishes.models.clone()))?;
        let port = match wishes.port {
            Some(port) => port,
            None => broker::free_port(wishes.bind)?,
        };
        let mut enrolment = broker::free_port(wishes.bind)?;
        while enrolment == port {
            enrolment = broker::free_port(wishes.bind)?;
        }
        let enrolment = std::net::SocketAddr::new(wishes.bind, enrolment);
        let text = config::SHIPPED
            .replace("127.0.0.1:8443", &enrolment.to_string())
            .replace("mqtts://127.0.0.1:8883", &format!("mqtts://127.0.0.1:{port}"))
            .replace("\"models/manifest.toml\"", &toml::Value::from(models.display().to_string()).to_string());
        Ok(files::write_public(&self.config(), &text)?)
    }
}

/// Writes the broker's list of revoked certificates, signed by the authority in the folder `authority`; gives their number.
///
/// # Errors
/// When database, authority or file cannot be used.
pub fn list_revoked(authority: &Path, file: &Path, store: &mut Store, now_ms: u64) -> Result<usize, SiteError> {
    let ca = Ca::open(authority)?;
    // Nobody else revokes until the list is written: of two at once, the later list never lacks the other's device.
    let work = store.begin()?;
    let revoked = work.revocations()?;
    files::write_public(file, &ca.revocation_list(&revoked, now_ms)?)?;
    Ok(revoked.len())
}

fn is_missing_or_due(certificate: &Path, now_ms: u64) -> Result<bool, SiteError> {
    if !certificate.exists() {
        return Ok(true);
    }
    let pem = files::read_text(certificate)?;
    pki::is_due(&pem, now_ms).map_err(|cause| SiteError::Certificate { path: certificate.to_owned(), cause })
}

/// The key first: without a certificate it is harmless, a certificate without its key would block the next start.
fn make(ca: &Ca, subject: &Subject, certificate: &Path, key: &Path, now_ms: u64) -> Result<(), SiteError> {
    let Issued { certificate_pem, key_pem } = ca.issue(subject, Validity { issued_ms: now_ms, days: OWN_DAYS })?;
    for old in [certificate, key] {
        if old.exists() {
            std::fs::remove_file(old).map_err(|cause| FileError::Write { path: old.to_owned(), cause })?;
        }
    }
    files::write_secret(key, &key_pem)?;
    files::write_public(certificate, &certificate_pem)?;
    Ok(())
}

fn host_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = text.trim();
    let lawful = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    (!name.is_empty() && name.len() <= 253 && name.chars().all(lawful)).then(|| name.to_owned())
}

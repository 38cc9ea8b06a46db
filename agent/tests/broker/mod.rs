//! A real Mosquitto on loopback with certificates made for one test. Share it by `#[path = "…/broker/mod.rs"] mod broker;`.

// Each test program uses the part that it needs.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};

/// A certificate authority of its own.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A key with its certificate, both PEM.
pub struct Issued {
    pub key: String,
    pub certificate: String,
    pub der: Vec<u8>,
}

/// From when until when a certificate counts.
#[derive(Clone, Copy)]
pub enum Validity {
    Now,
    Expired,
    Future,
    /// From 2020 until the first day of this year.
    Until(i32),
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    pub fn device(&self, id: &str, validity: Validity) -> Result<Issued> {
        self.client(id, &format!("urn:didar:device:{id}"), validity)
    }

    pub fn matcher(&self, id: &str) -> Result<Issued> {
        self.client(id, &format!("urn:didar:matcher:{id}"), Validity::Now)
    }

    pub fn client(&self, name: &str, uri: &str, validity: Validity) -> Result<Issued> {
        self.issue(name, SanType::URI(uri.try_into()?), ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    pub fn server(&self, name: &str, validity: Validity) -> Result<Issued> {
        self.issue(name, SanType::DnsName(name.try_into()?), ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    fn issue(&self, name: &str, san: SanType, usage: ExtendedKeyUsagePurpose, validity: Validity) -> Result<Issued> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![san];
        params.extended_key_usages = vec![usage];
        let (from, until) = match validity {
            Validity::Now => (2020, 2090),
            Validity::Expired => (2020, 2021),
            Validity::Future => (2080, 2090),
            Validity::Until(year) => (2020, year),
        };
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { key: key.serialize_pem(), certificate: certificate.pem(), der: certificate.der().to_vec() })
    }
}

impl Issued {
    /// Writes a device's site folder.
    pub fn write_site(&self, site: &Path, ca: &str) -> Result<()> {
        fs::create_dir_all(site)?;
        fs::write(site.join("device.key"), &self.key)?;
        fs::set_permissions(site.join("device.key"), fs::Permissions::from_mode(0o600))?;
        fs::write(site.join("device.pem"), &self.certificate)?;
        Ok(fs::write(site.join("ca.pem"), ca)?)
    }
}

/// A running Mosquitto; killed on drop. Its name in certificates is `localhost`.
pub struct Broker {
    pub port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Broker {
    /// Starts one in `folder` that shows `server` and accepts clients of the authority `clients` only.
    pub fn start(folder: &Path, server: &Issued, clients: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let port = free_port()?;
        for (file, text) in [("server.pem", &server.certificate), ("server.key", &server.key)] {
            fs::write(folder.join(file), text)?;
        }
        fs::write(folder.join("clients.pem"), clients)?;
        fs::write(
            folder.join("acl"),
            "pattern readwrite didar/1/test/device/%u/#\npattern read didar/1/test/matcher/keys\nuser matcher-1\ntopic readwrite didar/1/test/#\n",
        )?;
        let at = folder.display();
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let config = format!(
            "listener {port} 127.0.0.1\n{user}cafile {at}/clients.pem\ncertfile {at}/server.pem\nkeyfile {at}/server.key\n\
             tls_version tlsv1.3\nrequire_certificate true\nuse_identity_as_username true\nallow_anonymous false\n\
             acl_file {at}/acl\npersistence false\nlog_dest file {at}/log\n"
        );
        fs::write(folder.join("mosquitto.conf"), config)?;
        let mut broker = Self { port, folder: folder.to_owned(), child: None };
        broker.restart()?;
        Ok(broker)
    }

    /// Starts it again on the same port; nothing is remembered from before.
    pub fn restart(&mut self) -> Result<()> {
        let program = program()?;
        let mut child = Command::new(&program)
            .arg("-c")
            .arg(self.folder.join("mosquitto.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.child = Some(child);
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at once ({status}); {}", program.display(), self.log());
            }
            pause(Duration::from_millis(25));
        }
        child.kill()?;
        bail!("{} does not listen on port {}; {}", program.display(), self.port, self.log())
    }

    /// Kills it; its clients get a TCP reset or an end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops or continues the process: connections stay open and nothing answers.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let child = self.child.as_ref().context("the broker is not running")?;
        let pid = rustix::process::Pid::from_child(child);
        let signal = if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("mosquitto"))
        .find(|file| file.is_file())
        .context("mosquitto is not installed; run `make setup` or `apt-get install mosquitto`")
}

#[expect(clippy::disallowed_methods, reason = "waits for another process to listen")]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

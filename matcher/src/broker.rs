//! The one-machine default: a Mosquitto of our own, its configuration, its rules, its life.
//!
//! The broker never outlives the matcher: the child asks the kernel to end it with its parent before it becomes
//! Mosquitto ([`become_broker`]). Not here: other brokers, which the configuration names by address.

mod voice;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use didar_protocol::id::Env;
use rustix::process::{Pid, Signal};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::files::{self, FileError};
use crate::time;
pub use voice::{Incident, Turned};

/// The hidden subcommand that becomes the broker.
pub const LAUNCH: &str = "broker-run";
/// Largest MQTT packet: an attempt of 96 KiB with its header and properties.
pub const PACKET_MAX: u32 = 128 * 1024;
/// How long Mosquitto may take to listen, and to stop.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the broker's configuration says.
#[derive(Clone, Debug)]
pub struct BrokerPlan {
    /// Folder of mosquitto.conf, acl and mosquitto.log.
    pub folder: PathBuf,
    /// Address to listen on.
    pub bind: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// The site's CA.
    pub ca: PathBuf,
    /// The broker's certificate.
    pub certificate: PathBuf,
    /// The broker's key.
    pub key: PathBuf,
    /// The list of revoked certificates.
    pub revoked: PathBuf,
    /// Whose topics.
    pub env: Env,
}

/// A running Mosquitto; ended on drop.
pub struct Broker {
    child: Child,
    listener: JoinHandle<()>,
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not installed.
    #[error("mosquitto is neither in PATH nor in /usr/sbin; run: apt-get install mosquitto")]
    Absent,
    /// The port is taken.
    #[error("cannot listen on {address}: choose another port with --port, or end what listens there")]
    Port {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Which program.
        program: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// It ended by itself.
    #[error("mosquitto ended ({status}): {last}; see {log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last line of its log.
        last: String,
        /// Its log.
        log: PathBuf,
    },
    /// It does not listen.
    #[error("mosquitto does not listen on {address} after {PATIENCE:?}; see {log}")]
    Silent {
        /// Where.
        address: SocketAddr,
        /// Its log.
        log: PathBuf,
    },
}

impl BrokerPlan {
    fn conf(&self) -> PathBuf {
        self.folder.join("mosquitto.conf")
    }

    fn acl(&self) -> PathBuf {
        self.folder.join("acl")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("mosquitto.log")
    }

    /// Where a client on this machine reaches it.
    pub fn local_address(&self) -> SocketAddr {
        let address = match self.bind {
            IpAddr::V4(any) if any.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(any) if any.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            named => named,
        };
        SocketAddr::new(address, self.port)
    }

    /// Writes `mosquitto.conf` and `acl` anew.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, matcher: &str, operators: &[String]) -> Result<(), FileError> {
        self.write_acl(matcher, operators)?;
        files::write_public(&self.conf(), &self.conf_text())
    }

    /// Writes `acl` anew; [`Broker::reload`] makes it count.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_acl(&self, matcher: &str, operators: &[String]) -> Result<(), FileError> {
        files::write_public(&self.acl(), &acl(self.env, matcher, operators))
    }

    fn conf_text(&self) -> String {
        let Self { bind, port, ca, certificate, key, .. } = self;
        // Started by root, Mosquitto would become user `mosquitto`, who may not read the keys.
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let (ca, certificate, key) = (ca.display(), certificate.display(), key.display());
        let (acl, revoked) = (self.acl(), self.revoked.display());
        let acl = acl.display();
        format!(
            "# Written by didar-matcher at every start: changes are lost.\n\
             {user}\
             listener {port} {bind}\n\
             tls_version tlsv1.3\n\
             cafile {ca}\n\
             certfile {certificate}\n\
             keyfile {key}\n\
             crlfile {revoked}\n\
             # Nobody without a certificate of this site; its CN is the user's name and the client's id, so that no\n\
             # machine can speak as another or throw it off.\n\
             require_certificate true\n\
             use_identity_as_username true\n\
             use_username_as_clientid true\n\
             allow_anonymous false\n\
             acl_file {acl}\n\
             max_packet_size {PACKET_MAX}\n\
             # No message waits for TCP's acknowledgement of the one before, which takes 40 ms.\n\
             set_tcp_nodelay true\n\
             max_inflight_messages 20\n\
             # A thousand devices that come back at once say three or four things each.\n\
             max_queued_messages 4000\n\
             max_queued_bytes 8388608\n\
             max_keepalive 120\n\
             persistent_client_expiration 1d\n\
             # Devices and matchers say everything again after a restart: nothing about persons rests on this disk.\n\
             persistence false\n\
             log_dest stderr\n\
             log_type error\n\
             log_type warning\n\
             log_type notice\n\
             # Without them a client is not told of whose first word already fails TLS.\n\
             connection_messages true\n"
        )
    }

    /// Starts Mosquitto and waits until it listens. `launcher` is the `didar-matcher` program; whom the broker turns
    /// away is told on `turned`.
    ///
    /// Call from a thread that lives as long as the program: the kernel ends the broker with that thread.
    ///
    /// # Errors
    /// When Mosquitto is absent, the port is taken, or it ends or stays silent.
    pub async fn start(&self, launcher: &Path, incidents: mpsc::Sender<Incident>) -> Result<Broker, BrokerError> {
        let program = find_mosquitto().ok_or(BrokerError::Absent)?;
        let address = self.local_address();
        let bind = SocketAddr::new(self.bind, self.port);
        TcpListener::bind(bind).map_err(|cause| BrokerError::Port { address: bind, cause })?;
        let log = self.log();
        let started = |cause| BrokerError::Start { program: program.clone(), cause };
        let mut child = Command::new(launcher)
            .arg(LAUNCH)
            .arg(&program)
            .arg(self.conf())
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(started)?;
        let said = child.stderr.take().expect("its standard error is a pipe");
        let listener = tokio::spawn(voice::listen(said, log.clone(), incidents));
        let mut waited = Duration::ZERO;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = child.try_wait().map_err(started)? {
                // Its last words are in the pipe, which has ended with it.
                let _ = listener.await;
                return Err(BrokerError::Ended { status, last: last_line(&log), log });
            }
            if waited >= PATIENCE {
                return Err(BrokerError::Silent { address, log });
            }
            time::wait(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
        Ok(Broker { child, listener })
    }
}

impl Broker {
    /// The process id; `None` once it has ended.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Resolves when Mosquitto ends by itself.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Makes Mosquitto read its rules again.
    pub fn reload(&self) {
        if let Some(process) = self.pid()
            && let Err(cause) = rustix::process::kill_process(process, Signal::HUP)
        {
            tracing::warn!(%cause, "mosquitto could not be told to read its rules again");
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// Asks Mosquitto to end, waits, and kills it when it does not.
    pub async fn stop(mut self) {
        if let Some(process) = self.pid()
            && rustix::process::kill_process(process, Signal::TERM).is_ok()
            && tokio::time::timeout(PATIENCE, self.child.wait()).await.is_ok()
        {
            let _ = tokio::time::timeout(PATIENCE, self.listener).await;
            return;
        }
        if let Err(cause) = self.child.kill().await {
            tracing::warn!(%cause, "mosquitto could not be ended");
        }
    }
}

/// Becomes Mosquitto, tied to the life of the process that started us. Returns only when it fails.
pub fn become_broker(program: &Path, conf: &Path, parent: u32) -> io::Error {
    // SIGTERM, not SIGKILL: Mosquitto then closes its connections.
    if let Err(cause) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
        return cause.into();
    }
    // The parent may have died before the order above: then nobody would ever send the signal.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now != i32::try_from(parent).ok() {
        return io::Error::other("the matcher ended while its broker was starting");
    }
    std::process::Command::new(program).arg("-c").arg(conf).exec()
}

/// A port of `bind` that is free now.
///
/// # Errors
/// When the address cannot be bound at all.
pub fn free_port(bind: IpAddr) -> Result<u16, BrokerError> {
    let address = SocketAddr::new(bind, 0);
    TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map(|found| found.port())
        .map_err(|cause| BrokerError::Port { address, cause })
}

fn find_mosquitto() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("mosquitto"))
        .find(|program| program.is_file())
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// Who may say and hear what. `%u` is the certificate's CN.
///
/// A device's CN is its id; `matcher:…` and `operator:…` hold a colon, so that the patterns for devices lead nowhere
/// for them, and no device can be named like them. Mosquitto has no patterns for users: each operator has a line.
fn acl(env: Env, matcher: &str, operators: &[String]) -> String {
    let root = format!("didar/1/{env}");
    let mut text = format!(
        "# Written by didar-matcher: changes are lost.\n\
         user matcher:{matcher}\n\
         topic read {root}/device/+/up/#\n\
         topic write {root}/device/+/down/#\n\
         topic write {root}/matcher/keys\n\
         topic write {root}/operator/#\n\
         \n"
    );
    for name in operators {
        text += &format!("user operator:{name}\ntopic read {root}/operator/#\n\n");
    }
    text += &format!(
        "# A device: its own topics and the matchers' keys, nothing else.\n\
         pattern write {root}/device/%u/up/challenge-request\n\
         pattern write {root}/device/%u/up/attempt\n\
         pattern write {root}/device/%u/up/audit\n\
         pattern write {root}/device/%u/up/state\n\
         pattern read {root}/device/%u/down/#\n\
         pattern read {root}/matcher/keys\n"
    );
    text
}

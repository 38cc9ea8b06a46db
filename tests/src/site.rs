//! A centre and its kiosks on this machine, as real processes: the shipped programs, a real broker, real certificates.
//!
//! Here: what an installer does by hand, step by step. Not here: what stands before a kiosk's camera ([`crate::scene`]).
//! Start reading at [`Site::open`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use didar_agent::identity::Identity;
use didar_protocol::id::Iin;
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{self, Process};

/// A centre with its broker, serving.
pub struct Site {
    folder: PathBuf,
    programs: Programs,
    broker: SocketAddr,
    matcher: Process,
}

/// A kiosk's files: identity, configuration, sockets. The agent is started apart.
pub struct KioskSite {
    /// The agent's configuration.
    pub config: PathBuf,
    /// The socket of the local API.
    pub api: PathBuf,
    /// The socket of the simulated devices.
    pub bridge: PathBuf,
    /// What every run of the agent goes through first, as `env` reads it: `NAME=VALUE`, then a program that runs it.
    pub environment: Vec<String>,
    folder: PathBuf,
    agent: PathBuf,
    id: String,
}

/// An agent at work, and how long it took to get ready.
pub struct RunningAgent {
    /// The process.
    pub process: Process,
    /// From the start to `ready`, milliseconds, as the agent says it.
    pub ready_ms: u64,
}

struct Programs {
    agent: PathBuf,
    matcher: PathBuf,
}

/// The initiator that the kiosks of a test site serve.
pub const INITIATOR: &str = "egov-demo";
/// The broker's name as a process.
const BROKER: &str = "mosquitto";
/// How long a program may take to get ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

impl Site {
    /// Makes a site in `folder` (which is emptied) with the models of `manifest` and serves it.
    pub fn open(folder: &Path, manifest: &Path) -> Result<Self> {
        Self::open_with(folder, manifest, &[])
    }

    /// The same, with further arguments of `didar-matcher serve`.
    pub fn open_with(folder: &Path, manifest: &Path, further: &[&str]) -> Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let programs =
            Programs { agent: process::sibling("didar-agent")?, matcher: process::sibling("didar-matcher")? };
        Self::serve(folder, manifest, programs, further)
    }

    /// The same site, served anew after `edit` has changed the matcher's configuration.
    pub fn reconfigured(mut self, manifest: &Path, edit: impl FnOnce(&mut toml::Table)) -> Result<Self> {
        self.matcher.stop()?;
        let path = self.centre().join("matcher/matcher.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut table: toml::Table = text.parse()?;
        edit(&mut table);
        std::fs::write(&path, toml::to_string(&table)?).with_context(|| format!("writing {}", path.display()))?;
        Self::serve(&self.folder, manifest, self.programs, &[])
    }

    fn serve(folder: &Path, manifest: &Path, programs: Programs, further: &[&str]) -> Result<Self> {
        let centre = folder.join("centre");
        let arguments = [&["serve", "--all-in-one", path(&centre)?, "--models", path(manifest)?], further].concat();
        let matcher = Process::start("didar-matcher", &programs.matcher, &arguments, &folder.join("matcher.log"))?;
        let line = matcher
            .wait_for_line(READY, |line| line.starts_with("ready mqtts://"))
            .with_context(|| format!("see {}", folder.join("matcher.log").display()))?;
        let port = line.rsplit(':').next().and_then(|port| port.trim().parse::<u16>().ok());
        let Some(port) = port else { bail!("the matcher said {line:?}: no port") };
        Ok(Self { folder: folder.to_path_buf(), programs, broker: (Ipv4Addr::LOCALHOST, port).into(), matcher })
    }

    /// Where the broker listens.
    pub fn broker(&self) -> SocketAddr {
        self.broker
    }

    /// The centre's folder.
    pub fn centre(&self) -> PathBuf {
        self.folder.join("centre")
    }

    /// Runs `didar-matcher` with `arguments`; its output, or an error with what it said.
    pub fn matcher(&self, arguments: &[&str]) -> Result<String> {
        process::run(&self.programs.matcher, arguments)
    }

    /// Runs `didar-matcher judge` on a recorded transcript; what it printed, whatever the answer was.
    pub fn judge(&self, recording: &Path) -> Result<String> {
        let output = std::process::Command::new(&self.programs.matcher).arg("judge").arg(recording).output()?;
        if output.status.code().is_none_or(|code| code > 2) {
            bail!("judging {}: {}", recording.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Enrols a person from an identity document's picture.
    pub fn enrol(&self, iin: &Iin, picture: &Path) -> Result<String> {
        self.matcher(&["enrol", "--dir", path(&self.centre())?, "--iin", iin.as_str(), "--picture", path(picture)?])
    }

    /// Starts the operator's view, a JSON line per event.
    pub fn watch(&self) -> Result<Process> {
        let centre = self.centre();
        let arguments = ["watch", "--dir", path(&centre)?, "--json"];
        Process::start("didar-matcher watch", &self.programs.matcher, &arguments, &self.folder.join("watch.log"))
    }

    /// Installs a kiosk as an installer does: key and request on the device, certificate from the centre, registration.
    /// `broker_port` is what the kiosk connects to on loopback; `days` how long its certificate lives.
    pub fn kiosk(&self, id: &str, manifest: &Path, sockets: &Path, broker_port: u16, days: u32) -> Result<KioskSite> {
        let folder = self.folder.join(id);
        let site = folder.join("site");
        process::run(&self.programs.agent, &["enrol-request", "--device", id, "--site", path(&site)?])?;
        let (csr, pem) = (site.join("device.csr"), site.join("device.pem"));
        let centre = self.centre();
        let (centre, days) = (path(&centre)?.to_owned(), days.to_string());
        self.matcher(&[
            "ca",
            "sign-device",
            path(&csr)?,
            "--device",
            id,
            "--out",
            path(&pem)?,
            "--days",
            &days,
            "--dir",
            &centre,
        ])?;
        std::fs::copy(self.centre().join("ca/ca.pem"), site.join("ca.pem")).context("copying the site's CA")?;
        self.matcher(&["device", "add", "--certificate", path(&pem)?, "--initiator", INITIATOR, "--dir", &centre])?;
        let kiosk = self.kiosk_in(folder, id, sockets);
        kiosk.configure(manifest, broker_port, self.enrolment_port()?)?;
        Ok(kiosk)
    }

    /// A kiosk before its enrolment: a configuration that names this centre's servers, and the site's CA.
    pub fn bare_kiosk(&self, id: &str, manifest: &Path, sockets: &Path) -> Result<KioskSite> {
        let folder = self.folder.join(id);
        std::fs::create_dir_all(folder.join("site")).context("making the kiosk's folder")?;
        std::fs::copy(self.centre().join("ca/ca.pem"), folder.join("site/ca.pem")).context("copying the site's CA")?;
        let kiosk = self.kiosk_in(folder, id, sockets);
        kiosk.configure(manifest, self.broker.port(), self.enrolment_port()?)?;
        Ok(kiosk)
    }

    fn kiosk_in(&self, folder: PathBuf, id: &str, sockets: &Path) -> KioskSite {
        KioskSite {
            config: folder.join("agent.toml"),
            api: sockets.join(format!("{id}.api")),
            bridge: sockets.join(format!("{id}.bridge")),
            environment: Vec::new(),
            folder,
            agent: self.programs.agent.clone(),
            id: id.to_owned(),
        }
    }

    /// Where the centre gives certificates.
    fn enrolment_port(&self) -> Result<u16> {
        let config: toml::Table = std::fs::read_to_string(self.centre().join("matcher/matcher.toml"))?.parse()?;
        let listen = config["enrolment"]["listen"].as_str().context("enrolment.listen")?;
        Ok(listen.parse::<SocketAddr>()?.port())
    }

    /// The ledger holds an alarm that says this, at the latest two minutes later.
    pub fn wait_for_alarm(&self, words: &str) -> Result<()> {
        let centre = self.centre();
        for _ in 0..600 {
            let ledger = self.matcher(&["ledger", "export", "--dir", path(&centre)?])?;
            if ledger.lines().any(|line| line.contains("\"alarm\"") && line.contains(words)) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        bail!("no alarm says {words:?}")
    }

    /// Ends the broker as a power cut would; the centre starts it again.
    pub fn kill_broker(&self) -> Result<()> {
        let id = self.matcher.child(BROKER)?;
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("the broker's number")?;
        kill_process(id, Signal::KILL).context("killing the broker")
    }

    /// The broker as a process, and the matcher.
    pub fn processes(&self) -> Result<[u32; 2]> {
        Ok([self.matcher.child(BROKER)?, self.matcher.id()])
    }

    /// Ends the centre and its broker.
    pub fn close(mut self) -> Result<()> {
        let status = self.matcher.stop()?;
        if !status.success() {
            bail!("didar-matcher ended with {status}; see {}", self.folder.join("matcher.log").display());
        }
        Ok(())
    }
}

impl KioskSite {
    /// The shipped configuration with this kiosk's places in it.
    fn configure(&self, manifest: &Path, broker_port: u16, enrolment_port: u16) -> Result<()> {
        let mut agent: toml::Table = include_str!("../../firmware-config/agent.toml").parse()?;
        let mut board: toml::Table = include_str!("../../firmware-config/boards/bridge.toml").parse()?;
        agent["device"] = self.id.clone().into();
        agent["models"] = path(manifest)?.into();
        agent["broker"]["port"] = i64::from(broker_port).into();
        agent["enrolment"]["port"] = i64::from(enrolment_port).into();
        agent["local_api"]["socket"] = path(&self.api)?.into();
        agent["screen"]["language"] = "en".into();
        agent["limits_ms"]["show"] = 1200.into();
        board["camera"]["socket"] = path(&self.bridge)?.into();
        let boards = self.folder.join("boards");
        std::fs::create_dir_all(&boards)?;
        std::fs::write(boards.join("bridge.toml"), toml::to_string(&board)?)?;
        std::fs::write(&self.config, toml::to_string(&agent)?).context("writing the agent's configuration")
    }

    /// The file for a one-time code.
    pub fn code_file(&self) -> PathBuf {
        self.folder.join("site").join(didar_agent::est::CODE_FILE)
    }

    /// Puts a one-time code where the installer puts it.
    pub fn write_code(&self, code: &str) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.code_file())?;
        Ok(std::io::Write::write_all(&mut file, code.as_bytes())?)
    }

    /// Pins another authority.
    pub fn trust(&self, ca: &Path) -> Result<()> {
        std::fs::copy(ca, self.folder.join("site/ca.pem")).context("copying a CA")?;
        Ok(())
    }

    /// Runs `didar-agent enrol`; its output, or an error with what it said.
    pub fn enrol(&self) -> Result<String> {
        self.run(&["enrol"])
    }

    /// The same with a key that the machine's TPM makes.
    pub fn enrol_in_the_chip(&self) -> Result<String> {
        self.run(&["enrol", "--tpm"])
    }

    /// Starts `didar-agent enrol`, which waits for the operator.
    pub fn start_enrolment(&self) -> Result<Process> {
        let log = self.folder.join("enrol.log");
        Process::start("didar-agent enrol", "env".as_ref(), &self.order(&["enrol"], &[])?, &log)
    }

    /// Whether the certificate in the kiosk's folder is its own.
    pub fn check_identity(&self) -> Result<bool> {
        Ok(Identity::open(&self.folder.join("site"), &self.id.parse()?).is_ok())
    }

    /// Runs `didar-agent check`; its output, or an error with what it said.
    pub fn check(&self) -> Result<String> {
        self.run(&["check"])
    }

    /// Runs `didar-agent doctor --json` while the agent does not run; its findings, whatever they are.
    pub fn doctor(&self) -> Result<serde_json::Value> {
        let output = std::process::Command::new("env").args(self.order(&["doctor", "--json"], &[])?).output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("reading its findings; it said {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Runs `didar-agent calibrate` while the agent does not run; its output, or an error with what it said.
    pub fn calibrate(&self) -> Result<String> {
        self.run(&["calibrate"])
    }

    /// Starts the agent and waits until it is ready.
    pub fn start(&self) -> Result<RunningAgent> {
        self.start_in(&[])
    }

    /// The same under a supervisor that listens at `socket` and is content with a sign of life within three seconds.
    pub fn start_supervised(&self, socket: &Path) -> Result<RunningAgent> {
        self.start_in(&[&format!("NOTIFY_SOCKET={}", path(socket)?), "WATCHDOG_USEC=3000000"])
    }

    /// Starts what stands in for an agent that keeps failing.
    pub fn stand_in(&self) -> Result<Process> {
        let log = self.folder.join("out-of-service.log");
        Process::start("didar-agent", "env".as_ref(), &self.order(&["out-of-service"], &[])?, &log)
    }

    fn start_in(&self, environment: &[&str]) -> Result<RunningAgent> {
        let log = self.folder.join("agent.log");
        let process = Process::start("didar-agent", "env".as_ref(), &self.order(&["run"], environment)?, &log)?;
        let line = process
            .wait_for_line(READY, |line| line.starts_with("ready"))
            .with_context(|| format!("see {}", log.display()))?;
        let ready_ms = line.split_whitespace().find_map(|word| word.parse().ok());
        Ok(RunningAgent { process, ready_ms: ready_ms.with_context(|| format!("no time in {line:?}"))? })
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        process::run("env".as_ref(), &self.order(arguments, &[])?)
    }

    /// What `env` runs: the agent with `arguments` and this kiosk's configuration.
    fn order<'a>(&'a self, arguments: &[&'a str], environment: &[&'a str]) -> Result<Vec<&'a str>> {
        let own: Vec<&str> = self.environment.iter().map(String::as_str).collect();
        Ok([environment, &own, &[path(&self.agent)?], arguments, &["--config", path(&self.config)?]].concat())
    }

    /// The device's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Every file that the agent wrote or was given.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8 path", path.display()))
}

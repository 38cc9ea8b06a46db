//! `didar-agent`: arguments, real edges, exit codes. Everything else is in the library.

mod check;
mod doctor;
mod out_of_service;
mod start;
mod tried;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use didar_agent::config::{Config, LampsDevice};
use didar_agent::identity::KEY_FILE;
use didar_agent::identity::key::{self, Holder};
use didar_agent::lamps::guard;
use didar_agent::time::SystemClock;
use didar_agent::uplink::trust::TrustAnchor;
use didar_agent::{enrol, est};
use didar_protocol::id::{DeviceId, Hash};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// The kiosk's program: proves that a live face is in front of the camera and asks the matcher who it is.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// Serves until it is told to stop (SIGTERM, SIGINT). Prints `ready MS ms` when it serves.
    Run {
        /// The configuration.
        #[arg(long, default_value = "/etc/didar/agent.toml")]
        config: PathBuf,
    },
    /// Reads the configuration and everything that it names; says what is wrong, where, and what to do. Exit code 1 if
    /// anything is.
    Check {
        /// The configuration.
        #[arg(long, default_value = "/etc/didar/agent.toml")]
        config: PathBuf,
    },
    /// Tries every device and everything around it; says what is wrong and what to do. Uses camera and lamps: stop the
    /// agent first. Exit code 1 if anything is wrong.
    Doctor {
        /// The configuration.
        #[arg(long, default_value = "/etc/didar/agent.toml")]
        config: PathBuf,
        /// One JSON document instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Measures the delay from a lamp order to its light, and keeps it in the state folder for `run`. Stop the agent
    /// first.
    Calibrate {
        /// The configuration.
        #[arg(long, default_value = "/etc/didar/agent.toml")]
        config: PathBuf,
    },
    /// Presents the light code to people and to attack instruments, and keeps the judge's evidence for the liveness
    /// report: no picture, no template, no name. Stop the agent first.
    Trial(tried::TrialArguments),
    /// Makes this device's key where there is none, and gets a certificate for it from the enrolment server: with the
    /// one-time code in `enrol.code` of the site folder, or after the operator has approved the fingerprint shown.
    Enrol {
        /// The configuration.
        #[arg(long, default_value = "/etc/didar/agent.toml")]
        config: PathBuf,
        /// A key that is made now is made in the machine's TPM 2.0.
        #[arg(long)]
        tpm: bool,
    },
    /// Shows "out of service" and tells the centre why, until it is stopped: for a supervisor that has given up starting
    /// the agent.
    OutOfService {
        /// The configuration.
        #[arg(long, default_value = "/etc/didar/agent.toml")]
        config: PathBuf,
    },
    /// Waits until standard input ends, then makes the board's lamps dark. `run` starts it; nobody else needs it.
    #[command(hide = true)]
    LampGuard {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// Makes this device's key and a certificate request for it. The key never leaves the device.
    EnrolRequest {
        /// The device's id: 1 to 40 of a-z, 0-9 and -.
        #[arg(long)]
        device: DeviceId,
        /// The folder for `device.key` and `device.csr`.
        #[arg(long)]
        site: PathBuf,
        /// The key is made in the machine's TPM 2.0.
        #[arg(long)]
        tpm: bool,
    },
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DIDAR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let done = match Arguments::parse().order {
        Order::Run { config } => run(&config),
        Order::Check { config } => return check::check(&config, &mut std::io::stdout().lock()),
        Order::Doctor { config, json } => {
            let form = if json { doctor::Form::Json } else { doctor::Form::Text };
            return doctor::doctor(&config, form, &mut std::io::stdout().lock());
        }
        Order::Calibrate { config } => doctor::calibrate(&config, &mut std::io::stdout().lock()),
        Order::Trial(arguments) => tried::trial(&arguments, &mut std::io::stdout()),
        Order::OutOfService { config } => stand_in(&config),
        Order::LampGuard { config } => guard_lamps(&config),
        Order::Enrol { config, tpm } => enrol(&config, holder(tpm)),
        Order::EnrolRequest { device, site, tpm } => enrol_request(&device, &site, holder(tpm)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, for people: `didar-agent: what: why: because of what`.
            let _ = writeln!(std::io::stderr(), "didar-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(start::serve(path, config))
}

fn stand_in(path: &std::path::Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(out_of_service::stand_in(&config))
}

fn guard_lamps(config: &std::path::Path) -> anyhow::Result<()> {
    match Config::read(config)?.board.lamps {
        LampsDevice::Lines(lines) => Ok(guard::wait(std::io::stdin().lock(), &lines)?),
        LampsDevice::Bridge | LampsDevice::None => Ok(()),
    }
}

fn holder(tpm: bool) -> Holder {
    if tpm { Holder::Tpm } else { Holder::File }
}

fn enrol(config: &std::path::Path, holder: Holder) -> anyhow::Result<()> {
    let config = Config::read(config)?;
    let at = config.enrolment.as_ref().context("the configuration has no [enrolment]: enrol with enrol-request")?;
    if !config.site.join(KEY_FILE).exists() {
        enrol::request(&config.device, &config.site, holder)?;
    }
    let key = key::open(&config.site, &config.device)?;
    let trust = Arc::new(TrustAnchor::open(&config.site, Arc::new(SystemClock::new(0)))?);
    let show = |fingerprint: &Hash| {
        // Nobody may be looking; the request waits all the same.
        let _ = show_request(&config.device, fingerprint);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(est::enrol((at, &trust), &config.site, &config.device, key.as_ref(), show))?;
    writeln!(std::io::stdout().lock(), "enrolled     {}", config.device)?;
    Ok(())
}

/// Id and fingerprint, as text and as a QR code for the operator's telephone.
fn show_request(device: &DeviceId, fingerprint: &Hash) -> anyhow::Result<()> {
    let digits = hex::encode(fingerprint);
    let code = QrCode::new(format!("didar:enrol:{device}:{digits}"))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", code.render::<Dense1x2>().quiet_zone(true).build())?;
    writeln!(out, "device       {device}")?;
    writeln!(out, "fingerprint  {digits}")?;
    writeln!(out, "Waiting until the operator approves: didar-matcher device approve {device} --fingerprint {digits}")?;
    Ok(out.flush()?)
}

fn enrol_request(device: &DeviceId, site: &std::path::Path, holder: Holder) -> anyhow::Result<()> {
    let made = enrol::request(device, site, holder)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "request      {}", made.request.display())?;
    writeln!(out, "fingerprint  {}", hex::encode(made.key_fingerprint))?;
    writeln!(out, "Compare the fingerprint with the operator, who signs the request: didar-matcher ca sign-device")?;
    Ok(())
}

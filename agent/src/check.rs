//! `didar-agent check`: everything that the configuration names, one line each, with what is wrong and what to do.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use didar_agent::config::Config;
use didar_agent::edge::Clock;
use didar_agent::identity::{CertificateFacts, Identity};
use didar_agent::measure::calibration::Calibration;
use didar_agent::perception;
use didar_agent::time::SystemClock;
use didar_agent::uplink::trust::TrustAnchor;
use didar_vision::Models;

/// Checks the configuration at `path`, writes the findings to `out`.
pub(crate) fn check(path: &Path, out: &mut impl Write) -> ExitCode {
    let mut report = Report { out, failed: false };
    let config = report.line("configuration", Config::read(path).map_err(Into::into), |config| {
        format!("{}, device {}, board {}", path.display(), config.device, config.board.name)
    });
    if let Some(config) = config {
        report.line("calibration", calibration(&config), Clone::clone);
        report.line("certificate", certificate(&config), Clone::clone);
        report.line("trust anchor", anchor(&config), Clone::clone);
        report.line("models", models(&config), Clone::clone);
        report.line("state folder", writable(&config.state), Clone::clone);
        let socket = config.local_api.socket.parent().unwrap_or(Path::new("."));
        report.line("local API", writable(socket), Clone::clone);
    }
    if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

struct Report<'a, W: Write> {
    out: &'a mut W,
    failed: bool,
}

impl<W: Write> Report<'_, W> {
    fn line<T>(&mut self, what: &str, found: Result<T>, words: impl Fn(&T) -> String) -> Option<T> {
        // Nobody reads the report where it cannot be written; the exit code still tells.
        let written = match &found {
            Ok(value) => writeln!(self.out, "ok    {what}: {}", words(value)),
            Err(error) => writeln!(self.out, "WRONG {what}: {error:#}"),
        };
        self.failed |= found.is_err() || written.is_err();
        found.ok()
    }
}

fn certificate(config: &Config) -> Result<String> {
    let identity = Identity::open(&config.site, &config.device)?;
    let clock = SystemClock::new(0);
    validity(&identity.facts(), i64::try_from(clock.unix_ms(clock.now()) / 1000)?)
}

/// How long a certificate is good from `now_s` (seconds since 1970) on.
///
/// # Errors
/// It is not good then.
pub(crate) fn validity(facts: &CertificateFacts, now_s: i64) -> Result<String> {
    if facts.not_after_s <= now_s {
        bail!(
            "expired at {}; enrol the device again: didar-agent enrol, or enrol-request and didar-matcher ca sign-device",
            didar_agent::identity::day(facts.not_after_s)
        );
    }
    if facts.not_before_s > now_s {
        bail!("begins at {}: set the clock", didar_agent::identity::day(facts.not_before_s));
    }
    Ok(format!("{} days left", facts.days_left(now_s)))
}

fn calibration(config: &Config) -> Result<String> {
    Ok(match Calibration::read(&config.state, &config.board)? {
        Some(found) => {
            let day = didar_agent::identity::day(i64::try_from(found.measured_at)?);
            format!("{} us from order to light, measured on {day}, is used", found.delay_us)
        }
        None => format!("none; the board's {} us from order to light are used", config.board.facts.delay_us),
    })
}

fn anchor(config: &Config) -> Result<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    TrustAnchor::open(&config.site, clock)?;
    Ok(config.site.join("ca.pem").display().to_string())
}

fn models(config: &Config) -> Result<String> {
    let models = Models::load(&config.models)?;
    Ok(format!(
        "{} of {}, every hash as in the manifest",
        perception::references(&models).len(),
        config.models.display()
    ))
}

/// The folder exists, or can be made, and takes a file.
pub(crate) fn writable(folder: &Path) -> Result<String> {
    let say = || format!("{}: must be a folder that this user can write to", folder.display());
    std::fs::create_dir_all(folder).with_context(say)?;
    let probe = folder.join(".didar-check");
    std::fs::write(&probe, b"").with_context(say)?;
    std::fs::remove_file(&probe).with_context(say)?;
    Ok(folder.display().to_string())
}

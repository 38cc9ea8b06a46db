//! What is around the devices: clock, storage, certificate, broker.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use didar_agent::config::Config;
use didar_agent::edge::Clock;
use didar_agent::identity::{CertificateFacts, DAYS_FEW, Identity};
use didar_agent::time::SystemClock;
use didar_agent::uplink::trust::TrustAnchor;
use rustls_pki_types::ServerName;
use serde_json::json;

use super::Finding;
use crate::start::BUILT_MS;

/// `systemd-timesyncd` makes this file once the clock is set.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// Space that a full outbox and its log need, with room to spare.
const SPACE_LEAST: u64 = 200 * 1024 * 1024;
/// Longest wait for the broker.
const BROKER_WAIT: Duration = Duration::from_secs(3);

pub(super) fn clock() -> Finding {
    let clock = SystemClock::new(0);
    let now_ms = clock.unix_ms(clock.now());
    let synchronised = Path::new(SYNCHRONISED).exists();
    let day = didar_agent::identity::day(i64::try_from(now_ms / 1000).unwrap_or(i64::MAX));
    let figures = json!({ "unix_ms": now_ms, "synchronised": synchronised });
    if now_ms < BUILT_MS {
        let cure = "let it reach a time server (NTP), or put a battery to its clock";
        return Finding::bad("clock", format!("{day}: before this program was built"), cure, figures);
    }
    if !synchronised {
        let cure = "enable systemd-timesyncd, or ignore this if another time service runs";
        return Finding::doubtful("clock", format!("{day}; nothing says that it is synchronised"), cure, figures);
    }
    Finding::good("clock", day, figures)
}

pub(super) fn storage(config: &Config) -> Finding {
    let place = config.state.display();
    let written = crate::check::writable(&config.state);
    let space = rustix::fs::statvfs(&config.state).map(|found| found.f_bavail.saturating_mul(found.f_frsize));
    match (written, space) {
        (Err(error), _) => {
            let cure = "mount it writable, and give it to the agent's user";
            Finding::bad("storage", format!("{error:#}"), cure, json!({ "folder": config.state }))
        }
        (Ok(_), Ok(space)) => {
            let figures = json!({ "folder": config.state, "free_bytes": space });
            let says = format!("{place} takes files, {} MiB free", space / 1024 / 1024);
            if space < SPACE_LEAST {
                return Finding::bad("storage", says, "make room: audit records need 200 MiB", figures);
            }
            Finding::good("storage", says, figures)
        }
        (Ok(_), Err(error)) => {
            let says = format!("{place} takes files; its space is not known: {error}");
            Finding::doubtful("storage", says, "look at it with df", json!({ "folder": config.state }))
        }
    }
}

pub(super) fn certificate_and_broker(config: &Config) -> Vec<Finding> {
    let certificate = match Identity::open(&config.site, &config.device) {
        Ok(identity) => {
            let clock = SystemClock::new(0);
            certificate(&identity.facts(), i64::try_from(clock.unix_ms(clock.now()) / 1000).unwrap_or(i64::MAX))
        }
        Err(error) => Finding::bad("certificate", error.to_string(), "enrol the device (again)", json!({})),
    };
    let address = format!("{}:{}", config.broker.host, config.broker.port);
    let figures = json!({ "address": address });
    let broker = match reach(config) {
        Ok(()) => Finding::good("broker", format!("{address} answers, and its certificate is good"), figures),
        Err(error) => {
            let cure = "check the network, broker.host, broker.port and broker.server_name";
            Finding::bad("broker", format!("{address}: {error:#}"), cure, figures)
        }
    };
    vec![certificate, broker]
}

fn certificate(facts: &CertificateFacts, now_s: i64) -> Finding {
    let days_left = facts.days_left(now_s);
    let figures =
        json!({ "days_left": days_left, "not_before_s": facts.not_before_s, "not_after_s": facts.not_after_s });
    match crate::check::validity(facts, now_s) {
        Err(error) => {
            Finding::bad("certificate", error.to_string(), "set the clock, or enrol the device again", figures)
        }
        Ok(says) if days_left < DAYS_FEW => {
            let cure = "see that the agent reaches its enrolment server, which renews it, or enrol the device again";
            Finding::doubtful("certificate", says, cure, figures)
        }
        Ok(says) => Finding::good("certificate", says, figures),
    }
}

/// A connection as far as both certificates.
fn reach(config: &Config) -> Result<()> {
    let identity = Arc::new(Identity::open(&config.site, &config.device)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(0));
    let trust = Arc::new(TrustAnchor::open(&config.site, clock)?);
    let name = ServerName::try_from(config.broker.server_name.clone()).context("broker.server_name")?;
    let tls = trust.tls(&identity, name.clone())?;
    let mut addresses = (config.broker.host.as_str(), config.broker.port).to_socket_addrs().context("its name")?;
    let address = addresses.next().context("its name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, BROKER_WAIT).context("connecting")?;
    stream.set_read_timeout(Some(BROKER_WAIT))?;
    stream.set_write_timeout(Some(BROKER_WAIT))?;
    let mut connection = rustls::ClientConnection::new(Arc::new(tls), name).context("TLS")?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).context("TLS")?;
    }
    connection.send_close_notify();
    // The peer may have gone by now; what was to be learnt is known.
    let _ = connection.complete_io(&mut stream);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_its_days_as_figures_and_is_doubtful_when_they_are_few() {
        const DAY: i64 = 86_400;
        let (begin, end) = (1_800_000_000, 1_800_000_000 + 365 * DAY);
        let facts = CertificateFacts {
            thumbprint: [0; 32],
            not_before_s: begin,
            not_after_s: end,
            common_name: None,
            uris: Vec::new(),
            public_key: Vec::new(),
        };
        for (now_s, verdict, days) in [
            (begin - 1, "wrong", 365),
            (begin, "ok", 365),
            (end - 30 * DAY, "ok", 30),
            (end - 30 * DAY + 1, "doubtful", 29),
            (end - 1, "doubtful", 0),
            (end, "wrong", 0),
            (end + 1, "wrong", -1),
        ] {
            let found = certificate(&facts, now_s).json();
            assert_eq!((&found["verdict"], &found["figures"]["days_left"]), (&json!(verdict), &json!(days)), "{found}");
            assert_eq!(found["figures"]["not_after_s"], end);
            assert_eq!(found["do"] == "", verdict == "ok", "{found}");
        }
    }
}

//! A device's identity over its life, as processes: enrolment with a code and by approval, renewal, revocation.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use didar_agent::ask;
use didar_agent::attempt::Event;
use didar_agent::attempt::event::{Closing, Ending, Findings, Outcome};
use didar_agent::config::Config;
use didar_agent::edge::{Clock as _, Letter, Uplink as _};
use didar_agent::est::{self, Answer, EstError, Question};
use didar_agent::identity::Identity;
use didar_agent::identity::key::{self, Holder};
use didar_agent::outbox::DiskOutbox;
use didar_agent::time::SystemClock;
use didar_agent::uplink::fault::LinkFault;
use didar_agent::uplink::mqtt::{MqttUplink, Settings};
use didar_agent::uplink::trust::TrustAnchor;
use didar_agent::{enrol, renew};
use didar_matcher::store::Store;
use didar_protocol::id::{DeviceId, Env, Iin, RequestId};
use didar_protocol::message::{Challenge, VerdictOutcome};
use didar_protocol::reason::Reason;
use didar_tests::people::{self, ASTRONAUT};
use didar_tests::process::Process;
use didar_tests::site::{INITIATOR, KioskSite, Site};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(60);
const REQUEST: RequestId = RequestId::from_bytes([9; 16]);

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml")
}

/// A centre, and a kiosk that has a configuration and the site's CA, and nothing else.
fn bare(folder: &Path, id: &str) -> Result<(Site, KioskSite)> {
    let site = Site::open(&folder.join("run"), &manifest())?;
    let kiosk = site.bare_kiosk(id, &manifest(), folder)?;
    Ok((site, kiosk))
}

fn dir(site: &Site) -> Result<String> {
    Ok(site.centre().to_str().context("a UTF-8 path")?.to_owned())
}

/// What the agent's library needs to speak to the enrolment server as this kiosk.
struct Caller {
    config: Config,
    trust: Arc<TrustAnchor>,
}

impl Caller {
    fn new(kiosk: &KioskSite) -> Result<Self> {
        let config = Config::read(&kiosk.config)?;
        let trust = Arc::new(TrustAnchor::open(&config.site, Arc::new(SystemClock::new(0)))?);
        Ok(Self { config, trust })
    }

    async fn ask(&self, csr: &[u8], code: Option<(&DeviceId, &str)>) -> Result<Answer, EstError> {
        let at = self.config.enrolment.as_ref().expect("the kiosk's configuration names the server");
        est::simple_enrol(at, &self.trust, Question { csr, code }).await
    }

    async fn renew(&self, identity: &Arc<Identity>) -> Result<(), EstError> {
        let at = self.config.enrolment.as_ref().expect("the kiosk's configuration names the server");
        renew::renew(at, &self.trust, identity).await
    }
}

#[tokio::test]
async fn a_one_time_code_gets_one_key_its_certificate_and_renewal_follows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0001")?;
    let dir = dir(&site)?;
    let code = site.matcher(&["device", "invite", "kiosk-0001", "--initiator", INITIATOR, "--dir", &dir])?;
    kiosk.write_code(code.trim())?;
    assert!(kiosk.enrol()?.contains("enrolled     kiosk-0001"));
    assert!(!kiosk.code_file().exists(), "a spent code is deleted");
    assert!(kiosk.check_identity()?, "the certificate is the device's");
    assert!(site.matcher(&["device", "list", "--dir", &dir])?.contains("kiosk-0001  active"));

    // The code counts for that key only; the same key may ask again, because an answer can be lost.
    let caller = Caller::new(&kiosk)?;
    let device: DeviceId = "kiosk-0001".parse()?;
    let key = key::open(&caller.config.site, &device)?;
    let csr = enrol::request_der(&device, key.as_ref())?;
    // Also while others hold every connection that the server takes at once, and say nothing.
    let at = caller.config.enrolment.as_ref().context("the kiosk's configuration names the server")?;
    let address = (at.host.as_str(), at.port);
    let silent: Vec<_> = (0..70).map(|_| std::net::TcpStream::connect(address)).collect::<Result<_, _>>()?;
    assert!(matches!(caller.ask(&csr, Some((&device, code.trim()))).await?, Answer::Issued(_)));
    drop(silent);
    let elsewhere = folder.path().join("thief");
    enrol::request(&device, &elsewhere, Holder::File)?;
    let stolen = enrol::request_der(&device, key::open(&elsewhere, &device)?.as_ref())?;
    let refused = caller.ask(&stolen, Some((&device, code.trim()))).await;
    assert!(matches!(&refused, Err(EstError::Refused { status, .. }) if status.as_u16() == 401), "{refused:?}");
    let refused = caller.ask(&csr, Some((&device, "guessed"))).await;
    assert!(matches!(&refused, Err(EstError::Refused { status, .. }) if status.as_u16() == 401), "{refused:?}");
    site.wait_for_alarm("enrolment refused: the one-time code")?;

    // Renewal: the new certificate is used at once, by signatures and by the next handshake, and survives a restart.
    let identity = Arc::new(Identity::open(&caller.config.site, &device)?);
    let before = identity.facts();
    caller.renew(&identity).await?;
    assert_ne!(identity.facts().thumbprint, before.thumbprint);
    assert_eq!(Identity::open(&caller.config.site, &device)?.facts(), identity.facts());
    caller.renew(&identity).await.context("with the new certificate")?;

    // Where the next certificate could not be kept, none is asked for.
    let given = |site: &Site| -> Result<usize> {
        Ok(site.matcher(&["ledger", "export", "--dir", &dir])?.matches("device-added").count())
    };
    let (blocked, before) = (caller.config.site.join("device.new"), given(&site)?);
    std::fs::create_dir(&blocked)?;
    assert!(caller.renew(&identity).await.is_err());
    assert_eq!((given(&site)?, before), (before, 4));
    std::fs::remove_dir(&blocked)?;

    // Revoked: not even the enrolment server hears it any more, and the code that it once had opens no way back.
    site.matcher(&["device", "revoke", "kiosk-0001", "--dir", &dir])?;
    let refused = caller.ask(&csr, Some((&device, code.trim()))).await;
    assert!(matches!(&refused, Err(EstError::Refused { status, .. }) if status.as_u16() == 401), "{refused:?}");
    let refused = caller.renew(&identity).await;
    assert!(matches!(&refused, Err(EstError::Refused { words, .. }) if words.contains("revoked")), "{refused:?}");
    site.wait_for_alarm("gives no right to renew")?;
    site.close()
}

#[tokio::test]
async fn without_a_code_the_operator_approves_the_fingerprint_that_the_device_shows() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0002")?;
    let dir = dir(&site)?;
    let waiting: Process = kiosk.start_enrolment()?;
    let shown = waiting.wait_for_line(PATIENCE, |line| line.starts_with("fingerprint"))?;
    let shown = shown.trim_start_matches("fingerprint").trim().to_owned();
    let pending = site.matcher(&["device", "pending", "--dir", &dir])?;
    assert!(pending.contains("kiosk-0002") && pending.contains(&shown), "{pending}");

    let approve = |print: &str| {
        let arguments = ["device", "approve", "kiosk-0002", "--fingerprint", print, "--initiator", INITIATOR];
        site.matcher(&[&arguments[..], &["--dir", &dir]].concat())
    };
    assert!(approve(&"0".repeat(64)).is_err(), "another key's fingerprint");
    approve(&shown)?;
    waiting.wait_for_line(PATIENCE, |line| line.starts_with("enrolled     kiosk-0002"))?;
    assert!(kiosk.check_identity()?);

    // Revoked: the approval counts no more, and the same key waits for another.
    let caller = Caller::new(&kiosk)?;
    let device: DeviceId = "kiosk-0002".parse()?;
    let csr = enrol::request_der(&device, key::open(&caller.config.site, &device)?.as_ref())?;
    assert!(matches!(caller.ask(&csr, None).await?, Answer::Issued(_)));
    site.matcher(&["device", "revoke", "kiosk-0002", "--dir", &dir])?;
    assert!(matches!(caller.ask(&csr, None).await?, Answer::Held(_)));
    assert!(site.matcher(&["device", "list", "--dir", &dir])?.contains("kiosk-0002  revoked"));
    site.close()
}

#[tokio::test]
async fn a_server_of_another_authority_is_told_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0003")?;
    let other = Site::open(&folder.path().join("other"), &manifest())?;
    kiosk.trust(&other.centre().join("ca/ca.pem"))?;
    kiosk.write_code("secret")?;
    let said = kiosk.enrol().expect_err("a foreign server").to_string();
    assert!(said.contains("not issued by the pinned CA"), "{said}");
    assert!(kiosk.code_file().exists(), "the code is unspent");
    other.close()?;
    site.close()
}

/// The agent's own uplink, without camera and screen.
struct Link {
    identity: Arc<Identity>,
    clock: Arc<SystemClock>,
    uplink: MqttUplink,
    events: mpsc::Receiver<Event>,
    _outbox: DiskOutbox,
}

impl Link {
    fn open(caller: &Caller, device: &DeviceId, port: u16) -> Result<Self> {
        let identity = Arc::new(Identity::open(&caller.config.site, device)?);
        let outbox = DiskOutbox::open(&caller.config.site.join("outbox"), device.clone(), identity.clone(), 100)?;
        let clock = Arc::new(SystemClock::new(0));
        let settings = Settings {
            host: "127.0.0.1".to_owned(),
            port,
            server_name: "localhost".to_owned(),
            env: Env::Test,
            version: "0.1.0".to_owned(),
            boot: [1; 16],
            models: Vec::new(),
        };
        let (send, events) = mpsc::channel(64);
        let (trust, memory) = (Arc::clone(&caller.trust), outbox.memory());
        let uplink = MqttUplink::start(settings, identity.clone(), trust, memory, clock.clone(), send)?;
        Ok(Self { identity, clock, uplink, events, _outbox: outbox })
    }

    /// The first event that `wanted` makes something of, on an unbroken connection.
    async fn event<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> Result<T> {
        let heard = async {
            loop {
                let event = self.events.recv().await.context("the uplink has ended")?;
                anyhow::ensure!(!matches!(event, Event::UplinkDown), "the connection was lost");
                if let Some(found) = wanted(event) {
                    return Ok(found);
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.context("waiting for the centre")?
    }

    /// Asks for a challenge for `subject`.
    async fn challenge(&mut self, subject: &Iin) -> Result<Box<Challenge>> {
        let keys = self.event(|event| if let Event::Keys(keys) = event { Some(keys) } else { None }).await?;
        let (now, id) = (self.clock.now(), REQUEST);
        let now_ms = self.clock.unix_ms(now);
        let draft = people::draft(subject, INITIATOR.parse()?, now_ms);
        let request = ask::prepare(draft, self.identity.device(), id, (now_ms, self.uplink.connection()?))?;
        let key = keys.seal_keys.first().context("a sealing key")?;
        let bytes = ask::request(&request, self.identity.device(), key, self.identity.as_ref())?;
        self.uplink.send(Letter::RequestChallenge {
            request: id,
            hash: request.hash,
            bytes,
            expires: now.after(PATIENCE),
        })?;
        self.event(|event| if let Event::Challenged(challenge) = event { Some(challenge) } else { None }).await
    }

    /// Ends the attempt on this challenge; the centre's word on it.
    async fn end(&mut self, challenge: Box<Challenge>) -> Result<(VerdictOutcome, Reason)> {
        let (attempt, expires) = (challenge.attempt, self.clock.now().after(PATIENCE));
        let ending = Ending::Stopped { outcome: Outcome::Inconclusive, reason: Reason::TooFewFrames };
        let closing = Closing { request: REQUEST, challenge, findings: Findings::default(), ending, expires };
        let bytes = ask::attempt(closing, &[], self.clock.unix_ms(self.clock.now()), self.identity.as_ref())?;
        self.uplink.send(Letter::Attempt { request: REQUEST, attempt, bytes, expires })?;
        let verdict =
            self.event(|event| if let Event::Replied(verdict) = event { Some(verdict) } else { None }).await?;
        anyhow::ensure!(verdict.attempt == Some(attempt), "an answer to another attempt");
        Ok((verdict.outcome, verdict.reason))
    }
}

#[tokio::test]
async fn a_key_that_another_has_replaced_in_quarantine_is_let_in_by_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (site, kiosk) = bare(folder.path(), "kiosk-0006")?;
    let dir = dir(&site)?;
    let invite = || site.matcher(&["device", "invite", "kiosk-0006", "--initiator", INITIATOR, "--dir", &dir]);
    kiosk.write_code(invite()?.trim())?;
    kiosk.enrol()?;
    let (caller, device) = (Caller::new(&kiosk)?, "kiosk-0006".parse()?);
    let mut copied = Link::open(&caller, &device, site.broker().port())?;
    copied.event(|event| matches!(event, Event::UplinkUp).then_some(())).await?;

    let config = didar_matcher::config::Config::read(&site.centre().join("matcher/matcher.toml"))?;
    let mut store = Store::open(&config.store.database, &config.keys.store, config.env)?;
    let work = store.begin()?;
    work.quarantine_device(&device)?;
    work.commit()?;
    let (code, elsewhere) = (invite()?, folder.path().join("new"));
    enrol::request(&device, &elsewhere, Holder::File)?;
    let csr = enrol::request_der(&device, key::open(&elsewhere, &device)?.as_ref())?;
    assert!(matches!(caller.ask(&csr, Some((&device, code.trim()))).await?, Answer::Issued(_)));

    // The open connection ends, and no further one is made.
    let mut faults = copied.uplink.fault();
    let refused =
        |fault: &Option<LinkFault>| fault.as_ref().is_some_and(|fault| fault.to_string().contains("refused our"));
    tokio::time::timeout(PATIENCE, faults.wait_for(refused)).await.context("the broker lets the old key in")??;
    assert!(site.matcher(&["device", "list", "--dir", &dir])?.contains("kiosk-0006  active"));
    site.wait_for_alarm("out of quarantine with a new key")?;
    site.close()
}

#[tokio::test]
async fn a_renewal_in_the_middle_of_an_attempt_misses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let site = Site::open(&folder.path().join("run"), &manifest())?;
    let kiosk = site.kiosk("kiosk-0005", &manifest(), folder.path(), site.broker().port(), 365)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let subject = people::iin("900101", 4, 17).context("no lawful number")?;
    site.enrol(&subject, &people::portrait(&root, ASTRONAUT))?;
    let caller = Caller::new(&kiosk)?;
    let mut link = Link::open(&caller, &kiosk.id().parse()?, site.broker().port())?;
    let challenge = link.challenge(&subject).await?;
    let before = link.identity.facts().thumbprint;
    caller.renew(&link.identity).await?;
    assert_ne!(link.identity.facts().thumbprint, before);
    // Asked under the old certificate, answered under the new one, on the connection of the old one.
    assert_eq!(link.end(challenge).await?, (VerdictOutcome::Inconclusive, Reason::TooFewFrames));
    site.close()
}

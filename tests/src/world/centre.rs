//! The centre: two real matcher services over one real database, with scripted eyes. They die before or after a commit.

use std::path::Path;

use anyhow::{Context as _, Result};
use didar_matcher::ca::{Ca, Subject, Validity};
use didar_matcher::config::{self, Config};
use didar_matcher::decide::{Liveness, Witness};
use didar_matcher::files;
use didar_matcher::identity::{Identity, seal_keys};
use didar_matcher::ledger::Entry;
use didar_matcher::pki::Certificate;
use didar_matcher::policy::Rules;
use didar_matcher::reference::{PictureRefusal, Portraits, Reference, Source};
use didar_matcher::service::{Outgoing, Service};
use didar_matcher::store::{Store, make_store_key};
use didar_protocol::id::{DeviceId, Env, Hash, Iin};
use didar_protocol::light_code::Light;
use didar_protocol::message::{ModelRef, ModelRole, Motion, PassiveSummary, Template};
use didar_protocol::reason::Reason;
use didar_protocol::seal::SoftwareSigner;
use didar_protocol::topic::{Lane, Topic};
use didar_protocol::transcript::LightTranscript;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::people;
use crate::scene::Random;

/// The centre's time when a world begins, Unix milliseconds.
pub(super) const BEGIN_MS: u64 = 1_800_000_000_000;
/// The model that every template of this world is of.
pub(super) const MODEL: ModelRef = ModelRef { role: ModelRole::Embedding, sha256: [7; 32] };
/// The initiator.
pub(super) const INITIATOR: &str = "egov";
/// Persons with a reference. A person who was denied often must wait: there must be others.
pub(super) const PERSONS: u8 = 16;
/// What one person's face differs from the next one's by, degrees: beyond what is taken for the same.
const APART: u8 = 180 / PERSONS * 2;

/// What worlds share, because making it is slow: authority, keys, and one device's identity.
pub struct Site {
    folder: tempfile::TempDir,
    home: std::path::PathBuf,
    pub(super) device: DeviceId,
    pub(super) signer: std::sync::Arc<SoftwareSigner>,
    certificate: Certificate,
    pub(super) persons: Vec<Iin>,
}

/// The matchers of one world.
pub(super) struct Centre {
    services: [Service; 2],
}

impl Site {
    /// Makes one; in memory where the system has a file system for that.
    pub fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?;
        let ca = Ca::init(&folder.path().join("ca"), BEGIN_MS)?;
        let validity = Validity { issued_ms: BEGIN_MS, days: 3650 };
        let issued = ca.issue(&Subject::Matcher("matcher-1".into()), validity)?;
        let home = folder.path().join("matcher");
        files::make_folder(&home)?;
        files::write_secret(&home.join("matcher.key"), &issued.key_pem)?;
        std::fs::write(home.join("matcher.pem"), &issued.certificate_pem)?;
        seal_keys::rotate(&home.join("seal"), 0, BEGIN_MS / 1000)?;
        make_store_key(&home.join("store.key"))?;
        // The limits are the subject of other tests: here they would only end attempts early.
        let text = config::SHIPPED
            .replace("person_failures = 5 ", "person_failures = 255 ")
            .replace("person_unclear = 15 ", "person_unclear = 1000000 ")
            .replace("device_failures = 50 ", "device_failures = 1000000 ")
            .replace("requests_per_minute = 60 ", "requests_per_minute = 1000000 ")
            .replace("open_per_device = 4 ", "open_per_device = 64 ");
        std::fs::write(home.join("matcher.toml"), text)?;

        let device: DeviceId = "kiosk-1".parse()?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut request = CertificateParams::default();
        request.distinguished_name = DistinguishedName::new();
        request.distinguished_name.push(DnType::CommonName, device.as_str());
        let pem = ca.sign_device(&request.serialize_request(&key)?.pem()?, &device, validity)?;
        let certificate = Certificate::from_pem(&pem)?;
        let signer = SoftwareSigner::from_pkcs8_pem(&key.serialize_pem(), certificate.der())?;
        let persons = (0..PERSONS).map(|n| people::iin("900101", 3, 100 * u16::from(n)).context("a number"));
        let persons = persons.collect::<Result<_>>()?;
        Ok(Self { folder, home, device, signer: std::sync::Arc::new(signer), certificate, persons })
    }

    /// A centre that has never seen the device.
    pub(super) fn centre(&self, world: u64) -> Result<Centre> {
        let mut config = Config::read(&self.home.join("matcher.toml"))?;
        config.store.database = self.folder.path().join(format!("{world}.sqlite"));
        let mut first = self.service(&config)?;
        let work = first.store().begin()?;
        work.add_device(&self.device, &self.certificate, &[INITIATOR.parse()?], BEGIN_MS)?;
        for (number, iin) in (0..).zip(&self.persons) {
            let subject = work.make_subject(iin, BEGIN_MS)?;
            let reference =
                Reference { template: face(number), picture: photograph(number).into(), model: MODEL.sha256 };
            work.put_reference(&subject.tag, Source::Document, &reference, BEGIN_MS, BEGIN_MS * 2)?;
        }
        work.commit()?;
        let second = self.service(&config)?;
        Ok(Centre { services: [first, second] })
    }

    /// Forgets a world's database.
    pub(super) fn clear(&self, world: u64) {
        for tail in ["", "-wal", "-shm"] {
            // What is not there needs no removal.
            let _ = std::fs::remove_file(self.folder.path().join(format!("{world}.sqlite{tail}")));
        }
    }

    fn service(&self, config: &Config) -> Result<Service> {
        let store = Store::open(&config.store.database, &config.keys.store, config.env)?;
        let rules = Rules::new(config, 0.9);
        Ok(Service::new(Env::Test, store, Identity::load(config)?, rules, Box::new(Eyes), Box::new(Judge)))
    }
}

impl Centre {
    /// Gives a message to either matcher; what it says.
    pub(super) fn handle(
        &mut self,
        random: &mut Random,
        device: &DeviceId,
        lane: Lane,
        bytes: &[u8],
        now_ms: u64,
    ) -> Vec<Outgoing> {
        let topic = Topic::Device { env: Env::Test, device: device.clone(), lane };
        self.services[random.below(2) as usize].handle(&topic.to_string(), bytes, now_ms)
    }

    pub(super) fn sweep(&mut self, random: &mut Random, now_ms: u64) {
        self.services[random.below(2) as usize].sweep(now_ms);
    }

    pub(super) fn greeting(&mut self, now_ms: u64) -> Vec<Outgoing> {
        self.services[0].greeting(now_ms)
    }

    /// The ledger's entries, after its chain was verified.
    pub(super) fn ledger(&mut self) -> Result<Vec<Entry>> {
        let store = self.services[0].store();
        store.verify_ledger()?;
        let mut entries = Vec::new();
        store.each_line(|line| {
            entries.push(serde_json::from_str(&line.text)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Messages that the matchers could not handle or did not trust: here there must be none.
    pub(super) fn troubles(&self) -> u64 {
        self.services.iter().map(|service| service.counters().failed + service.counters().distrusted).sum()
    }
}

/// The template of person `number`: two are alike by the cosine of the angle between them.
pub(super) fn face(number: u8) -> Template {
    let angle = f32::from(number * (APART / 2)).to_radians();
    Template::new(1.0 / 127.0, vec![(angle.cos() * 127.0).round() as i8, (angle.sin() * 127.0).round() as i8])
}

/// A picture of person `number`.
pub(super) fn photograph(number: u8) -> Vec<u8> {
    vec![0xff, 0xd8, 0xff, 0xe0, number]
}

/// Sees in a picture the number that follows its JPEG marker.
struct Eyes;

impl Portraits for Eyes {
    fn reduce(&mut self, picture: &[u8], _: Source) -> Result<Template, PictureRefusal> {
        picture.get(4).map(|number| face(*number)).ok_or(PictureRefusal::NoFace { least: 40.0 })
    }

    fn similarity(&self, a: &Template, b: &Template) -> Option<f32> {
        let numbers = |t: &Template| didar_vision::Template::from_quantised(t.scale(), t.values()).ok();
        Some(numbers(a)?.similarity(&numbers(b)?))
    }

    fn model(&self) -> Hash {
        MODEL.sha256
    }

    fn knows(&self, models: &[ModelRef]) -> bool {
        models.contains(&MODEL)
    }
}

/// Says live where the transcript shows the code that the centre derived.
struct Judge;

impl Witness for Judge {
    fn judge(
        &self,
        transcript: &LightTranscript,
        code: &[Light],
        _: &PassiveSummary,
        _: &Motion,
        _: i16,
    ) -> (Liveness, Vec<(&'static str, i64)>) {
        let live = transcript.code == code;
        (if live { Liveness::Live } else { Liveness::Spoof(Reason::LightCodeWrong) }, Vec::new())
    }

    fn policy_version(&self) -> u32 {
        1
    }
}

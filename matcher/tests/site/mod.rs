//! A site without network for the tests: a CA, a matcher, devices, and a service with scripted eyes.

// Each test program uses the part that it needs.
#![allow(dead_code, unreachable_pub, missing_docs)]

use didar_matcher::ca::{Ca, Subject, Validity};
use didar_matcher::config::{self, Config};
use didar_matcher::decide::{Liveness, Witness};
use didar_matcher::identity::{Identity, seal_keys};
use didar_matcher::ledger::Line;
use didar_matcher::pki::Certificate;
use didar_matcher::policy::Rules;
use didar_matcher::reference::{PictureRefusal, Portraits, Reference, Source};
use didar_matcher::service::{Outgoing, Service};
use didar_matcher::store::{Store, make_store_key};
use didar_protocol::id::{AttemptId, DeviceId, Env, Hash, Iin, RequestId, sha256};
use didar_protocol::light_code::{CodeShape, Light, light_code};
use didar_protocol::message::{
    Attempt, AuditEntry, AuditRecord, Challenge, ChallengeRequest, Connection, Consent, ConsentMethod, Ending, Event,
    Kind, Message, ModelRef, ModelRole, Motion, Outcome, PassiveSummary, Picture, Quality, Receipt, State, Template,
    Verdict,
};
use didar_protocol::reason::Reason;
use didar_protocol::seal::{self, Entropy, SealKey, Signed, SoftwareSigner};
use didar_protocol::topic::{Lane, Topic};
use didar_protocol::transcript::{CameraFacts, LightTranscript, Spectrum};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub const NOW: u64 = 1_800_000_000_000;
pub const PERSON: &str = "900101300017";
pub const OTHER: &str = "850215400120";
pub const MODEL: Hash = [7; 32];
pub const DAY_S: u64 = 86_400;

/// Sees in a picture the number that follows its JPEG marker; two templates are alike as their angle is.
struct Eyes;

impl Portraits for Eyes {
    fn reduce(&mut self, picture: &[u8], _: Source) -> Result<Template, PictureRefusal> {
        match picture.get(4) {
            Some(255) | None => Err(PictureRefusal::NoFace { least: 40.0 }),
            Some(degrees) => Ok(template(*degrees)),
        }
    }

    fn similarity(&self, a: &Template, b: &Template) -> Option<f32> {
        let numbers = |t: &Template| didar_vision::Template::from_quantised(t.scale(), t.values()).ok();
        Some(numbers(a)?.similarity(&numbers(b)?))
    }

    fn model(&self) -> Hash {
        MODEL
    }

    fn knows(&self, models: &[ModelRef]) -> bool {
        models.iter().any(|model| model.sha256 == MODEL)
    }
}

/// Version of the centre's liveness policy; the devices' is another one.
pub const POLICY: u32 = 2;

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
        (if live { Liveness::Live } else { Liveness::Spoof(Reason::LightCodeWrong) }, vec![("wrong_slots", 0)])
    }

    fn policy_version(&self) -> u32 {
        POLICY
    }
}

/// A face that looks into this direction of an imagined plane: two are alike by the cosine of the angle between them.
pub fn template(degrees: u8) -> Template {
    let angle = f32::from(degrees).to_radians();
    Template::new(1.0 / 127.0, vec![(angle.cos() * 127.0).round() as i8, (angle.sin() * 127.0).round() as i8])
}

pub fn picture(degrees: u8) -> Vec<u8> {
    vec![0xff, 0xd8, 0xff, 0xe0, degrees]
}

/// A device with its key.
pub struct Kiosk {
    pub id: DeviceId,
    pub signer: SoftwareSigner,
    pub certificate_pem: String,
    pub key_pem: String,
    pub requests: u8,
}

/// A site.
pub struct Site {
    pub folder: TempDir,
    pub ca: Ca,
    pub config: Config,
    pub service: Service,
    pub seal_key: SealKey,
}

pub fn request_for(id: &str) -> (String, KeyPair) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    (params.serialize_request(&key).unwrap().pem().unwrap(), key)
}

pub fn kiosk(ca: &Ca, id: &str, issued_ms: u64, days: u32) -> Kiosk {
    let (request, key) = request_for(id);
    let device: DeviceId = id.parse().unwrap();
    let certificate_pem = ca.sign_device(&request, &device, Validity { issued_ms, days }).unwrap();
    let der = Certificate::from_pem(&certificate_pem).unwrap().der().to_vec();
    let key_pem = key.serialize_pem();
    let signer = SoftwareSigner::from_pkcs8_pem(&key_pem, &der).unwrap();
    Kiosk { id: device, signer, certificate_pem, key_pem, requests: 0 }
}

pub fn site() -> Site {
    site_with("")
}

/// A site whose configuration has `change` (`key = value` lines replaced by key) applied.
pub fn site_with(change: &str) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let ca = Ca::init(&root.join("ca"), NOW).unwrap();
    let matcher = ca.issue(&Subject::Matcher("matcher-1".into()), Validity { issued_ms: NOW, days: 3650 }).unwrap();
    let home = root.join("matcher");
    didar_matcher::files::make_folder(&home).unwrap();
    didar_matcher::files::write_secret(&home.join("matcher.key"), &matcher.key_pem).unwrap();
    std::fs::write(home.join("matcher.pem"), &matcher.certificate_pem).unwrap();
    seal_keys::rotate(&home.join("seal"), 0, NOW / 1000).unwrap();
    make_store_key(&home.join("store.key")).unwrap();
    let mut text = config::SHIPPED.to_owned();
    if let Some((key, value)) = change.split_once('=') {
        let line = text.lines().find(|line| line.starts_with(key.trim())).unwrap().to_owned();
        text = text.replace(&line, &format!("{} = {}", key.trim(), value.trim()));
    }
    std::fs::write(home.join("matcher.toml"), text).unwrap();
    let config = Config::read(&home.join("matcher.toml")).unwrap();
    let service = service(&config);
    let seal_key = Identity::load(&config).unwrap().seal_public().swap_remove(0);
    Site { folder, ca, config, service, seal_key }
}

/// The service of this configuration, with scripted eyes; opened again it remembers.
pub fn service(config: &Config) -> Service {
    let store = Store::open(&config.store.database, &config.keys.store, config.env).unwrap();
    let identity = Identity::load(config).unwrap();
    Service::new(Env::Test, store, identity, Rules::new(config, 0.4), Box::new(Eyes), Box::new(Judge))
}

/// Keeps a person's reference as it is made from a document.
pub fn enrol_with(service: &mut Service, iin: &str, degrees: u8, now_ms: u64) {
    let iin: Iin = iin.parse().unwrap();
    let reference = Reference { template: template(degrees), picture: Zeroizing::new(picture(degrees)), model: MODEL };
    let work = service.store().begin().unwrap();
    let subject = work.make_subject(&iin, now_ms).unwrap();
    work.put_reference(&subject.tag, Source::Document, &reference, now_ms, now_ms + 400 * DAY_S * 1000).unwrap();
    work.commit().unwrap();
}

impl Site {
    pub fn kiosk(&mut self, id: &str) -> Kiosk {
        let kiosk = kiosk(&self.ca, id, NOW, 365);
        self.add(&kiosk);
        kiosk
    }

    pub fn add(&mut self, kiosk: &Kiosk) {
        let certificate = Certificate::from_pem(&kiosk.certificate_pem).unwrap();
        let work = self.service.store().begin().unwrap();
        work.add_device(&kiosk.id, &certificate, &["egov".parse().unwrap()], NOW).unwrap();
        work.commit().unwrap();
    }

    pub fn enrol(&mut self, iin: &str, degrees: u8) {
        enrol_with(&mut self.service, iin, degrees, NOW);
    }

    pub fn handle(&mut self, kiosk: &Kiosk, lane: Lane, bytes: &[u8], now_ms: u64) -> Vec<Outgoing> {
        let topic = Topic::Device { env: Env::Test, device: kiosk.id.clone(), lane };
        self.service.handle(&topic.to_string(), bytes, now_ms)
    }

    /// Asks and gets a challenge.
    pub fn challenge(&mut self, kiosk: &mut Kiosk, iin: &str, now_ms: u64) -> Challenge {
        let request = kiosk_request(kiosk, iin, now_ms);
        let bytes = kiosk.ask(&self.seal_key, request);
        read(&self.handle(kiosk, Lane::ChallengeRequest, &bytes, now_ms), Lane::Challenge).expect("a challenge")
    }

    /// Asks and gets a refusal.
    pub fn refused(&mut self, kiosk: &mut Kiosk, request: ChallengeRequest, now_ms: u64) -> Reason {
        let bytes = kiosk.ask(&self.seal_key, request);
        let verdict: Verdict =
            read(&self.handle(kiosk, Lane::ChallengeRequest, &bytes, now_ms), Lane::Verdict).unwrap();
        assert_eq!(verdict.attempt, None);
        verdict.reason
    }

    /// Sends an attempt and gets the verdict.
    pub fn verdict(&mut self, kiosk: &Kiosk, attempt: &Attempt, now_ms: u64) -> Verdict {
        let bytes = kiosk.send(&self.seal_key, attempt);
        read(&self.handle(kiosk, Lane::Attempt, &bytes, now_ms), Lane::Verdict).expect("a verdict")
    }

    pub fn ledger(&mut self) -> Vec<serde_json::Value> {
        let mut lines = Vec::new();
        let store = self.service.store();
        let mut keep = |line: &Line| {
            lines.push(serde_json::from_str(&line.text)?);
            Ok(())
        };
        store.each_line(&mut keep).unwrap();
        store.verify_ledger().unwrap();
        lines
    }

    pub fn last_line(&mut self) -> String {
        let line = self.ledger().pop().unwrap();
        format!("{} {}", line["what"].as_str().unwrap(), line["reason"].as_str().unwrap_or("-"))
    }
}

pub fn kiosk_request(kiosk: &mut Kiosk, iin: &str, now_ms: u64) -> ChallengeRequest {
    kiosk.requests += 1;
    ChallengeRequest {
        device: kiosk.id.clone(),
        request: RequestId::from_bytes([kiosk.requests; 16]),
        subject: iin.parse().unwrap(),
        initiator: "egov".parse().unwrap(),
        reference: "case-1".into(),
        purpose: "benefit".into(),
        consent: Consent {
            given_at_s: now_ms / 1000 - 10,
            expires_at_s: now_ms / 1000 + 365 * DAY_S,
            purpose: "benefit".into(),
            method: ConsentMethod::Screen,
            text_version: "1".into(),
        },
        made_at_ms: now_ms,
        connection: Connection { boot: [1; 16], connects: 1 },
    }
}

impl Kiosk {
    /// Another machine with this one's key.
    pub fn copy(&self) -> Self {
        let der = Certificate::from_pem(&self.certificate_pem).unwrap().der().to_vec();
        let signer = SoftwareSigner::from_pkcs8_pem(&self.key_pem, &der).unwrap();
        let (id, certificate_pem, key_pem) = (self.id.clone(), self.certificate_pem.clone(), self.key_pem.clone());
        Self { id, signer, certificate_pem, key_pem, requests: 100 }
    }

    pub fn ask(&self, key: &SealKey, request: ChallengeRequest) -> Vec<u8> {
        self.sealed(key, Kind::ChallengeRequest, None, &request.encode().unwrap())
    }

    pub fn send(&self, key: &SealKey, attempt: &Attempt) -> Vec<u8> {
        self.sealed(key, Kind::Attempt, Some(&attempt.attempt), &attempt.encode().unwrap())
    }

    pub fn sealed(&self, key: &SealKey, kind: Kind, attempt: Option<&AttemptId>, payload: &[u8]) -> Vec<u8> {
        let signed = seal::sign(kind, payload, &self.signer).unwrap();
        let mut entropy = [0; 32];
        getrandom::fill(&mut entropy).unwrap();
        seal::seal(key, kind, &self.id, attempt, &signed, Entropy::new(entropy)).unwrap()
    }

    /// A proof of a live face that looks into this direction, as the challenge asks.
    pub fn proof(&self, challenge: &Challenge, degrees: u8) -> Attempt {
        let code = light_code(&challenge.nonce, &challenge.attempt, &self.id, CodeShape::AT_30);
        self.proof_with(challenge, degrees, code)
    }

    pub fn proof_with(&self, challenge: &Challenge, degrees: u8, code: Vec<Light>) -> Attempt {
        let picture = challenge.picture.then(|| Picture::from_jpeg(picture(degrees)));
        Attempt {
            attempt: challenge.attempt,
            device: self.id.clone(),
            request_hash: challenge.request_hash,
            nonce: challenge.nonce,
            transcript: Some(LightTranscript {
                shape: CodeShape::AT_30,
                code,
                camera: CameraFacts {
                    gamma_milli: 2200,
                    frame_us: 33_333,
                    exposure_us: 20_000,
                    delay_us: 0,
                    baseline_mm: 90,
                    readout_us: 0,
                    focal_px10: 7_300,
                    noise_milli: 0,
                    spectrum: Spectrum::ColourNoFilter,
                },
                switches: Vec::new(),
                frames: Vec::new(),
                mixed: 0,
                embedded_at_us: None,
            }),
            passive: PassiveSummary { frames: 10, mean_llr_milli: 1000, worst_llr_milli: 0, context_missing: 0 },
            motion: Motion { frames: 20, still_pairs: 0, path_px10: 30, blink: true },
            quality: Quality { faces: 1, ..Quality::default() },
            models: vec![ModelRef { role: ModelRole::Embedding, sha256: MODEL }],
            continuity_milli: 900,
            ending: Ending::Proved { template: template(degrees), picture },
            sent_at_ms: challenge.server_time_ms + 900,
        }
    }

    pub fn record(&self, number: u64, previous: Hash, entry: AuditEntry) -> Vec<u8> {
        let record = AuditRecord { device: self.id.clone(), number, previous, entry };
        self.signed(Kind::AuditRecord, &record.encode().unwrap())
    }

    pub fn signed(&self, kind: Kind, bytes: &[u8]) -> Vec<u8> {
        seal::sign(kind, bytes, &self.signer).unwrap()
    }

    pub fn state(&self, boot: u8, connects: u64, online: bool) -> Vec<u8> {
        self.state_with(boot, connects, online, Vec::new())
    }

    pub fn state_with(&self, boot: u8, connects: u64, online: bool, faults: Vec<Reason>) -> Vec<u8> {
        let state = State {
            device: self.id.clone(),
            online,
            version: "0.1.0".into(),
            boot: [boot; 16],
            connects,
            audit_next: 1,
            audit_head: [0; 32],
            models: Vec::new(),
            faults,
            at_ms: NOW,
        };
        seal::sign(Kind::State, &state.encode().unwrap(), &self.signer).unwrap()
    }
}

pub fn ended(attempt: Option<AttemptId>, outcome: Outcome) -> AuditEntry {
    AuditEntry::Attempt {
        attempt,
        request: RequestId::from_bytes([1; 16]),
        initiator: "egov".parse().unwrap(),
        outcome,
        reason: Reason::None,
        started_ms: NOW,
        ended_ms: NOW + 1,
        policy_version: 1,
    }
}

/// The message for this lane among those that go out, with its signature checked.
pub fn read<M: Message>(out: &[Outgoing], lane: Lane) -> Option<M> {
    let found = out.iter().find(|out| matches!(&out.topic, Topic::Device { lane: found, .. } if *found == lane))?;
    Some(open(&found.payload))
}

pub fn open<M: Message>(bytes: &[u8]) -> M {
    let signed = Signed::parse(M::KIND, bytes).unwrap();
    let certificate = Certificate::from_der(signed.certificate().unwrap()).unwrap();
    M::decode(signed.verify(certificate.key()).unwrap()).unwrap()
}

pub fn receipt(out: &[Outgoing]) -> (u64, Vec<u64>) {
    let receipt: Receipt = read(out, Lane::Receipt).unwrap();
    (receipt.highest, receipt.missing)
}

/// `alarm: note` and `event-kind: note` of everything told to operators.
pub fn told(out: &[Outgoing]) -> Vec<String> {
    out.iter()
        .filter(|out| matches!(out.topic, Topic::OperatorEvents { .. } | Topic::OperatorAlarms { .. }))
        .map(|out| {
            let event: Event = open(&out.payload);
            format!("{}: {}", event.kind.name(), event.note)
        })
        .collect()
}

pub fn alarms(out: &[Outgoing]) -> Vec<String> {
    out.iter()
        .filter(|out| matches!(out.topic, Topic::OperatorAlarms { .. }))
        .map(|out| open::<Event>(&out.payload).note)
        .collect()
}

pub fn hash_of(bytes: &[u8]) -> Hash {
    sha256(bytes)
}

//! What is written down of one presentation, and in which words.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use didar_liveness::{Answer, Evidence, Policy, Recording};
use didar_protocol::id::{DeviceId, sha256};
use didar_protocol::reason::Reason;
use serde::{Deserialize, Serialize};

use super::Presented;

/// What is presented: living people, or a species of presentation attack instruments (ISO/IEC 30107-3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Species(String);

/// A word that names no species.
#[derive(Debug, thiserror::Error)]
#[error(
    "{found:?} is no species; known are {known}; name any other one other-NAME, NAME being 1 to 30 of a-z, 0-9 and -",
    known = Species::KNOWN.join(", ")
)]
pub struct SpeciesError {
    /// What was given.
    pub found: String,
}

impl Species {
    /// Living people: bona fide presentations. All others are attacks.
    pub const LIVE: &'static str = "live";
    /// Everything that has a name of its own.
    pub const KNOWN: [&'static str; 14] = [
        Self::LIVE,
        "flat-print",
        "tilted-print",
        "bent-print",
        "folded-print",
        "print-with-eye-holes",
        "print-over-head",
        "print-with-nose",
        "phone",
        "tablet",
        "screen",
        "paper-mask",
        "rigid-mask",
        "soft-mask",
    ];

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether these are living people.
    pub fn is_live(&self) -> bool {
        self.0 == Self::LIVE
    }
}

impl FromStr for Species {
    type Err = SpeciesError;
    fn from_str(text: &str) -> Result<Self, SpeciesError> {
        let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let other = text.strip_prefix("other-");
        let named = other.is_some_and(|name| (1..=30).contains(&name.len()) && name.bytes().all(lawful));
        if named || Self::KNOWN.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(SpeciesError { found: text.chars().take(60).collect() })
    }
}

impl TryFrom<String> for Species {
    type Error = SpeciesError;
    fn try_from(text: String) -> Result<Self, SpeciesError> {
        text.parse()
    }
}

impl From<Species> for String {
    fn from(species: Species) -> Self {
        species.0
    }
}

impl fmt::Display for Species {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From the lens to what is presented, as the tester measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Nearer than 450 mm.
    Near,
    /// 450 to 600 mm.
    Middle,
    /// Farther than 600 mm.
    Far,
}

/// The light of the place, apart from the lamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Ambient {
    /// Dark, or nearly so.
    Dark,
    /// Lamps of a room, no daylight.
    Indoor,
    /// Daylight through windows or in the shade.
    Daylight,
    /// Sun on the face or behind it.
    Sun,
}

/// What the tester says of a presentation. Nothing of it names a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// What is presented.
    pub species: Species,
    /// The person's number, or that of the person whom the instrument shows: the tester's own list says who that is.
    pub subject: Option<u16>,
    /// How far away; `None` where the tester did not say.
    pub distance: Option<Distance>,
    /// How light; `None` where the tester did not say.
    pub ambient: Option<Ambient>,
}

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub device: DeviceId,
    /// Its board.
    pub board: String,
    /// Roles and hashes of its models.
    pub models: Vec<String>,
}

/// One presentation, as its file says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this form.
    pub version: u8,
    /// What was presented.
    pub species: Species,
    /// See [`Circumstances::subject`].
    pub subject: Option<u16>,
    /// See [`Circumstances::distance`].
    pub distance: Option<Distance>,
    /// See [`Circumstances::ambient`].
    pub ambient: Option<Ambient>,
    /// The device's id.
    pub device: String,
    /// Its board.
    pub board: String,
    /// Version of its program.
    pub agent: String,
    /// Roles and hashes of its models.
    pub models: Vec<String>,
    /// The policy that judged on the device.
    pub policy_version: u32,
    /// When, Unix seconds by the device's clock.
    pub made_at: u64,
    /// `live`, `spoof` or `inconclusive`.
    pub answer: String,
    /// Why: a reason's name.
    pub reason: String,
    /// The judge's figures, thousandths.
    pub figures_milli: BTreeMap<String, i64>,
    /// The evidence's SHA-256, hexadecimal; none where nothing was captured.
    pub evidence_sha256: Option<String>,
    /// The recording's SHA-256, hexadecimal; none where nothing was captured.
    pub recording_sha256: Option<String>,
}

impl Record {
    /// The only version that is read and written.
    pub const VERSION: u8 = 1;

    /// Writes down `presented`; `recording` are the bytes that are kept of it.
    pub(super) fn of(
        circumstances: &Circumstances,
        device: &Device,
        presented: &Presented,
        recording: Option<&[u8]>,
        made_at: u64,
    ) -> Self {
        let policy = Policy::shipped();
        let evidence = match presented {
            Presented::Captured(recording) => Some(recording.judge(&policy)),
            Presented::Missed(_) => None,
        };
        let (answer, reason) = match (presented, &evidence) {
            (_, Some(evidence)) => (word(evidence.answer()), evidence.answer().reason()),
            (Presented::Missed(reason), None) => (INCONCLUSIVE, *reason),
            (Presented::Captured(_), None) => (INCONCLUSIVE, Reason::None),
        };
        let figures = evidence.as_ref().map(Evidence::figures).unwrap_or_default();
        Self {
            version: Self::VERSION,
            species: circumstances.species.clone(),
            subject: circumstances.subject,
            distance: circumstances.distance,
            ambient: circumstances.ambient,
            device: device.device.to_string(),
            board: device.board.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            models: device.models.clone(),
            policy_version: policy.version,
            made_at,
            answer: answer.to_owned(),
            reason: reason.name().to_owned(),
            figures_milli: figures.iter().map(|(name, milli)| ((*name).to_owned(), *milli)).collect(),
            evidence_sha256: evidence.as_ref().map(digest),
            recording_sha256: recording.map(|bytes| hex::encode(sha256(bytes))),
        }
    }

    /// Whether it was made under these circumstances.
    pub fn is_of(&self, circumstances: &Circumstances) -> bool {
        let Circumstances { species, subject, distance, ambient } = circumstances;
        self.species == *species && self.subject == *subject && self.distance == *distance && self.ambient == *ambient
    }
}

const INCONCLUSIVE: &str = "inconclusive";

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Live(_) => "live",
        Answer::Spoof(_) => "spoof",
        Answer::Inconclusive(_) => INCONCLUSIVE,
    }
}

/// A recording read back, for whoever judges it again.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What was written down.
    pub record: Record,
    /// What the judge was given; none where nothing was captured.
    pub recording: Option<Recording>,
}

impl Kept {
    /// Judges it again by `policy`; `None` where nothing was captured.
    pub fn judge(&self, policy: &Policy) -> Option<Evidence> {
        self.recording.as_ref().map(|recording| recording.judge(policy))
    }

    /// Whether `evidence` is, to the last byte, what the device found.
    pub fn agrees(&self, evidence: Option<&Evidence>) -> bool {
        evidence.map(digest) == self.record.evidence_sha256
    }
}

fn digest(evidence: &Evidence) -> String {
    hex::encode(sha256(&evidence.to_bytes()))
}

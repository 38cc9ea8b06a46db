//! The edges: everything that the agent acts on, as traits. Each has a real and a simulated implementation.
//!
//! **Not here:** decisions. An edge does what it is told and reports what happened.

use std::time::Duration;

use didar_protocol::id::{AttemptId, Hash, RequestId};
use didar_protocol::light_code::Light;
use didar_protocol::message::AuditEntry;
use didar_protocol::reason::Reason;
use didar_vision::PixelFormat;
use zeroize::Zeroize;

use crate::time::Moment;

/// One picture of the camera. Reused from frame to frame; wiped on drop.
pub struct Frame {
    /// How `pixels` are laid out.
    pub format: PixelFormat,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next; not used where frames are JPEG pictures.
    pub stride: usize,
    /// The camera's own count: a gap is a lost frame.
    pub sequence: u32,
    /// Start of exposure.
    pub captured_at: Moment,
    /// The bytes.
    pub pixels: Vec<u8>,
}

impl Frame {
    /// A frame without pixels, to be filled by [`Camera::next`].
    pub const fn empty() -> Self {
        Self {
            format: PixelFormat::Grey8,
            width: 0,
            height: 0,
            stride: 0,
            sequence: 0,
            captured_at: Moment::ZERO,
            pixels: Vec::new(),
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.pixels.zeroize();
    }
}

/// The camera. Owned by the capture thread.
pub trait Camera: Send {
    /// Waits at most `within` for the next frame and puts it into `frame`, reusing its memory.
    ///
    /// # Errors
    /// The camera is gone or silent. The caller calls again: an implementation opens its device anew by itself.
    fn next(&mut self, frame: &mut Frame, within: Duration) -> Result<(), CameraError>;

    /// Stops capturing until the next call of [`Camera::next`]: nobody is being served.
    fn rest(&mut self);
}

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The camera cannot be opened.
    #[error("cannot open camera {path}: {cause}; is it plugged in, and may this user read it?")]
    Open {
        /// Where.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The camera went away.
    #[error("camera {path} is gone: {cause}")]
    Gone {
        /// Where.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The camera sends nothing.
    #[error("camera {path} gave no frame within {waited:?}")]
    Stalled {
        /// Where.
        path: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The camera sends what we cannot read.
    #[error("camera {path} sent a frame that cannot be used: {why}")]
    Malformed {
        /// Where.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The two infrared lamps. Dark when dropped.
pub trait Lamps: Send {
    /// Switches both lamps; returns the moment of switching.
    ///
    /// # Errors
    /// The lamps did not obey; the caller must take them for lit.
    fn set(&mut self, light: Light) -> Result<Moment, LampError>;
}

/// The lamps did not obey.
#[derive(Debug, thiserror::Error)]
#[error("lamps at {place} cannot be switched: {cause}")]
pub struct LampError {
    /// Which lamps.
    pub place: String,
    /// What the system said.
    pub cause: std::io::Error,
}

/// The screen, 16 bits a pixel (RGB565). Owned by the screen's thread.
pub trait Screen: Send {
    /// Width and height in pixels.
    fn size(&self) -> (u16, u16);

    /// Shows `pixels`, row by row from the top left; `width * height` of them.
    ///
    /// # Errors
    /// The screen is gone; the caller goes on without and tries at the next view.
    fn show(&mut self, pixels: &[u16]) -> Result<(), ScreenError>;
}

/// The screen did not take the picture.
#[derive(Debug, thiserror::Error)]
#[error("screen at {place} cannot be written: {cause}")]
pub struct ScreenError {
    /// Which screen.
    pub place: String,
    /// What the system said.
    pub cause: std::io::Error,
}

/// What a letter asks of the matcher, and what the answer carries back as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// A challenge.
    Request(RequestId),
    /// A verdict.
    Attempt(AttemptId),
}

/// What travels to the matcher. The bytes are signed, and sealed where they name a person, by [`crate::ask`].
pub enum Letter {
    /// Ask for a challenge. Repeated, as the same bytes, until answered, forgotten or expired.
    RequestChallenge {
        /// Whose request.
        request: RequestId,
        /// The sealed bytes.
        bytes: Vec<u8>,
        /// No sending after this.
        expires: Moment,
    },
    /// Close an attempt. Repeated, as the same bytes, until a verdict for this attempt came or the challenge expired.
    Attempt {
        /// Whose closing.
        attempt: AttemptId,
        /// The sealed bytes.
        bytes: Vec<u8>,
        /// The challenge's end: no sending after this.
        expires: Moment,
    },
    /// One audit record. Sent once per connection; the loop repeats what no receipt covers.
    Audit {
        /// Its number in the chain.
        number: u64,
        /// The signed bytes, as the outbox keeps them.
        bytes: Vec<u8>,
    },
    /// How the device is. The uplink keeps the last one, adds what it knows (online, connects, time), signs and
    /// publishes it as the retained state, now and at each connect.
    Health(Health),
}

impl std::fmt::Debug for Letter {
    /// Names the letter, never its bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RequestChallenge { request, .. } => write!(f, "RequestChallenge({request})"),
            Self::Attempt { attempt, .. } => write!(f, "Attempt({attempt})"),
            Self::Audit { number, .. } => write!(f, "Audit({number})"),
            Self::Health(health) => write!(f, "{health:?}"),
        }
    }
}

/// What the loop knows of the device's health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Number of the next audit record.
    pub audit_next: u64,
    /// Hash of the last one.
    pub audit_head: Hash,
    /// What is broken now.
    pub faults: Vec<Reason>,
}

/// The way to the matcher. Its events (`Challenged`, `Replied`, `Receipt`, `Keys`, `UplinkUp`, `UplinkDown`) come back
/// over the loop's bounded channel, verified and decoded. It teaches the clock every signed server time.
pub trait Uplink: Send {
    /// Takes a letter for sending; never waits. A letter that cannot be sent now waits for the connection, in a
    /// bounded place, until it expires.
    ///
    /// # Errors
    /// The place is full or the uplink has stopped.
    fn send(&mut self, letter: Letter) -> Result<(), UplinkError>;

    /// Stops repeating what asks this: nobody waits for the answer any more.
    fn forget(&mut self, question: Question);
}

/// A letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// Too many letters wait.
    #[error("{waiting} letters wait for the matcher already")]
    Full {
        /// How many.
        waiting: usize,
    },
    /// The uplink's task has ended.
    #[error("the uplink has stopped")]
    Stopped,
}

/// The store of audit records. Numbers, chains and signs them; what it returns is on the disk.
pub trait Outbox: Send {
    /// Keeps a record; returns its number, after it is flushed to the disk.
    ///
    /// # Errors
    /// The record is not kept.
    fn append(&mut self, entry: &AuditEntry) -> Result<u64, OutboxError>;

    /// Keeps the record that is to be appended should the device stop before an attempt's record is; on the disk when
    /// this returns. It takes the place of an earlier one.
    ///
    /// # Errors
    /// It is not kept: nobody can be served.
    fn intend(&mut self, entry: &AuditEntry) -> Result<(), OutboxError>;

    /// Up to `limit` records without receipt, in order, from number `from` on.
    ///
    /// # Errors
    /// The store cannot be read.
    fn unacknowledged(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, OutboxError>;

    /// The matcher holds every record up to this number: forget them, but never the chain's head.
    ///
    /// # Errors
    /// The store cannot be written; the records stay, and repeats are harmless.
    fn acknowledge(&mut self, up_to: u64) -> Result<(), OutboxError>;

    /// Number of the next record, and the hash of the last one.
    fn head(&self) -> (u64, Hash);

    /// The latest signed server time that was stored, Unix milliseconds; 0 if none.
    fn signed_time(&self) -> u64;

    /// Stores a signed server time.
    ///
    /// # Errors
    /// The store cannot be written.
    fn keep_signed_time(&mut self, unix_ms: u64) -> Result<(), OutboxError>;

    /// Writes everything to the disk; the last call before the process ends.
    ///
    /// # Errors
    /// The store cannot be written.
    fn flush(&mut self) -> Result<(), OutboxError>;
}

/// Why a record was not kept or not read.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The store's files cannot be used.
    #[error("outbox {path}: {cause}; check the disk's space and the folder's owner")]
    Store {
        /// Where.
        path: std::path::PathBuf,
        /// What the store said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record could not be signed or encoded.
    #[error("cannot sign audit record {number}: {cause}")]
    Sign {
        /// Which record.
        number: u64,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stored bytes are not what was written.
    #[error("outbox {path} is damaged at record {number}: {why}")]
    Damaged {
        /// Where.
        path: std::path::PathBuf,
        /// Which record.
        number: u64,
        /// What is wrong.
        why: String,
    },
}

/// The clocks. Shared by threads.
pub trait Clock: Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Moment;

    /// The calendar at `at`, Unix milliseconds, by the best knowledge.
    fn unix_ms(&self, at: Moment) -> u64;

    /// Takes a signed time of the matcher, Unix milliseconds, as now.
    fn learn(&self, signed_unix_ms: u64);

    /// Whether a signed time has come since the start.
    fn is_signed(&self) -> bool;
}

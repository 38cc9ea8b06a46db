//! The edges: everything that the agent acts on, as traits. Each has a real and a simulated implementation.
//!
//! **Not here:** decisions. An edge does what it is told and reports what happened.

mod outbox;

use std::time::Duration;

use didar_protocol::id::{AttemptId, Hash, RequestId};
use didar_protocol::light_code::Light;
use didar_protocol::message::Connection;
use didar_protocol::reason::Reason;
use didar_vision::PixelFormat;

use crate::screen::Area;
use crate::time::{Calendar, Moment};
pub use outbox::{Missed, Outbox, OutboxError};

/// One picture of the camera: lent, until the next one is asked for.
pub struct Frame<'a> {
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
    /// The bytes, where the driver put them.
    pub pixels: &'a [u8],
    /// What the colour sensor beside an infrared one saw at the same time. `None` on boards with one sensor, and where no
    /// frame of that time came.
    pub beside: Option<&'a Frame<'a>>,
}

/// Which of the frames that are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The newest; older ones are passed over.
    Newest,
    /// The oldest: every frame, in order.
    Next,
}

/// Who sets exposure, gain, white balance and focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controls {
    /// The camera itself.
    Automatic,
    /// Nobody: they stay as they are, within the board's bounds, so that only the lamps change the light.
    Held,
}

/// What came of waiting for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// A frame was looked at.
    Frame,
    /// None came in time.
    Nothing,
}

/// The camera. Owned by the thread that looks at its frames.
///
/// Capturing never waits for that thread: the driver fills a ring of buffers by itself, and a frame is lost only where
/// the ring was full; the frame's number then tells.
pub trait Camera: Send {
    /// Waits at most `within` for a frame and lends it to `look`. Opens the device, and starts it, where that was not
    /// done yet, or not since an error.
    ///
    /// # Errors
    /// The camera is not there, does not offer what is needed, or sends what cannot be used.
    fn next(&mut self, pick: Pick, within: Duration, look: &mut dyn FnMut(&Frame<'_>)) -> Result<Got, CameraError>;

    /// Who sets exposure, gain, white balance and focus from now on. A camera that has none of them obeys by doing
    /// nothing; [`Camera::rest`] gives them back too.
    ///
    /// # Errors
    /// The camera is gone.
    fn control(&mut self, controls: Controls) -> Result<(), CameraError>;

    /// Stops capturing until the next call of [`Camera::next`]: nobody is being served. Lets the device go.
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
    /// The camera has nothing that we can use.
    #[error("camera {path} offers {offered}; we need {needed}. Change the board's file or the camera")]
    Format {
        /// Where.
        path: String,
        /// Formats, sizes and rates that it has.
        offered: String,
        /// What the board's file asks for.
        needed: String,
    },
    /// Somebody else uses the camera.
    #[error("camera {path} is in use by another program; stop that first")]
    Busy {
        /// Where.
        path: String,
    },
    /// The camera's clock is not the one that lamps are timed by.
    #[error("camera {path} stamps frames {off} of CLOCK_MONOTONIC: the light code cannot be timed with this driver")]
    Stamp {
        /// Where.
        path: String,
        /// How far, and in which direction.
        off: String,
    },
    /// Of two sensors, one sends nothing.
    #[error(
        "camera {other} sends frames and camera {path} beside it none; is it plugged in, and does it keep sensor.rate?"
    )]
    Alone {
        /// The one that is silent.
        path: String,
        /// The one that sends.
        other: String,
    },
    /// Two sensors do not see the same moments.
    #[error(
        "cameras {infrared} and {colour} expose {apart_us} us apart, colour.apart_us allows {allowed_us}: \
         let one trigger the other, or state what they keep"
    )]
    Apart {
        /// The one that sees the light code.
        infrared: String,
        /// The one that sees the face.
        colour: String,
        /// How far the nearest two frames lie apart, microseconds.
        apart_us: u64,
        /// How far they may.
        allowed_us: u64,
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
    /// Switches both lamps; returns when.
    ///
    /// # Errors
    /// The lamps did not obey; the caller must take them for lit.
    fn set(&mut self, light: Light) -> Result<Switching, LampError>;
}

/// When the lamps were switched. The kernel may have put this thread aside in the middle, so only both ends are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switching {
    /// Not before this: the switch was about to be ordered.
    pub ordered: Moment,
    /// Not after this: the order was obeyed.
    pub done: Moment,
}

/// Why the lamps did not obey.
#[derive(Debug, thiserror::Error)]
pub enum LampError {
    /// A line is in somebody else's hands.
    #[error("lamp line {place} is taken: {cause}; free it, or name another line in the board's file")]
    Taken {
        /// Which line.
        place: String,
        /// Who holds it, as the kernel names him.
        cause: std::io::Error,
    },
    /// A line cannot be opened.
    #[error("cannot open lamp line {place}: {cause}")]
    Open {
        /// Which line.
        place: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A line cannot be switched.
    #[error("lamps at {place} cannot be switched: {cause}")]
    Switch {
        /// Which lamps.
        place: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The lamps have shone as long as they may.
    #[error("lamps at {place} have used up their light for now; they stay dark for {wait:?}")]
    Spent {
        /// Which lamps.
        place: String,
        /// When there is light again.
        wait: Duration,
    },
}

/// The screen, 16 bits a pixel (RGB565). Owned by the screen's thread.
pub trait Screen: Send {
    /// Width and height in pixels, upright as people see it.
    fn size(&self) -> (u16, u16);

    /// Shows the part `area` of the picture `pixels`: `width * height` of them, row by row from the top left. The rest
    /// is as it was shown last. Opens the device where that was not done yet, or not since an error.
    ///
    /// # Errors
    /// The screen is not there, is not what the board's file says, or is gone. The caller goes on without, and tries
    /// again later with the whole picture.
    fn show(&mut self, pixels: &[u16], area: Area) -> Result<(), ScreenError>;
}

/// The screen did not take the picture.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// It cannot be opened.
    #[error(
        "cannot open screen {place}: {cause}; is it connected, and may this user write to it? The kiosk serves on without"
    )]
    Open {
        /// Which device.
        place: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It cannot be written to any more.
    #[error("screen {place} takes no picture: {cause}")]
    Write {
        /// Which device.
        place: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is not what the board's file says.
    #[error("screen {place} is {found}; the board's file says {needed}")]
    Mismatch {
        /// Which device.
        place: String,
        /// What it is.
        found: String,
        /// What was expected.
        needed: String,
    },
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
        /// Its hash, which the answer must name.
        hash: Hash,
        /// The sealed bytes.
        bytes: Vec<u8>,
        /// No sending after this.
        expires: Moment,
    },
    /// Close an attempt. Repeated, as the same bytes, until a verdict for this attempt came or the challenge expired.
    Attempt {
        /// The request that it was about: both travel in one trace.
        request: RequestId,
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

    /// The newest connection that was made or tried; before the first one it is that.
    ///
    /// # Errors
    /// It could not be counted.
    fn connection(&self) -> Result<Connection, OutboxError>;
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

/// The clocks. Shared by threads.
pub trait Clock: Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Moment;

    /// What is known of the calendar.
    fn calendar(&self) -> &Calendar;

    /// The calendar at `at`, Unix milliseconds, by the best knowledge.
    fn unix_ms(&self, at: Moment) -> u64 {
        self.calendar().unix_ms(at)
    }
}

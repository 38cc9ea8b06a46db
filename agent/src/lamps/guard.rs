//! Darkness after a kill: a small process of its own that waits for the agent's end and then makes the lamps dark.
//!
//! A process that is killed by SIGKILL, or by the kernel for want of memory, switches nothing off. What its lines do then
//! differs: the drivers of some chips make a line that is let go an input, which the pull-down makes dark; others leave it
//! as it was; and `rppal` writes to registers that nobody lets go of. So the guard holds one end of a pipe whose other end
//! is the agent's. The kernel closes that end when the agent ends, whatever ended it.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use didar_protocol::light_code::Light;

use super::pins::Lines;
use crate::edge::LampError;

/// The agent's end: as long as it lives, the guard waits.
pub struct Guard {
    child: Child,
}

/// How often lines are tried that the kernel has not taken back from the dead process yet.
const TRIES: u32 = 100;
/// Wait between two tries.
const PAUSE: Duration = Duration::from_millis(1);

impl Guard {
    /// Starts this very program with `arguments`, which must lead to [`wait`].
    ///
    /// # Errors
    /// The system gave no process.
    pub fn start(arguments: &[&Path]) -> io::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A Ctrl-C is for the agent; the guard ends after it.
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }
}

impl Drop for Guard {
    /// Drop it after the lamps: the guard takes their lines.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // A guard that is gone already has nothing to say.
        let _ = self.child.wait();
    }
}

/// Waits until `agent` ends, then makes the lamps at `lines` dark.
///
/// # Errors
/// The lines cannot be had.
pub fn wait(mut agent: impl Read, lines: &Lines) -> Result<(), LampError> {
    // Nothing is ever written; an error means the same as the end.
    let _ = io::copy(&mut agent, &mut io::sink());
    let mut tries = 1;
    loop {
        match lines.open() {
            Ok(mut pins) => {
                return pins.show(Light::Off).map_err(|cause| LampError::Switch { place: pins.place(), cause });
            }
            Err(LampError::Taken { .. } | LampError::Open { .. }) if tries < TRIES => {
                tries += 1;
                pause();
            }
            Err(error) => return Err(error),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the guard has nothing else to do than to wait for the kernel")]
fn pause() {
    std::thread::sleep(PAUSE);
}

//! The lamps' lines, as the kernel traces them: every change of a GPIO line with its time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use didar_protocol::light_code::Light;

use super::super::{LEFT_LINE, RIGHT_LINE};

/// Follows the trace.
#[derive(Clone)]
pub(super) struct Watch {
    seen: Arc<Seen>,
    chip: PathBuf,
    base: u32,
}

#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lit: [bool; 2],
    /// When the last change was.
    changed_us: u64,
    /// Changes that the camera has not taken yet.
    switches: VecDeque<(u64, Light)>,
}

/// Changes that may wait for the camera while nobody reads it.
const WAITING_MAX: usize = 256;
/// The kernel's trace, read as a stream.
const TRACE: &str = "/sys/kernel/tracing/trace_pipe";

impl Watch {
    /// Finds the chip and starts to read the trace.
    pub(super) fn start() -> Result<Self> {
        let (chip, base) = chip()?;
        let trace = BufReader::new(File::open(TRACE).with_context(|| format!("opening {TRACE}"))?);
        let seen = Arc::<Seen>::default();
        let known = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in trace.lines().map_while(Result::ok) {
                if let Some((at_us, number, value)) = parse(&line) {
                    known.note(at_us, number.wrapping_sub(base), value);
                }
            }
        });
        Ok(Self { seen, chip, base })
    }

    /// The kernel's number of a line of the chip.
    pub(super) const fn number(&self, line: u32) -> u32 {
        self.base + line
    }

    /// The changes since the last call.
    pub(super) fn take(&self) -> Vec<(u64, Light)> {
        self.seen.lock().switches.drain(..).collect()
    }

    /// What the trace showed last.
    pub(super) fn light(&self) -> Light {
        light(self.seen.lock().lit)
    }

    /// Since when the trace shows both lamps dark, microseconds; `None` while one is lit.
    pub(super) fn dark_since(&self) -> Option<u64> {
        let state = self.seen.lock();
        (state.lit == [false; 2]).then_some(state.changed_us)
    }

    /// Waits until a lamp is lit; `false` if none was within `wait`.
    pub(super) fn wait_until_lit(&self, wait: Duration) -> bool {
        let dark = |state: &mut State| state.lit == [false; 2];
        let waited = self.seen.changed.wait_timeout_while(self.seen.lock(), wait, dark);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Takes the left lamp's line as another program would, or lets it go.
    pub(super) fn hold(&self, held: bool) -> Result<()> {
        let path = if held { "/sys/class/gpio/export" } else { "/sys/class/gpio/unexport" };
        std::fs::write(path, (self.base + LEFT_LINE).to_string()).with_context(|| format!("writing {path}"))
    }

    /// What the simulated chip's lines read now: left, right.
    pub(super) fn lines(&self) -> Result<[bool; 2]> {
        let read = |line: u32| -> Result<bool> {
            let path = self.chip.join(format!("sim_gpio{line}/value"));
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            Ok(text.trim() == "1")
        };
        Ok([read(LEFT_LINE)?, read(RIGHT_LINE)?])
    }
}

impl Seen {
    fn note(&self, at_us: u64, line: u32, lit: bool) {
        let mut state = self.lock();
        match line {
            LEFT_LINE => state.lit[0] = lit,
            RIGHT_LINE => state.lit[1] = lit,
            // A line of the panel.
            _ => return,
        }
        if state.switches.len() == WAITING_MAX {
            state.switches.pop_front();
        }
        state.changed_us = at_us;
        let light = light(state.lit);
        state.switches.push_back((at_us, light));
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn light(lit: [bool; 2]) -> Light {
    match lit {
        [false, false] => Light::Off,
        [true, false] => Light::Left,
        [false, true] => Light::Right,
        [true, true] => Light::Both,
    }
}

/// The simulated chip's folder in sysfs, and the number that the kernel gave its first line.
fn chip() -> Result<(PathBuf, u32)> {
    let platform = Path::new("/sys/devices/platform/gpio-sim.0");
    let entries = std::fs::read_dir(platform).with_context(|| format!("reading {}", platform.display()))?;
    let chip = entries.flatten().map(|entry| entry.path()).find(|path| path.join("sim_gpio0").exists());
    let Some(chip) = chip else { bail!("gpio-sim has made no chip under {}", platform.display()) };
    let numbered = std::fs::read_dir("/sys/class/gpio").context("reading /sys/class/gpio")?;
    for entry in numbered.flatten() {
        let path = entry.path();
        let (label, base) = (std::fs::read_to_string(path.join("label")), std::fs::read_to_string(path.join("base")));
        if let (Ok(label), Ok(base)) = (label, base)
            && label.contains("gpio-sim")
        {
            return Ok((chip, base.trim().parse().context("the chip's first number")?));
        }
    }
    bail!("the kernel gave the lines of gpio-sim no numbers")
}

/// `agent-12 [000] ..... 3.123456: gpio_value: 504 set 1`: when, which line, to what. Lines that were read are no change.
fn parse(line: &str) -> Option<(u64, u32, bool)> {
    let (before, after) = line.split_once(": gpio_value: ")?;
    let (seconds, micros) = before.rsplit(' ').next()?.split_once('.')?;
    let mut words = after.split_whitespace();
    let number = words.next()?.parse().ok()?;
    if words.next()? != "set" {
        return None;
    }
    let value = words.next()? == "1";
    Some((seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?, number, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_trace_is_a_time_a_line_and_a_level() {
        let line = "     didar-agent-77      [001] .....    12.345678: gpio_value: 505 set 1";
        assert_eq!(parse(line), Some((12_345_678, 505, true)));
        assert_eq!(parse(&line.replace("set 1", "set 0")), Some((12_345_678, 505, false)));
        assert_eq!(parse(&line.replace("set", "get")), None);
        assert_eq!(parse("CPU:0 [LOST 3 EVENTS]"), None);
    }
}

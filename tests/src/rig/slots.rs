//! Which frame showed which slot: what the agent took it for, against what the host knows.

use didar_protocol::light_code::Light;

/// A slot of an attempt as the agent labelled it: one frame and the light that the code wants there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The slot.
    pub slot: u8,
    /// Start of the frame's exposure, microseconds of the guest's CLOCK_MONOTONIC.
    pub captured_us: u64,
    /// What the code demands.
    pub light: Light,
}

/// How the slots of an attempt, or of several, went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Slots that the agent had frames for.
    pub slots: usize,
    /// Those of which every frame was lit by the slot's light during the whole of its exposure.
    pub right: usize,
}

impl Tally {
    /// This tally and another one together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { slots: self.slots + other.slots, right: self.right + other.right }
    }
}

/// The agent's line of its log for one frame: `slot 3 left frame 12345678 us`.
pub fn parse(line: &str) -> Option<Labelled> {
    let words: Vec<&str> = line[line.find("slot ")?..].split_whitespace().collect();
    let ["slot", slot, light, "frame", captured, "us", ..] = words[..] else { return None };
    let light = Light::ALL.iter().copied().find(|known| known.name() == light)?;
    Some(Labelled { slot: slot.parse().ok()?, captured_us: captured.parse().ok()?, light })
}

/// Compares what the agent said with `truth`: the light during the exposure that began then, `None` for a mixture or for
/// a frame that never was.
pub fn tally(labelled: &[Labelled], truth: impl Fn(u64) -> Option<Light>) -> Tally {
    let mut slots: Vec<u8> = labelled.iter().map(|frame| frame.slot).collect();
    slots.sort_unstable();
    slots.dedup();
    let is_right = |slot: &&u8| {
        let mut frames = labelled.iter().filter(|frame| frame.slot == **slot);
        frames.all(|frame| truth(frame.captured_us) == Some(frame.light))
    };
    Tally { slots: slots.len(), right: slots.iter().filter(is_right).count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_a_labelled_frame() {
        let line = "2026-07-12T09:00:00Z DEBUG didar_agent::perception::proof: slot 3 left frame 12345678 us";
        assert_eq!(parse(line), Some(Labelled { slot: 3, captured_us: 12_345_678, light: Light::Left }));
        assert_eq!(parse("slot 3 purple frame 1 us"), None);
        assert_eq!(parse("ready 12 ms"), None);
    }

    #[test]
    fn one_wrong_frame_makes_its_slot_wrong() {
        let frame = |slot, captured_us, light| Labelled { slot, captured_us, light };
        let labelled = [frame(0, 1, Light::Left), frame(0, 2, Light::Left), frame(1, 3, Light::Off)];
        let truth = |at| if at == 2 { None } else { Some(if at == 1 { Light::Left } else { Light::Off }) };
        assert_eq!(tally(&labelled, truth), Tally { slots: 2, right: 1 });
        assert_eq!(tally(&[], truth), Tally::default());
    }
}

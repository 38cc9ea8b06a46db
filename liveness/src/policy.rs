//! The thresholds: one file, each named, each with where it came from.

use serde::Deserialize;

/// The thresholds of the judge. [`Policy::shipped`] is `policy.toml` beside this crate's source.
///
/// Unknown and missing keys are errors: nothing here has a hidden default.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Names this set of thresholds in evidence and verdicts.
    pub version: u32,
    /// The light code.
    pub code: CodePolicy,
    /// Brightness and response.
    pub light: LightPolicy,
    /// What the room's picture and the lamps' have in common.
    pub texture: TexturePolicy,
    /// The relief.
    pub relief: ReliefPolicy,
    /// Time.
    pub timing: TimingPolicy,
    /// Movement.
    pub motion: MotionPolicy,
    /// Hints of frames that no sensor took.
    pub injection: InjectionPolicy,
    /// The passive network.
    pub passive: PassivePolicy,
    /// The sum of the weak evidence.
    pub fusion: FusionPolicy,
    /// The same face from the first slot to the embedded frame.
    pub continuity: ContinuityPolicy,
}

/// Thresholds of the light code.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodePolicy {
    /// Slots decoded wrongly beyond what the code allows that still count as a poor picture, not as a spoof.
    pub doubtful_slots: u8,
    /// Least share of the brightness' changes that the ordered code explains.
    pub explained_milli_min: i64,
}

/// Thresholds of brightness and response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightPolicy {
    /// Most ambient light on the face, of full scale.
    pub ambient_milli_max: i64,
    /// Ambient light on the face, of full scale, from which on a doubtful answer is about the light.
    pub ambient_doubtful_milli_max: i64,
    /// Lamps below this share of such ambient light: missing contrast or relief accuses nobody.
    pub drowned_milli_max: i64,
    /// Least lit brightness of the face, of full scale.
    pub lit_milli_min: i64,
    /// Most share of cells clipped under a single lamp.
    pub clipped_milli_max: i64,
    /// Share from which on a missing relief is a poor picture and no spoof.
    pub clipped_doubtful_milli_max: i64,
    /// Least response of each lamp, of full scale.
    pub response_milli_min: i64,
    /// Least ratio of the weaker lamp to the stronger.
    pub balance_milli_min: i64,
    /// Least response of the face against the background's.
    pub contrast_milli_min: i64,
}

/// Thresholds of the texture.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TexturePolicy {
    /// Least correlation of the room's picture with the lamps'.
    pub common_milli_min: i64,
    /// Least standard deviation of the room's picture (logarithm) that tells anything.
    pub shown_milli_min: i64,
    /// Least number of cells that tell anything.
    pub cells_min: u16,
}

/// Thresholds of the relief.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReliefPolicy {
    /// Least part of the mean face's relief, after what planes, cylinders and folds explain.
    pub beta_milli_min: i64,
    /// Least ratio of that part to its standard error.
    pub significance_milli_min: i64,
    /// From this part on, what does not suffice is a poor picture of a face and no spoof.
    pub doubtful_milli_min: i64,
    /// A standard error beyond this says nothing: a poor picture, whatever the part.
    pub deviation_milli_max: i64,
    /// Least number of cells that can be judged.
    pub cells_min: u16,
}

/// Thresholds of time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingPolicy {
    /// Longest sequence, milliseconds: a slow one leaves time for relays.
    pub sequence_ms_max: u16,
    /// Frames by which an answer may be late and still be a poor picture; never enough to pass. More is a relay.
    pub late_frames_max: u8,
}

/// Thresholds of movement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionPolicy {
    /// Most frames that repeat another one.
    pub repeated_max: u16,
    /// Most movement between two frames, of the distance between the eyes.
    pub sway_milli_max: i64,
    /// Log-likelihood ratio of a blink.
    pub blink_llr_milli: i64,
    /// What each second without a blink takes off.
    pub blinks_milli_per_second: i64,
    /// Most that missing blinks take off.
    pub blink_missing_llr_milli: i64,
    /// Drift over the sequence, thousandths of the distance between the eyes (x 1000), below which nothing moved.
    pub drift_milli_permille_min: i64,
    /// What that takes off.
    pub still_llr_milli: i64,
    /// Movement of the nose over the face's plane in a turn, of a head's, below which it is a sheet's.
    pub parallax_milli_min: i64,
    /// What that takes off.
    pub parallax_llr_milli: i64,
}

/// Hints of frames that come from a file: what each takes off as a log-likelihood ratio, and from where on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectionPolicy {
    /// Time stamps nearer to a perfect clock than this, microseconds (x 1000), have no hardware behind them.
    pub irregular_milli_us_min: i64,
    /// What that takes off.
    pub regular_llr_milli: i64,
    /// Noise in code values (x 1000) below which there is none.
    pub noise_milli_min: i64,
    /// The same, of the board's calibrated noise.
    pub noise_of_calibrated_milli_min: i64,
    /// What no noise takes off.
    pub no_noise_llr_milli: i64,
    /// Growth of the noise with brightness, of a sensor's, beyond which it was painted on.
    pub noise_follows_milli_max: i64,
    /// What that takes off.
    pub noise_follows_llr_milli: i64,
}

/// Thresholds of the passive network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassivePolicy {
    /// Least share of frames that could be judged.
    pub judged_milli_min: i64,
}

/// Thresholds of the sum.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionPolicy {
    /// Least sum of the passive network's, the movement's and the signal's log-likelihood ratios.
    pub total_llr_milli_min: i64,
}

/// Thresholds of continuity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuityPolicy {
    /// Least cosine between the sequence's faces and the embedded one.
    pub cosine_milli_min: i64,
    /// Most tracks of the face over the sequence: a face that is lost and found again may be another one.
    pub tracks_max: u8,
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, or a key is missing, unknown or of the wrong type; the message names line and column.
    #[error("the liveness policy cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
}

impl Policy {
    /// The policy that this build ships.
    pub fn shipped() -> Self {
        Self::from_toml(include_str!("../policy.toml")).expect("the shipped policy is read by a test")
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`PolicyError::Syntax`] says line, column and what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        Ok(toml::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_reads() {
        assert_eq!(Policy::shipped().version, 3);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = include_str!("../policy.toml").replace("cosine_milli_min", "cosine_min");
        let error = Policy::from_toml(&text).expect_err("unknown key").to_string();
        assert!(error.contains("cosine_min") && error.contains("line"), "{error}");
    }
}

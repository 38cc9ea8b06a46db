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
    /// The relief.
    pub relief: ReliefPolicy,
    /// Movement.
    pub motion: MotionPolicy,
    /// The passive network.
    pub passive: PassivePolicy,
    /// The same face from the first slot to the embedded frame.
    pub continuity: ContinuityPolicy,
}

/// Thresholds of the light code.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodePolicy {
    /// Slots decoded wrongly beyond what the code allows that still count as a poor picture, not as a spoof.
    pub doubtful_slots: u8,
    /// Longest sequence, milliseconds: a slow one leaves time for relays.
    pub sequence_ms_max: u16,
    /// Least share of the brightness' changes that the ordered code explains.
    pub explained_milli_min: i64,
}

/// Thresholds of brightness and response.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightPolicy {
    /// Most ambient light on the face, of full scale.
    pub ambient_milli_max: i64,
    /// Least lit brightness of the face, of full scale.
    pub lit_milli_min: i64,
    /// Most share of cells clipped under a single lamp.
    pub clipped_milli_max: i64,
    /// Least response of each lamp, of full scale.
    pub response_milli_min: i64,
    /// Least ratio of the weaker lamp to the stronger.
    pub balance_milli_min: i64,
    /// Least response of the face against the background's.
    pub contrast_milli_min: i64,
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
    /// Assumed distance from lens to face.
    pub distance_mm: u16,
}

/// Thresholds of movement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionPolicy {
    /// Most frames that repeat another one.
    pub repeated_max: u16,
    /// Most movement between two frames, of the distance between the eyes.
    pub sway_milli_max: i64,
}

/// Thresholds of the passive network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassivePolicy {
    /// Mean log-likelihood ratio below which the network refuses by itself.
    pub mean_llr_milli_min: i64,
    /// Least share of frames that could be judged.
    pub judged_milli_min: i64,
}

/// Thresholds of continuity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuityPolicy {
    /// Least cosine between the sequence's faces and the embedded one.
    pub cosine_milli_min: i64,
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
        assert_eq!(Policy::shipped().version, 1);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = include_str!("../policy.toml").replace("cosine_milli_min", "cosine_min");
        let error = Policy::from_toml(&text).expect_err("unknown key").to_string();
        assert!(error.contains("cosine_min") && error.contains("line"), "{error}");
    }
}

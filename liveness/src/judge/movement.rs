//! Movement that pictures lack: frames that repeat.

use didar_protocol::reason::Reason;

use super::{Case, Doubt, Figures};
use crate::motion::repeated;

/// A sensor's noise never repeats: identical or looped frames are no camera's.
pub(super) fn replay(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let repeated = repeated(case.transcript);
    let still_pairs = usize::from(case.motion.still_pairs);
    figures.count("frames-repeated", repeated);
    figures.count("still-pairs", still_pairs);
    let allowed = usize::from(case.policy.motion.repeated_max);
    (repeated.max(still_pairs) > allowed).then_some(Doubt::Spoof(Reason::StillOrLooped))
}

//! Light on the face: enough of the lamps', not too much of the room's, and more than on the background.

use didar_protocol::light_code::Light;
use didar_protocol::reason::Reason;
use didar_protocol::transcript::CELLS;

use super::{Case, Doubt, Figures};
use crate::fit::{Cell, Look};
use crate::linear::{median, milli};
use crate::mean_face::MEAN_FACE;
use crate::motion::sway;

/// Whether the pictures are good enough to judge anybody by them.
pub(super) fn picture(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let (transcript, policy) = (case.transcript, case.policy);
    let ambient = ambient(case);
    let (_, high) = levels(&case.looks);
    let (lit, clipped, sway) = (milli(high), milli(clipped(case)), milli(sway(transcript)));
    let (judged, missing) = (i64::from(case.passive.frames), i64::from(case.passive.context_missing));
    figures.count("frames", transcript.frames.len());
    figures.count("frames-mixed", usize::from(transcript.mixed));
    figures.milli("ambient", ambient);
    figures.milli("lit", lit);
    figures.milli("clipped", clipped);
    figures.milli("sway", sway);
    figures.milli("passive-frames", judged * 1000);
    figures.milli("context-missing", missing * 1000);
    let context = judged * 1000 >= (judged + missing) * policy.passive.judged_milli_min && judged + missing > 0;
    let rules = [
        (!transcript.frames.is_empty(), Reason::TooFewFrames),
        (ambient <= policy.light.ambient_milli_max, Reason::TooMuchInfrared),
        (clipped <= policy.light.clipped_milli_max, Reason::TooBright),
        (lit >= policy.light.lit_milli_min, Reason::TooDark),
        (sway <= policy.motion.sway_milli_max, Reason::HoldStill),
        (context, Reason::ContextMissing),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map(|(_, reason)| Doubt::Poor(reason))
}

/// Whether the room's light is so strong that a doubtful picture is its doing.
pub(super) fn much_ambient(case: &Case<'_>) -> bool {
    ambient(case) > case.policy.light.ambient_doubtful_milli_max
}

/// A spoof, unless the room's light drowns the lamps', and with it what would speak for life.
pub(super) fn unless_drowned(case: &Case<'_>, reason: Reason) -> Doubt {
    let lamps = milli(part(case, &|cell| (cell.left + cell.right) / 2.0));
    let drowned = lamps.saturating_mul(1000) < ambient(case).saturating_mul(case.policy.light.drowned_milli_max);
    if drowned && much_ambient(case) { Doubt::Poor(Reason::TooMuchInfrared) } else { Doubt::Spoof(reason) }
}

/// The room's light on the face, thousandths of full scale.
fn ambient(case: &Case<'_>) -> i64 {
    milli(part(case, &|cell| cell.ambient))
}

/// Whether the face answers the lamps, both of them, and more than what is behind it.
pub(super) fn response(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let policy = &case.policy.light;
    let (left, right) = (part(case, &|cell| cell.left), part(case, &|cell| cell.right));
    let background = case.fit.background_response().max(BACKGROUND_MIN);
    let contrast = milli(((left + right) / 2.0 / background).clamp(0.0, CONTRAST_MAX));
    let (left, right) = (milli(left), milli(right));
    figures.milli("response-left", left);
    figures.milli("response-right", right);
    figures.milli("contrast", contrast);
    let stronger = left.max(right);
    let (weaker, dark) = if left < right { (left, Reason::LeftLampDark) } else { (right, Reason::RightLampDark) };
    if stronger < policy.response_milli_min {
        return Some(Doubt::Spoof(Reason::NoResponse));
    }
    if weaker.saturating_mul(1000) < stronger.saturating_mul(policy.balance_milli_min) {
        return Some(Doubt::Poor(dark));
    }
    (contrast < policy.contrast_milli_min).then(|| unless_drowned(case, Reason::NoResponse))
}

/// Whether the lamps light what the room's light shows; nothing is said where the room is too dark for its picture.
pub(super) fn texture(case: &Case<'_>, figures: &mut Figures) -> Option<Doubt> {
    let policy = &case.policy.texture;
    let found = crate::texture::texture(&case.fit.face, case.transcript.frames.len());
    let (common, shown) = (milli(found.common), milli(found.shown));
    figures.milli("texture-common", common);
    figures.milli("texture-shown", shown);
    figures.count("texture-cells", found.cells);
    let told = found.cells >= usize::from(policy.cells_min) && shown >= policy.shown_milli_min;
    (told && common < policy.common_milli_min).then(|| unless_drowned(case, Reason::NoResponse))
}

/// Difference between the brightest and the darkest frame, of full scale.
pub(super) fn changes(looks: &[Look]) -> f64 {
    let (low, high) = levels(looks);
    (high - low).max(0.0)
}

/// Brightness of the face in the darkest and the brightest frame, of full scale.
fn levels(looks: &[Look]) -> (f64, f64) {
    let level = |look: &Look| median(middle().map(|cell| look.face[cell]).collect());
    looks.iter().map(level).fold((1.0, 0.0), |(low, high): (f64, f64), level| (low.min(level), high.max(level)))
}

/// One part of the middle cells' light, of full scale.
fn part(case: &Case<'_>, of: &dyn Fn(&Cell) -> f64) -> f64 {
    median(middle().filter_map(|cell| case.fit.face[cell].as_ref().map(of)).collect())
}

/// Share of the middle cells that are clipped under a single lamp.
pub(super) fn clipped(case: &Case<'_>) -> f64 {
    let code = &case.transcript.code;
    let single = case.looks.iter().filter(|look| matches!(code[look.slot], Light::Left | Light::Right));
    let (mut clipped, mut cells) = (0usize, 0usize);
    for look in single {
        clipped += middle().filter(|&cell| look.clipped[cell]).count();
        cells += middle().count();
    }
    clipped as f64 / cells.max(1) as f64
}

/// The cells that a face covers.
fn middle() -> impl Iterator<Item = usize> {
    (0..CELLS).filter(|&cell| MEAN_FACE[cell][0] >= COVER_MIN)
}

/// Least share of a cell that the mean face covers, thousandths.
const COVER_MIN: i16 = 900;
/// A background darker than this counts as this: a tenth of a code value.
const BACKGROUND_MIN: f64 = 0.0005;
/// Contrasts beyond say nothing more.
const CONTRAST_MAX: f64 = 1000.0;

//! How long the lamps may shine: a bucket of light that empties while they are lit and fills while they are dark.
//!
//! Pure. The arithmetic of eye safety behind the figures is in the decision record on lamps.

use std::time::Duration;

use crate::attempt::LIT_MAX;
use crate::time::Moment;

/// For every moment of light, so many of darkness, in the long run: half the time dark.
const DARK_PER_LIT: u32 = 1;
/// After the budget was used up, light is given again once so much of it has filled: enough for a whole code.
const REFILLED: Duration = Duration::from_millis(900);

/// The light that is left.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What was left at `since`.
    left: Duration,
    since: Moment,
    lit: bool,
    /// Used up, and not refilled yet.
    spent: bool,
}

impl Budget {
    /// A full one.
    pub const fn new(now: Moment) -> Self {
        Self { left: LIT_MAX, since: now, lit: false, spent: false }
    }

    /// The lamps go on, or change.
    pub fn lit(&mut self, now: Moment) {
        self.settle(now);
        self.lit = true;
    }

    /// The lamps are dark.
    pub fn dark(&mut self, now: Moment) {
        self.settle(now);
        self.lit = false;
    }

    /// When lit lamps must be dark; `None` while they are.
    pub fn ends(&self) -> Option<Moment> {
        self.lit.then(|| self.since.after(self.left))
    }

    /// How long the lamps must stay dark from `now` on; zero where they may shine.
    pub fn wait(&self, now: Moment) -> Duration {
        let mut then = *self;
        then.settle(now);
        if then.spent { REFILLED.saturating_sub(then.left) * DARK_PER_LIT } else { Duration::ZERO }
    }

    fn settle(&mut self, now: Moment) {
        let passed = now.since(self.since);
        self.left = if self.lit {
            self.left.saturating_sub(passed)
        } else {
            self.left.saturating_add(passed / DARK_PER_LIT).min(LIT_MAX)
        };
        self.since = now;
        if self.left.is_zero() {
            self.spent = true;
        } else if self.left >= REFILLED {
            self.spent = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: u64) -> Moment {
        Moment::from_nanos(at * 1_000_000)
    }

    #[test]
    fn a_lamp_that_stays_on_ends_at_lit_max() {
        let mut budget = Budget::new(ms(0));
        assert_eq!(budget.ends(), None);
        budget.lit(ms(1_000));
        budget.lit(ms(1_500));
        assert_eq!(budget.ends(), Some(ms(2_500)), "a change of light gives no new budget");
    }

    #[test]
    fn spent_light_comes_back_in_the_dark() {
        let mut budget = Budget::new(ms(0));
        budget.lit(ms(0));
        budget.dark(ms(1_500));
        assert_eq!(budget.wait(ms(1_500)), Duration::from_millis(900));
        assert_eq!(budget.wait(ms(2_000)), Duration::from_millis(400));
        assert_eq!(budget.wait(ms(2_400)), Duration::ZERO);
        budget.lit(ms(2_400));
        assert_eq!(budget.ends(), Some(ms(3_300)));
    }

    #[test]
    fn in_the_long_run_the_lamps_are_dark_half_the_time() {
        let mut budget = Budget::new(ms(0));
        let (mut lit, mut now) = (0, 0);
        while now < 600_000 {
            if budget.wait(ms(now)).is_zero() {
                budget.lit(ms(now));
                lit += 10;
            }
            now += 10;
            if budget.ends().is_some_and(|end| end <= ms(now)) {
                budget.dark(ms(now));
            }
        }
        assert!(lit <= 600_000 / 2 + 1_500, "lit for {lit} of {now} ms");
    }

    #[test]
    fn three_codes_in_a_row_fit() {
        let mut budget = Budget::new(ms(0));
        for attempt in 0..20 {
            // 12 slots of 67 ms, three quarters of them lit, and a second until the next try.
            for slot in 0..12 {
                let now = ms(attempt * 1_800 + slot * 67);
                assert_eq!(budget.wait(now), Duration::ZERO, "attempt {attempt}, slot {slot}");
                if slot % 4 == 0 { budget.dark(now) } else { budget.lit(now) }
            }
            budget.dark(ms(attempt * 1_800 + 804));
        }
    }
}

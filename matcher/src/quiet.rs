//! One alarm of a kind in ten seconds: what strangers can cause must not become a flood.

use std::collections::BTreeMap;

/// Between two alarms of one kind, milliseconds; the others are counted into the next.
const ALARM_EVERY_MS: u64 = 10_000;

/// When each kind of alarm was told last, and how many were not told since. The kinds are few and known.
pub(crate) struct Quiet<K>(BTreeMap<K, (u64, u64)>);

impl<K: Ord> Quiet<K> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The note to tell now; `None` when one of its kind was told a moment ago.
    pub(crate) fn due(&mut self, kind: K, note: &str, now_ms: u64) -> Option<String> {
        match self.0.get_mut(&kind) {
            // A clock that was set back silences nothing.
            Some((last_ms, silent)) if now_ms.abs_diff(*last_ms) < ALARM_EVERY_MS => {
                *silent += 1;
                None
            }
            Some((last_ms, silent)) => {
                *last_ms = now_ms;
                Some(match std::mem::take(silent) {
                    0 => note.to_owned(),
                    silent => format!("{note} ({silent} more before)"),
                })
            }
            None => {
                self.0.insert(kind, (now_ms, 0));
                Some(note.to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_alarm_in_ten_seconds_with_a_count() {
        let mut quiet = Quiet::new();
        assert_eq!(quiet.due(1, "a", 5).as_deref(), Some("a"));
        assert_eq!(quiet.due(2, "b", 5).as_deref(), Some("b"));
        for now_ms in 6..1000 {
            assert_eq!(quiet.due(1, "a", now_ms), None);
        }
        assert_eq!(quiet.due(1, "a", 10_005).as_deref(), Some("a (994 more before)"));
        assert_eq!(quiet.due(1, "a", 20_005).as_deref(), Some("a"));
    }
}

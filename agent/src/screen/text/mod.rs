//! What the kiosk says, in Kazakh, Russian and English.
//!
//! **Here:** the lookup of every text by the value that it explains, and the operator's help line. The words themselves
//! stand in `table` and `reasons`, one language beside the other, so that a change of one is seen beside the other two.
//!
//! **Not here:** how a text is set on the screen (`super::paragraph`).
//!
//! Every match names every variant: a new reason, hint or outcome does not compile until it has its words.

mod help;
mod reasons;
mod table;

pub use help::{Desk, Help, HelpError};

use didar_protocol::message::Outcome;
use didar_protocol::reason::Reason;

use crate::attempt::event::Hint;
pub use crate::attempt::event::Language;

/// One text in every language of the kiosk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// Kazakh, in Cyrillic letters.
    pub kk: &'static str,
    /// Russian.
    pub ru: &'static str,
    /// English.
    pub en: &'static str,
}

impl Words {
    /// The text in one language.
    pub const fn to(self, language: Language) -> &'static str {
        match language {
            Language::Kk => self.kk,
            Language::Ru => self.ru,
            Language::En => self.en,
        }
    }
}

/// A headline, and what the person can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// What happened, in a few words.
    pub title: &'static str,
    /// What the person can do now, in at most two short sentences.
    pub next_step: &'static str,
}

impl Text {
    const fn new((title, next_step): (Words, Words), language: Language) -> Self {
        Self { title: title.to(language), next_step: next_step.to(language) }
    }
}

/// What to tell the person about an ending. The screen and the local API both say this.
///
/// Nobody is accused, and nothing is taught: all reasons of a spoof share one text, which names no witness.
pub const fn outcome_text(outcome: Outcome, reason: Reason, language: Language) -> Text {
    Text::new((table::outcome_title(outcome, reason), table::next_step(outcome, reason)), language)
}

/// What to ask of the person who stands before the camera.
pub const fn hint_text(hint: Hint, language: Language) -> Text {
    Text::new(table::hint(hint), language)
}

/// What to say while the proof is judged.
pub const fn checking_text(language: Language) -> Text {
    Text::new(table::CHECKING, language)
}

/// What to say when the kiosk can serve nobody.
pub const fn out_of_service_text(reason: Reason, language: Language) -> Text {
    Text::new((table::OUT_OF_SERVICE, table::next_step(Outcome::Fault, reason)), language)
}

/// How the idle screen greets: a greeting, and how to begin.
pub const fn invitation(language: Language) -> Text {
    Text::new(table::INVITATION, language)
}

/// A fault in a word or two, for the idle screen's notice.
pub const fn fault_label(reason: Reason, language: Language) -> &'static str {
    reasons::fault(reason).to(language)
}

/// The word that leads the help line.
pub const fn help_label(language: Language) -> &'static str {
    table::HELP.to(language)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::font::{Letters, Weight};

    /// Every text of the table with its place, in every language.
    fn every_text() -> Vec<(String, &'static str)> {
        let mut all = Vec::new();
        for language in Language::ALL {
            let mut add = |place: String, text: Text| {
                all.push((format!("{language:?} {place} title"), text.title));
                all.push((format!("{language:?} {place} next step"), text.next_step));
            };
            for &reason in Reason::ALL {
                for outcome in crate::screen::gallery::OUTCOMES {
                    add(format!("{outcome:?} {reason:?}"), outcome_text(outcome, reason, language));
                }
                add(format!("out of service {reason:?}"), out_of_service_text(reason, language));
            }
            for hint in Hint::ALL {
                add(format!("{hint:?}"), hint_text(hint, language));
            }
            add("checking".into(), checking_text(language));
            add("invitation".into(), invitation(language));
            all.push((format!("{language:?} help"), help_label(language)));
            for &reason in Reason::ALL {
                all.push((format!("{language:?} fault {reason:?}"), fault_label(reason, language)));
            }
        }
        all
    }

    #[test]
    fn every_letter_of_every_text_is_in_both_fonts() {
        let letters = Letters::new();
        for (place, text) in every_text() {
            assert!(!text.trim().is_empty(), "{place} is empty");
            for weight in [Weight::Regular, Weight::Bold] {
                let missing: Vec<char> = text.chars().filter(|&c| !letters.has(weight, c)).collect();
                assert!(missing.is_empty(), "{place}: {weight:?} lacks {missing:?}");
            }
        }
    }

    #[test]
    fn every_kazakh_letter_is_in_both_fonts() {
        let letters = Letters::new();
        for weight in [Weight::Regular, Weight::Bold] {
            for letter in "АӘБВГҒДЕЁЖЗИЙКҚЛМНҢОӨПРСТУҰҮФХҺЦЧШЩЪЫІЬЭЮЯаәбвгғдеёжзийкқлмнңоөпрстуұүфхһцчшщъыіьэюя".chars()
            {
                assert!(letters.has(weight, letter), "{weight:?} lacks {letter}");
            }
        }
    }

    #[test]
    fn every_language_is_written_in_its_own_letters() {
        for (place, text) in every_text() {
            let latin = text.chars().any(|c| c.is_ascii_alphabetic());
            let cyrillic = text.chars().any(|c| ('\u{400}'..='\u{52f}').contains(&c));
            let kazakh_only = text.chars().any(|c| "әғқңөұүһіӘҒҚҢӨҰҮҺІ".contains(c));
            assert_eq!(latin, place.starts_with("En"), "{place}: {text}");
            assert_eq!(cyrillic, !place.starts_with("En"), "{place}: {text}");
            assert!(!kazakh_only || place.starts_with("Kk"), "{place}: {text}");
        }
    }

    #[test]
    fn sentences_end_and_titles_do_not() {
        for (place, text) in every_text() {
            assert_eq!(text, text.trim(), "{place}");
            assert!(!text.contains("  ") && !text.contains('\n'), "{place}: {text}");
            if place.ends_with("title") {
                assert!(!text.ends_with('.'), "{place}: {text}");
            }
            if place.ends_with("next step") {
                assert!(text.ends_with('.'), "{place}: {text}");
            }
        }
    }

    #[test]
    fn a_spoof_is_told_the_same_whatever_was_found() {
        let seen = [Reason::LightCodeWrong, Reason::NoRelief, Reason::NoResponse, Reason::TooLate].into_iter().chain([
            Reason::StillOrLooped,
            Reason::FaceChanged,
            Reason::LooksFalse,
            Reason::None,
            Reason::TooDark,
        ]);
        for language in Language::ALL {
            let told = outcome_text(Outcome::Spoof, Reason::None, language);
            for reason in seen.clone() {
                assert_eq!(outcome_text(Outcome::Spoof, reason, language), told, "{reason:?}");
            }
            let said = format!("{} {}", told.title, told.next_step).to_lowercase();
            for word in ["fake", "spoof", "fraud", "light", "lamp", "поддел", "мошен", "обман", "жалған", "алдау"]
            {
                assert!(!said.contains(word), "{said}");
            }
        }
    }
}

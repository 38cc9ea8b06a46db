//! The operator's help line: where a person finds a human being. Part of the configuration.

use serde::Deserialize;

use super::{Language, help_label};

/// Where help can be had; shown on every screen.
///
/// In the configuration: `[help]` with `phone` and `[help.desk]` with `kk`, `ru` and `en`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Help {
    desk: Desk,
    phone: Option<String>,
}

/// The name of the place where staff can be found, e.g. "№ 1 терезе", "окно № 1", "window 1".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// In Kazakh.
    pub kk: String,
    /// In Russian.
    pub ru: String,
    /// In English.
    pub en: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    desk: Desk,
    phone: Option<String>,
}

/// Why a help line cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelpError {
    /// A text is empty, or only spaces.
    #[error("{place} is empty; say where a person finds help")]
    Empty {
        /// The key in the configuration.
        place: &'static str,
    },
    /// A text is too long for the smallest screen.
    #[error("{place} has {found} letters, at most {most} fit on every screen")]
    TooLong {
        /// The key in the configuration.
        place: &'static str,
        /// How many it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// The kiosk's letters do not hold this one.
    #[error("{place} has the letter {letter:?}, which the kiosk's font lacks; use Kazakh, Russian or English letters")]
    NoSuchLetter {
        /// The key in the configuration.
        place: &'static str,
        /// The letter.
        letter: char,
    },
}

impl Help {
    /// Most letters of the desk's name in one language: what the smallest screen holds.
    pub const DESK_MOST: usize = 28;
    /// Most letters of the phone number.
    pub const PHONE_MOST: usize = 18;

    /// A help line, if every screen can show it.
    ///
    /// # Errors
    /// A text is empty, too long, or has a letter that the font lacks.
    pub fn new(desk: Desk, phone: Option<String>) -> Result<Self, HelpError> {
        check("help.desk.kk", &desk.kk, Self::DESK_MOST)?;
        check("help.desk.ru", &desk.ru, Self::DESK_MOST)?;
        check("help.desk.en", &desk.en, Self::DESK_MOST)?;
        if let Some(phone) = &phone {
            check("help.phone", phone, Self::PHONE_MOST)?;
        }
        Ok(Self { desk, phone })
    }

    /// The place, in one language.
    pub fn desk(&self, language: Language) -> &str {
        match language {
            Language::Kk => &self.desk.kk,
            Language::Ru => &self.desk.ru,
            Language::En => &self.desk.en,
        }
    }

    /// The number to call, where there is one.
    pub fn phone(&self) -> Option<&str> {
        self.phone.as_deref()
    }

    /// The whole line in one language, e.g. "Help: window 1 · 1414". For the local API.
    pub fn line(&self, language: Language) -> String {
        let desk = self.desk(language);
        match self.phone() {
            Some(phone) => format!("{}: {desk} · {phone}", help_label(language)),
            None => format!("{}: {desk}", help_label(language)),
        }
    }
}

impl TryFrom<Unchecked> for Help {
    type Error = HelpError;

    fn try_from(unchecked: Unchecked) -> Result<Self, HelpError> {
        Self::new(unchecked.desk, unchecked.phone)
    }
}

fn check(place: &'static str, text: &str, most: usize) -> Result<(), HelpError> {
    let found = text.chars().count();
    if text.trim().is_empty() {
        return Err(HelpError::Empty { place });
    }
    if found > most {
        return Err(HelpError::TooLong { place, found, most });
    }
    match text.chars().find(|&letter| !drawable(letter)) {
        Some(letter) => Err(HelpError::NoSuchLetter { place, letter }),
        None => Ok(()),
    }
}

/// The letters of the font's subset; `font/build.sh` lists the same. A test holds the two together.
fn drawable(letter: char) -> bool {
    matches!(letter, ' '..='~' | '\u{a0}' | '«' | '·' | '»' | 'Ё' | 'ё' | 'І' | 'і' | 'А'..='я')
        || "ҒғҚқҢңҮүҰұҺһӘәӨө–—‘’“”•…₸№".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::font::{Letters, Weight};

    fn read(text: &str) -> Result<Help, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_configuration_reads_as_written() {
        let help = read("phone = '1414'\n[desk]\nkk = '№ 1 терезе'\nru = 'окно № 1'\nen = 'window 1'").unwrap();
        assert_eq!(help.line(Language::Kk), "Көмек: № 1 терезе · 1414");
        assert_eq!(help.line(Language::En), "Help: window 1 · 1414");
        let no_phone = read("[desk]\nkk = 'а'\nru = 'б'\nen = 'c'").unwrap();
        assert_eq!(no_phone.line(Language::Ru), "Помощь: б");
    }

    #[test]
    fn what_no_screen_can_show_is_refused_by_name() {
        for (text, said) in [
            ("[desk]\nkk = ' '\nru = 'б'\nen = 'c'", "help.desk.kk is empty"),
            ("[desk]\nkk = 'а'\nru = 'б'\nen = '接待'", "help.desk.en has the letter '接'"),
            ("[desk]\nkk = 'а'\nru = 'б'\nen = \"c\\n\"", "has the letter '\\n'"),
            ("phone = '+7 (700) 000-00-00-00-00'\n[desk]\nkk = 'а'\nru = 'б'\nen = 'c'", "at most 18"),
            ("fax = '1'\n[desk]\nkk = 'а'\nru = 'б'\nen = 'c'", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_may_be_written_is_what_the_fonts_hold() {
        let letters = Letters::new();
        for letter in '\u{20}'..='\u{2fff}' {
            for weight in [Weight::Regular, Weight::Bold] {
                assert_eq!(drawable(letter), letters.has(weight, letter), "{letter:?} U+{:04X}", letter as u32);
            }
        }
    }
}

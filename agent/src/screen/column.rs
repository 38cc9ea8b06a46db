//! The words beside the panel: a column of signs, headlines and texts, as large as its place allows.

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::primitives::Rectangle;

use super::font::{Letters, Weight};
use super::icon::Icon;
use super::palette::{INK, INK_SOFT};
use super::paragraph::Paragraph;
use super::plan::{Kind, Scale};
use super::text::Text;

/// Parts from top to bottom.
pub(super) struct Column {
    pub(super) parts: Vec<Part>,
    pub(super) height: u32,
    /// Whether it is too large even with the smallest letters.
    pub(super) cramped: bool,
}

/// One part of a column. Heights in pixels.
pub(super) enum Part {
    Space(u32),
    Rule(u32),
    Sign(Icon, u32),
    Words(Paragraph, Rgb888),
}

/// How a text's title is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    /// Alone on the screen.
    Title,
    /// One of several.
    Greeting,
}

impl Part {
    pub(super) fn height(&self) -> u32 {
        match self {
            Self::Space(height) | Self::Rule(height) | Self::Sign(_, height) => *height,
            Self::Words(paragraph, _) => paragraph.height(),
        }
    }
}

impl Column {
    /// The column with the largest letters that fit into `area`; several texts are parted by a rule.
    pub(super) fn fitting(
        letters: &Letters,
        scale: Scale,
        area: Rectangle,
        icon: Option<Icon>,
        words: &[(Heading, Text)],
    ) -> Self {
        let caps = Caps::new(letters, scale, area.size.width, words);
        let at = |share: u32| Self::new(letters, scale, area.size.width, icon, words, caps.under(share));
        (0..=STEPS).rev().map(at).find(|column| column.fits(area)).unwrap_or_else(|| {
            let smallest = at(0);
            Self { cramped: true, ..smallest }
        })
    }

    fn new(
        letters: &Letters,
        scale: Scale,
        width: u32,
        icon: Option<Icon>,
        words: &[(Heading, Text)],
        shares: Caps,
    ) -> Self {
        let px = |kind, share| height_at(scale, kind, share);
        let mut parts = Vec::new();
        if let Some(icon) = icon {
            let side = px(Kind::Title, shares.titles) * 17 / 10;
            parts.extend([Part::Sign(icon, side), Part::Space(side / 4)]);
        }
        for (index, (heading, text)) in words.iter().enumerate() {
            let title_px = px(heading.kind(), shares.titles);
            // Running text stays smaller than its title, but never falls under its own least height.
            let body_px = px(Kind::Body, shares.bodies).min(title_px * 5 / 6).max(px(Kind::Body, 0));
            if index > 0 {
                parts.push(Part::Rule(body_px * 9 / 10));
            }
            let title = Paragraph::new(letters, Weight::Bold, title_px as u16, text.title, width);
            parts.push(Part::Words(title, INK));
            for (number, sentence) in sentences(text.next_step).enumerate() {
                let gap = match (heading, number) {
                    (Heading::Title, 0) => body_px / 2,
                    (Heading::Greeting, 0) => body_px / 8,
                    (Heading::Title | Heading::Greeting, _) => body_px / 5,
                };
                let body = Paragraph::new(letters, Weight::Regular, body_px as u16, sentence, width);
                parts.extend([Part::Space(gap), Part::Words(body, INK_SOFT)]);
            }
        }
        let height = parts.iter().map(Part::height).sum();
        Self { parts, height, cramped: false }
    }

    fn fits(&self, area: Rectangle) -> bool {
        let narrow = self.parts.iter().all(|part| match part {
            Part::Words(paragraph, _) => paragraph.width() <= area.size.width,
            Part::Sign(_, side) => *side <= area.size.width,
            Part::Space(_) | Part::Rule(_) => true,
        });
        narrow && self.height <= area.size.height
    }
}

impl Heading {
    const fn kind(self) -> Kind {
        match self {
            Self::Title => Kind::Title,
            Self::Greeting => Kind::Greeting,
        }
    }
}

/// How large titles and running text may be so that no word sticks out: steps from the least height to the wanted one.
#[derive(Clone, Copy)]
struct Caps {
    titles: u32,
    bodies: u32,
}

impl Caps {
    fn new(letters: &Letters, scale: Scale, width: u32, words: &[(Heading, Text)]) -> Self {
        let holds = |weight, kind, share, text: &str, lines: usize| {
            let paragraph = Paragraph::new(letters, weight, height_at(scale, kind, share) as u16, text, width);
            paragraph.width() <= width && paragraph.lines() <= lines
        };
        let largest = |fits: &dyn Fn(u32) -> bool| (0..=STEPS).rev().find(|share| fits(*share));
        let titles_in = |lines: usize| {
            largest(&|share| {
                words.iter().all(|(heading, text)| holds(Weight::Bold, heading.kind(), share, text.title, lines))
            })
        };
        let bodies = largest(&|share| {
            words.iter().all(|(_, text)| {
                sentences(text.next_step)
                    .all(|sentence| holds(Weight::Regular, Kind::Body, share, sentence, usize::MAX))
            })
        });
        // A title of two lines reads better than a larger one of three.
        let titles = titles_in(2).or_else(|| titles_in(usize::MAX));
        Self { titles: titles.unwrap_or(0), bodies: bodies.unwrap_or(0) }
    }

    fn under(self, share: u32) -> Self {
        Self { titles: self.titles.min(share), bodies: self.bodies.min(share) }
    }
}

/// Letter height of this kind of text, pixels: the least at 0, the wanted one at [`STEPS`].
fn height_at(scale: Scale, kind: Kind, share: u32) -> u32 {
    let (wanted, least) = scale.letters(kind);
    least + wanted.saturating_sub(least) * share / STEPS
}

/// Sentences stand on lines of their own: one thing at a time.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(". ").map(str::trim_end)
}

/// From the smallest letters to the wanted ones in so many steps.
const STEPS: u32 = 16;

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
        let at = |share: u32| Self::new(letters, scale, area.size.width, icon, words, share);
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
        share: u32,
    ) -> Self {
        let px = |kind| {
            let (wanted, least) = scale.letters(kind);
            least + wanted.saturating_sub(least) * share / STEPS
        };
        let mut parts = Vec::new();
        if let Some(icon) = icon {
            let side = px(Kind::Title) * 17 / 10;
            parts.extend([Part::Sign(icon, side), Part::Space(side / 4)]);
        }
        for (index, (heading, text)) in words.iter().enumerate() {
            if index > 0 {
                parts.push(Part::Rule(px(Kind::Body) * 9 / 10));
            }
            let kind = match heading {
                Heading::Title => Kind::Title,
                Heading::Greeting => Kind::Greeting,
            };
            let title = Paragraph::new(letters, Weight::Bold, px(kind) as u16, text.title, width);
            let body = Paragraph::new(letters, Weight::Regular, px(Kind::Body) as u16, text.next_step, width);
            let gap = match heading {
                Heading::Title => px(Kind::Body) / 2,
                Heading::Greeting => px(Kind::Body) / 8,
            };
            parts.extend([Part::Words(title, INK), Part::Space(gap), Part::Words(body, INK_SOFT)]);
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

/// From the smallest letters to the wanted ones in so many steps.
const STEPS: u32 = 16;

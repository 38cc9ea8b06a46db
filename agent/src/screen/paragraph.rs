//! Setting a text into a rectangle: where lines break, how large the letters can be, and whether it fits at all.

use std::ops::Range;

use embedded_graphics::pixelcolor::{Rgb565, Rgb888};
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::font::{Letters, Weight};

/// A text broken into lines, ready to be painted.
#[derive(Clone, Debug)]
pub(super) struct Paragraph {
    weight: Weight,
    px: u16,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    text: String,
    width: f32,
}

/// To which side lines are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// To the left edge.
    Left,
    /// Each in the middle.
    Middle,
}

impl Paragraph {
    /// Breaks `text` at letter height `px` into as few lines as `width` pixels allow, of about equal length.
    pub(super) fn new(letters: &Letters, weight: Weight, px: u16, text: &str, width: u32) -> Self {
        let edges = letters.edges(weight, px, text);
        let measure = |part: &Range<usize>| edges[part.end] - edges[part.start];
        let widest = width as f32;
        let mut lines = break_lines(text, widest, &measure);
        // The narrowest width with the same number of lines makes them about equally long.
        let (mut low, mut high) = (widest / 2.0, widest);
        while high - low > 1.0 && lines.len() > 1 {
            let middle = (low + high) / 2.0;
            let narrower = break_lines(text, middle, &measure);
            if narrower.len() == lines.len() && narrower.iter().all(|line| measure(line) <= middle) {
                (high, lines) = (middle, narrower);
            } else {
                low = middle;
            }
        }
        let line = |part: Range<usize>| Line { width: measure(&part), text: text[part].to_owned() };
        Self { weight, px, lines: lines.into_iter().map(line).collect() }
    }

    /// The whole text.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        lines.join(" ")
    }

    /// Number of lines.
    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Width of the longest line, pixels.
    pub(super) fn width(&self) -> u32 {
        self.lines.iter().map(|line| line.width.ceil() as u32).max().unwrap_or(0)
    }

    /// From the top of the highest letter (with its accent) to the bottom of the lowest, pixels.
    pub(super) fn height(&self) -> u32 {
        let px = u32::from(self.px);
        let between = (self.lines.len().saturating_sub(1)) as u32 * self.line_height();
        between + (px * ASCENT).div_ceil(100) + (px * DESCENT).div_ceil(100)
    }

    fn line_height(&self) -> u32 {
        let percent = match self.weight {
            Weight::Regular => 130,
            Weight::Bold => 118,
        };
        u32::from(self.px) * percent / 100
    }

    /// Paints the lines from the top of `area` down, in `ink` on a surface of colour `paper`.
    ///
    /// # Errors
    /// The target's own.
    pub(super) fn paint<D: DrawTarget<Color = Rgb565>>(
        &self,
        letters: &mut Letters,
        area: Rectangle,
        side: Side,
        colours: (Rgb888, Rgb888),
        target: &mut D,
    ) -> Result<(), D::Error> {
        let mut base = area.top_left.y + (u32::from(self.px) * ASCENT).div_ceil(100) as i32;
        for line in &self.lines {
            let indent = match side {
                Side::Left => 0,
                Side::Middle => ((area.size.width as f32 - line.width) / 2.0) as i32,
            };
            let start = Point::new(area.top_left.x + indent, base);
            letters.draw((self.weight, self.px), colours, start, &line.text, target)?;
            base += self.line_height() as i32;
        }
        Ok(())
    }
}

/// Top of an accented capital over the base line, in hundredths of the letter height.
const ASCENT: u32 = 95;
/// Bottom of the deepest letter under the base line, in hundredths of the letter height.
const DESCENT: u32 = 25;

/// Breaks at spaces, as late as possible. A word wider than `widest` gets a line of its own and sticks out.
fn break_lines(text: &str, widest: f32, measure: &impl Fn(&Range<usize>) -> f32) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let (mut start, mut fits) = (0, None);
    for end in breaks(text) {
        if let Some(last) = fits
            && measure(&(start..end)) > widest
        {
            lines.push(start..last);
            // The line ended at a space, which is one byte long.
            start = last + 1;
        }
        fits = Some(end);
    }
    lines.push(start..text.len());
    lines
}

/// Where a line may end: at spaces, but not after a word of one or two letters (в, с, не, a, to, №) and not before a dash.
fn breaks(text: &str) -> impl Iterator<Item = usize> + '_ {
    let spaces = text.match_indices(' ').filter(|(at, _)| {
        let last_word = text[..*at].rsplit(' ').next().unwrap_or("");
        let letters_only = last_word.chars().all(|letter| letter.is_alphabetic() || letter == '№');
        let short = last_word.chars().count() <= 2 && letters_only;
        let before_dash = text[at + 1..].starts_with(['–', '—', '·']);
        !short && !before_dash
    });
    spaces.map(|(at, _)| at).chain([text.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str, widest: usize) -> Vec<&str> {
        let count = |part: &Range<usize>| text[part.clone()].chars().count() as f32;
        break_lines(text, widest as f32, &count).into_iter().map(|line| &text[line]).collect()
    }

    #[test]
    fn lines_break_late_and_never_after_a_short_word() {
        assert_eq!(broken("one two three", 8), ["one two", "three"]);
        assert_eq!(broken("one two three", 20), ["one two three"]);
        assert_eq!(broken("Посмотрите в камеру", 12), ["Посмотрите", "в камеру"]);
        assert_eq!(broken("окно № 12 слева", 8), ["окно", "№ 12", "слева"]);
        assert_eq!(broken("Көмек · Помощь · Help", 10), ["Көмек ·", "Помощь ·", "Help"]);
        assert_eq!(broken("a, b. Да. Нет", 5), ["a, b.", "Да.", "Нет"]);
    }

    #[test]
    fn a_word_too_wide_stands_alone() {
        assert_eq!(broken("a wonderfully long", 6), ["a wonderfully", "long"]);
        assert_eq!(broken("", 6), [""]);
    }

    #[test]
    fn lines_are_about_equally_long() {
        let letters = Letters::new();
        let text = "Try again or show your document to a member of staff.";
        let paragraph = Paragraph::new(&letters, Weight::Regular, 20, text, 300);
        let widths: Vec<f32> = paragraph.lines.iter().map(|line| line.width).collect();
        let (short, long) = widths.iter().fold((f32::MAX, 0.0_f32), |(s, l), w| (s.min(*w), l.max(*w)));
        assert!(paragraph.lines() == 2 && long <= 300.0 && short > long * 0.7, "{widths:?}");
        assert_eq!(paragraph.text(), text);
    }
}

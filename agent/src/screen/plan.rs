//! Where everything goes: a view, a language and a size make a plan; nothing is painted here.
//!
//! Every screen has three parts: a coloured panel with a sign or the oval (left, or on top where the screen is upright),
//! the words beside it, and along the bottom a strip that says where help can be had.

use didar_protocol::message::Outcome;
use didar_protocol::reason::Reason;
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use super::column::{Column, Heading, Part};
use super::font::{Letters, Weight};
use super::icon::{self, Icon};
use super::oval::{Oval, Ring};
use super::palette::{AMBER, BRICK, GREEN, INK, LINE, PAPER, SHADE, SKY, SLATE, WHITE};
use super::paragraph::{Paragraph, Side};
use super::text::{self, Help, Language};
use crate::attempt::event::{Hint, View};

/// A screen, ready to be painted in this order: surfaces, oval, signs, texts.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) surfaces: Vec<(Rectangle, Rgb888)>,
    pub(super) oval: Option<Oval>,
    pub(super) signs: Vec<Sign>,
    pub(super) texts: Vec<Block>,
    /// Whether some text is too long even at its smallest size.
    pub(super) cramped: bool,
}

/// A sign in its place.
#[derive(Debug)]
pub(super) struct Sign {
    pub(super) icon: Icon,
    pub(super) corner: Point,
    pub(super) side: u32,
    pub(super) colours: (Rgb888, Rgb888),
}

/// A text in its place.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) paragraph: Paragraph,
    pub(super) area: Rectangle,
    pub(super) side: Side,
    pub(super) colours: (Rgb888, Rgb888),
}

/// Sizes that depend on the screen alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    size: Size,
    short: u32,
    /// Space at the edges and between parts.
    pub(super) margin: u32,
}

impl Scale {
    fn new(size: Size) -> Self {
        let short = size.width.min(size.height);
        Self { size, short, margin: short / 20 }
    }

    fn upright(&self) -> bool {
        self.size.width < self.size.height
    }

    /// Sides to which words are set beside the panel.
    fn side(&self) -> Side {
        if self.upright() { Side::Middle } else { Side::Left }
    }

    /// Letter heights for one kind of text: wanted, and the smallest that we call readable.
    pub(super) fn letters(&self, kind: Kind) -> (u32, u32) {
        let of = |thousandths: u32| self.short * thousandths / 1000;
        match kind {
            Kind::Title => (of(115), (3 + of(55)).max(18)),
            Kind::Greeting => (of(88), (3 + of(50)).max(16)),
            Kind::Body => (of(75), (6 + of(30)).max(14)),
            Kind::Small => (6 + of(38), (5 + of(28)).max(13)),
        }
    }
}

/// The kinds of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What happened.
    Title,
    /// The idle screen's three greetings.
    Greeting,
    /// What to do.
    Body,
    /// Where help is.
    Small,
}

impl Plan {
    /// Lays a view out for a screen of this size.
    pub(super) fn new(letters: &Letters, view: &View, language: Language, help: &Help, size: Size) -> Self {
        let scale = Scale::new(size);
        let mut plan = Self::default();
        let line = help.line(language);
        let strip = match view {
            View::Idle { .. } => match everybodys_help(letters, scale, help) {
                Some(lines) => plan.strip(letters, scale, &lines),
                None => plan.strip(letters, scale, &[line]),
            },
            View::Positioning { .. }
            | View::HoldStill { .. }
            | View::Checking
            | View::Result { .. }
            | View::OutOfService { .. } => plan.strip(letters, scale, &[line]),
        };
        let page = Rectangle::new(Point::zero(), Size::new(size.width, size.height.saturating_sub(strip)));
        match view {
            View::Idle { faults } => plan.idle(letters, scale, page, faults),
            View::Positioning { hint } => {
                let ring = if *hint == Hint::HoldStill { Ring::Placed } else { Ring::Waiting };
                let words = text::hint_text(*hint, language);
                plan.with_oval(letters, scale, page, ring, Icon::of_hint(*hint), words);
            }
            View::HoldStill { progress } => {
                let words = text::hint_text(Hint::HoldStill, language);
                plan.with_oval(letters, scale, page, Ring::Filled(*progress), Icon::of_hint(Hint::HoldStill), words);
            }
            View::Checking => plan.with_sign(letters, scale, page, (icon::DOTS, SKY), text::checking_text(language)),
            View::Result { outcome, reason } => {
                let words = text::outcome_text(*outcome, *reason, language);
                let sign = (Icon::of_outcome(*outcome), colour_of(*outcome));
                plan.with_sign(letters, scale, page, sign, words);
            }
            View::OutOfService { reason } => {
                let words = text::out_of_service_text(*reason, language);
                plan.with_sign(letters, scale, page, (icon::SPANNER, SLATE), words);
            }
        }
        plan
    }

    /// The strip along the bottom; returns its height. Each line is set larger if it then stays one line.
    fn strip(&mut self, letters: &Letters, scale: Scale, lines: &[String]) -> u32 {
        let (wanted, least) = scale.letters(Kind::Small);
        let set = |px: u32| -> Vec<Paragraph> {
            lines.iter().map(|line| strip_paragraph(letters, scale, px, line)).collect()
        };
        let single = |paragraphs: &Vec<Paragraph>| paragraphs.iter().all(|paragraph| fits_strip(scale, paragraph, 1));
        let paragraphs = (least..=wanted).rev().map(set).find(single).unwrap_or_else(|| set(least));
        self.cramped |= !paragraphs.iter().all(|paragraph| fits_strip(scale, paragraph, STRIP_LINES));
        let (space, side) = (scale.margin * 2 / 3, strip_sign(scale));
        let words: u32 = paragraphs.iter().map(Paragraph::height).sum();
        let height = words.max(side) + space * 2;
        let top = scale.size.height.saturating_sub(height) as i32;
        self.surfaces.push((Rectangle::new(Point::new(0, top), Size::new(scale.size.width, height)), SHADE));
        let widest = paragraphs.iter().map(Paragraph::width).max().unwrap_or(0);
        let left = match scale.side() {
            Side::Left => scale.margin,
            Side::Middle => scale.size.width.saturating_sub(side + space + widest) / 2,
        } as i32;
        let centred = |part: u32| top + (height.saturating_sub(part) / 2) as i32;
        let sign = Point::new(left, centred(side));
        self.signs.push(Sign { icon: icon::HELP, corner: sign, side, colours: (SKY, SHADE) });
        let mut corner = Point::new(left + (side + space) as i32, centred(words));
        for paragraph in paragraphs {
            let area = Rectangle::new(corner, Size::new(paragraph.width(), paragraph.height()));
            corner.y += paragraph.height() as i32;
            self.texts.push(Block { paragraph, area, side: Side::Left, colours: (INK, SHADE) });
        }
        height
    }

    fn with_sign(&mut self, letters: &Letters, scale: Scale, page: Rectangle, sign: (Icon, Rgb888), words: text::Text) {
        let share = if scale.upright() { 38 } else { 33 };
        let (panel, rest) = split(scale, page, share);
        let (icon, colour) = sign;
        self.surfaces.push((panel, colour));
        self.surfaces.push((rest, PAPER));
        let side = panel.size.width.min(panel.size.height) * 58 / 100;
        self.sign_in_middle(icon, side, panel, (WHITE, colour));
        let column =
            Column::fitting(letters, scale, rest.offset(-(scale.margin as i32)), None, &[(Heading::Title, words)]);
        self.place(column, rest, scale);
    }

    fn with_oval(
        &mut self,
        letters: &Letters,
        scale: Scale,
        page: Rectangle,
        ring: Ring,
        icon: Icon,
        words: text::Text,
    ) {
        let share = if scale.upright() { 56 } else { 43 };
        let (panel, rest) = split(scale, page, share);
        self.surfaces.push((panel, SKY));
        self.surfaces.push((rest, PAPER));
        self.oval = Some(Oval::within(panel.offset(-(scale.margin as i32 * 2 / 3)), ring));
        let area = rest.offset(-(scale.margin as i32));
        let column = Column::fitting(letters, scale, area, Some(icon), &[(Heading::Title, words)]);
        self.place(column, rest, scale);
    }

    fn idle(&mut self, letters: &Letters, scale: Scale, page: Rectangle, faults: &[Reason]) {
        let (panel, rest) = split(scale, page, if scale.upright() { 34 } else { 36 });
        self.surfaces.push((panel, SKY));
        self.surfaces.push((rest, PAPER));
        let notice = faults.first().map_or(0, |fault| self.notice(letters, scale, panel, *fault));
        let free =
            Rectangle::new(panel.top_left, Size::new(panel.size.width, panel.size.height.saturating_sub(notice)));
        let side = free.size.width.min(free.size.height) * 66 / 100;
        // On the smallest upright screen the notice takes the sign's place.
        if side >= strip_sign(scale) {
            self.sign_in_middle(icon::VIEWFINDER, side, free, (WHITE, SKY));
        }
        let words = Language::ALL.map(|language| (Heading::Greeting, text::invitation(language)));
        let column = Column::fitting(letters, scale, rest.offset(-(scale.margin as i32)), None, &words);
        self.place(column, rest, scale);
    }

    /// A fault in three languages at the foot of the panel; returns the height that it takes.
    fn notice(&mut self, letters: &Letters, scale: Scale, panel: Rectangle, fault: Reason) -> u32 {
        let (wanted, least) = scale.letters(Kind::Small);
        let width = panel.size.width.saturating_sub(scale.margin);
        let lines = |px: u32| -> Vec<Paragraph> {
            let set =
                |language| Paragraph::new(letters, Weight::Bold, px as u16, text::fault_label(fault, language), width);
            Language::ALL.map(set).into()
        };
        let fits = |lines: &Vec<Paragraph>| lines.iter().all(|line| line.lines() == 1 && line.width() <= width);
        let lines = (least..=wanted).rev().map(lines).find(fits).unwrap_or_else(|| lines(least));
        self.cramped |= lines.iter().any(|line| line.width() > width);
        let side = strip_sign(scale);
        let words: u32 = lines.iter().map(Paragraph::height).sum();
        let height = words + side + scale.margin / 3 + scale.margin * 2 / 3;
        let mut top = panel.top_left.y + panel.size.height.saturating_sub(height) as i32;
        let left = panel.top_left.x + (panel.size.width.saturating_sub(side) / 2) as i32;
        self.signs.push(Sign { icon: icon::WARNING, corner: Point::new(left, top), side, colours: (WHITE, SKY) });
        top += (side + scale.margin / 3) as i32;
        for paragraph in lines {
            let corner = Point::new(panel.top_left.x + (scale.margin / 2) as i32, top);
            let area = Rectangle::new(corner, Size::new(width, paragraph.height()));
            top += paragraph.height() as i32;
            self.texts.push(Block { paragraph, area, side: Side::Middle, colours: (WHITE, SKY) });
        }
        height
    }

    fn sign_in_middle(&mut self, icon: Icon, side: u32, area: Rectangle, colours: (Rgb888, Rgb888)) {
        let corner = Rectangle::with_center(area.center(), Size::new(side, side)).top_left;
        self.signs.push(Sign { icon, corner, side, colours });
    }

    /// Puts a column into the middle of `rest`, from top to bottom.
    fn place(&mut self, column: Column, rest: Rectangle, scale: Scale) {
        self.cramped |= column.cramped;
        let area = rest.offset(-(scale.margin as i32));
        let mut top = area.top_left.y + (area.size.height.saturating_sub(column.height) / 2) as i32;
        let side = scale.side();
        for part in column.parts {
            let corner = Point::new(area.top_left.x, top);
            top += part.height() as i32;
            match part {
                Part::Space(_) => {}
                Part::Rule(height) => {
                    let line = Rectangle::new(corner + Point::new(0, height as i32 / 2), Size::new(area.size.width, 1));
                    self.surfaces.push((line, LINE));
                }
                Part::Sign(icon, height) => {
                    let indent = match side {
                        Side::Left => 0,
                        Side::Middle => (area.size.width.saturating_sub(height) / 2) as i32,
                    };
                    let corner = corner + Point::new(indent, 0);
                    self.signs.push(Sign { icon, corner, side: height, colours: (SKY, PAPER) });
                }
                Part::Words(paragraph, colour) => {
                    let area = Rectangle::new(corner, Size::new(area.size.width, paragraph.height()));
                    self.texts.push(Block { paragraph, area, side, colours: (colour, PAPER) });
                }
            }
        }
    }
}

/// The colour of an ending's panel; its sign and words say the same.
const fn colour_of(outcome: Outcome) -> Rgb888 {
    match outcome {
        Outcome::Grant => GREEN,
        Outcome::Deny => BRICK,
        Outcome::Spoof | Outcome::Inconclusive => AMBER,
        Outcome::Refused | Outcome::TimeOut | Outcome::Offline | Outcome::Fault | Outcome::Cancelled => SLATE,
    }
}

/// The panel, `percent` of the page wide (or high, where the screen is upright), and what is left for words.
fn split(scale: Scale, page: Rectangle, percent: u32) -> (Rectangle, Rectangle) {
    let (width, height) = (page.size.width, page.size.height);
    if scale.upright() {
        let cut = height * percent / 100;
        let rest = Rectangle::new(Point::new(0, cut as i32), Size::new(width, height - cut));
        (Rectangle::new(Point::zero(), Size::new(width, cut)), rest)
    } else {
        let cut = width * percent / 100;
        let rest = Rectangle::new(Point::new(cut as i32, 0), Size::new(width - cut, height));
        (Rectangle::new(Point::zero(), Size::new(cut, height)), rest)
    }
}

/// The help line in all languages, on two lines, where they fit.
fn everybodys_help(letters: &Letters, scale: Scale, help: &Help) -> Option<[String; 2]> {
    let labels = Language::ALL.map(text::help_label).join(" · ");
    let desks = Language::ALL.map(|language| help.desk(language)).join(" · ");
    let phone = help.phone().map(|phone| format!(" · {phone}")).unwrap_or_default();
    let lines = [labels, format!("{desks}{phone}")];
    let (_, least) = scale.letters(Kind::Small);
    let fits = |line: &String| fits_strip(scale, &strip_paragraph(letters, scale, least, line), 1);
    lines.iter().all(fits).then_some(lines)
}

/// Most lines of the help line: the longest one that the configuration allows, on the narrowest screen.
const STRIP_LINES: usize = 3;

fn strip_sign(scale: Scale) -> u32 {
    scale.letters(Kind::Small).0 * 3 / 2
}

fn strip_width(scale: Scale) -> u32 {
    scale.size.width.saturating_sub(scale.margin * 2 + scale.margin * 2 / 3 + strip_sign(scale))
}

fn strip_paragraph(letters: &Letters, scale: Scale, px: u32, line: &str) -> Paragraph {
    Paragraph::new(letters, Weight::Bold, px as u16, line, strip_width(scale))
}

/// At most so many lines, none of them sticking out.
fn fits_strip(scale: Scale, paragraph: &Paragraph, lines: usize) -> bool {
    paragraph.lines() <= lines && paragraph.width() <= strip_width(scale)
}

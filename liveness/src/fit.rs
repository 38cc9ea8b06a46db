//! The light of every cell: ambient, left lamp, right lamp, by least squares over the frames.
//!
//! A cell's linear brightness is `g A + l L + r R`, with `l` and `r` 0 or 1 by the slot's state and `g` the frame's
//! ambient factor: lamps of the mains flicker, and the background shows it, because it hardly sees our lamps. Under a
//! rolling shutter each row has its own: the factor is then a wave of the flicker's frequency over the rows.

use didar_protocol::light_code::Light;
use didar_protocol::transcript::{CELLS, GRID, LightTranscript};

use crate::linear::{Linear, solve};

/// One frame, made linear.
pub(crate) struct Look {
    pub(crate) slot: usize,
    pub(crate) face: [f64; CELLS],
    pub(crate) clipped: [bool; CELLS],
    pub(crate) background: Vec<f64>,
    /// Cosine and sine of the flicker's phase in each row of the grid, against the picture's first row.
    waves: [[f64; 2]; GRID],
    /// The same for each background cell.
    background_waves: Vec<[f64; 2]>,
}

/// The ambient light of one frame against the mean.
#[derive(Clone, Copy)]
pub(crate) struct Factor {
    steady: f64,
    wave: [f64; 2],
}

impl Factor {
    /// In a row of this phase.
    fn at(&self, wave: [f64; 2]) -> f64 {
        let factor = self.steady + self.wave[0] * wave[0] + self.wave[1] * wave[1];
        factor.clamp(FACTOR_RANGE.0, FACTOR_RANGE.1)
    }

    /// In every row of the grid.
    fn rows(&self, look: &Look) -> [f64; GRID] {
        look.waves.map(|wave| self.at(wave))
    }
}

/// What one cell is made of, 1 = full scale.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cell {
    pub(crate) ambient: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
}

/// The transcript's frames in linear brightness, those of lawful slots only.
pub(crate) fn looks(transcript: &LightTranscript) -> Vec<Look> {
    let linear = Linear::new(&transcript.camera);
    let width = transcript.frames.iter().map(|frame| frame.background.len()).min().unwrap_or(0);
    // The person may cover a background cell in some frames: such a cell tells nothing.
    let free = |cell: &usize| transcript.frames.iter().all(|frame| frame.background[*cell] != COVERED);
    let background: Vec<usize> = (0..width).filter(free).collect();
    transcript
        .frames
        .iter()
        .filter(|frame| usize::from(frame.slot) < transcript.code.len())
        .map(|frame| Look {
            slot: usize::from(frame.slot),
            face: std::array::from_fn(|cell| linear.of(frame.means[cell])),
            clipped: std::array::from_fn(|cell| frame.clipped[cell] > CLIPPED_MAX),
            background: background.iter().map(|&cell| linear.of(frame.background[cell])).collect(),
            waves: std::array::from_fn(|row| {
                let [top, bottom] = frame.rows_milli.map(|milli| f64::from(milli) / 1000.0);
                wave(transcript, top + (bottom - top) * (row as f64 + 0.5) / GRID as f64)
            }),
            background_waves: background.iter().map(|&cell| wave(transcript, ring_row(cell, width))).collect(),
        })
        .collect()
}

/// Cosine and sine of the flicker's phase at a height of the picture, 0 to 1; none under a global shutter, where all rows
/// see the same.
fn wave(transcript: &LightTranscript, height: f64) -> [f64; 2] {
    let readout_us = transcript.camera.readout_us;
    if readout_us == 0 {
        return [0.0; 2];
    }
    let phase = std::f64::consts::TAU * FLICKER_HZ * f64::from(readout_us) / 1e6 * height.clamp(0.0, 1.0);
    [libm::cos(phase), libm::sin(phase)]
}

/// Height of a background cell's middle: the cells are a ring of 5 by 5, clockwise from the upper left.
fn ring_row(cell: usize, cells: usize) -> f64 {
    let side = cells / 4;
    if side == 0 {
        return 0.5;
    }
    let along = cell % side;
    let row = match cell / side {
        0 => 0,
        1 => along,
        2 => side,
        _ => side - along,
    };
    (row as f64 + 0.5) / (side + 1) as f64
}

/// Lamps flicker at twice the frequency of the mains, which is 50 Hz here.
const FLICKER_HZ: f64 = 100.0;

/// A cell with more than this share (x 255) of clipped pixels tells a lower bound only: 4 %.
const CLIPPED_MAX: u8 = 10;

/// Stands for a background cell that shows the person.
pub(crate) const COVERED: u16 = u16::MAX;

/// How much of each lamp a state is.
pub(crate) fn weights(light: Light) -> (f64, f64) {
    match light {
        Light::Off => (0.0, 0.0),
        Light::Left => (1.0, 0.0),
        Light::Right => (0.0, 1.0),
        Light::Both => (1.0, 1.0),
    }
}

impl Cell {
    pub(crate) fn at(&self, factor: f64, light: Light) -> f64 {
        let (l, r) = weights(light);
        factor * self.ambient + l * self.left + r * self.right
    }
}

/// The light model of face and background, fitted to every look but those of one slot.
pub(crate) struct Fit {
    /// `None` where too few unclipped frames determine the cell.
    pub(crate) face: Vec<Option<Cell>>,
    background: Vec<Cell>,
}

/// The sums of one cell's normal equations.
#[derive(Clone, Copy, Default)]
struct Sums {
    a: [[f64; 3]; 3],
    b: [f64; 3],
}

impl Sums {
    /// A look at this state: the left side.
    fn expect(&mut self, factor: f64, light: Light) {
        self.turn(1.0, factor, light);
    }

    /// Takes [`expect`](Self::expect) back.
    fn forget(&mut self, factor: f64, light: Light) {
        self.turn(-1.0, factor, light);
    }

    fn turn(&mut self, sign: f64, factor: f64, light: Light) {
        let (l, r) = weights(light);
        let x = [factor, l, r];
        for i in 0..3 {
            for j in 0..3 {
                self.a[i][j] += sign * x[i] * x[j];
            }
        }
    }

    /// What the look showed: the right side.
    fn see(&mut self, factor: f64, light: Light, value: f64) {
        let (l, r) = weights(light);
        self.b[0] += factor * value;
        self.b[1] += l * value;
        self.b[2] += r * value;
    }

    /// The cell; a lamp that is never `played` counts as dark.
    fn cell(&self, played: [bool; 2]) -> Option<Cell> {
        let mut a = self.a;
        for (lamp, played) in (1..).zip(played) {
            if !played {
                a[lamp][lamp] = 1.0;
            }
        }
        let [ambient, left, right] = solve(a, self.b)?;
        Some(Cell { ambient, left, right })
    }
}

impl Fit {
    /// Fits all looks except those of slot `without`.
    pub(crate) fn new(looks: &[Look], code: &[Light], without: Option<usize>) -> Self {
        let used: Vec<&Look> = looks.iter().filter(|look| Some(look.slot) != without).collect();
        let played = [Light::Left, Light::Right]
            .map(|lamp| used.iter().any(|look| code[look.slot] == lamp || code[look.slot] == Light::Both));
        let width = looks.first().map_or(0, |look| look.background.len());
        let background: Vec<Cell> = (0..width)
            .map(|cell| {
                let mut sums = Sums::default();
                for look in &used {
                    sums.expect(1.0, code[look.slot]);
                    sums.see(1.0, code[look.slot], look.background[cell]);
                }
                sums.cell(played).unwrap_or_default()
            })
            .collect();
        let mut fit = Self { face: Vec::new(), background };
        let factors: Vec<[f64; GRID]> = used.iter().map(|look| fit.factor(look, code[look.slot]).rows(look)).collect();
        // Most cells are clipped in no frame: the equations of a row differ in the right side only.
        let mut whole = [Sums::default(); GRID];
        for (look, factors) in used.iter().zip(&factors) {
            whole.iter_mut().zip(factors).for_each(|(sums, factor)| sums.expect(*factor, code[look.slot]));
        }
        fit.face = (0..CELLS)
            .map(|cell| {
                let row = cell / GRID;
                let mut sums = whole[row];
                for (look, factors) in used.iter().zip(&factors) {
                    let light = code[look.slot];
                    if look.clipped[cell] {
                        sums.forget(factors[row], light);
                    } else {
                        sums.see(factors[row], light, look.face[cell]);
                    }
                }
                sums.cell(played)
            })
            .collect();
        fit
    }

    /// The ambient factor of a look if its state were `light`, from the background; 1 where the background is dark.
    pub(crate) fn factor(&self, look: &Look, light: Light) -> Factor {
        let (l, r) = weights(light);
        let (mut a, mut b) = ([[0.0; 3]; 3], [FACTOR_PRIOR, 0.0, 0.0]);
        (0..3).for_each(|k| a[k][k] = FACTOR_PRIOR);
        for ((cell, &seen), wave) in self.background.iter().zip(&look.background).zip(&look.background_waves) {
            let terms = [1.0, wave[0], wave[1]].map(|term| term * cell.ambient);
            let ambient = seen - l * cell.left - r * cell.right;
            for i in 0..3 {
                for j in 0..3 {
                    a[i][j] += terms[i] * terms[j];
                }
                b[i] += terms[i] * ambient;
            }
        }
        let [steady, cosine, sine] = solve(a, b).unwrap_or([1.0, 0.0, 0.0]);
        Factor { steady, wave: [cosine, sine] }
    }

    /// What each cell of `look` shows if its state is `light`.
    pub(crate) fn expected(&self, look: &Look, light: Light) -> [Option<f64>; CELLS] {
        let factors = self.factor(look, light).rows(look);
        std::array::from_fn(|cell| self.face[cell].as_ref().map(|fitted| fitted.at(factors[cell / GRID], light)))
    }

    /// Mean response of the background to the two lamps.
    pub(crate) fn background_response(&self) -> f64 {
        let sum: f64 = self.background.iter().fold(0.0, |sum, cell| sum + (cell.left + cell.right) / 2.0);
        sum / self.background.len().max(1) as f64
    }

    /// How badly the cells of `look` are explained by `light`: the sum of squared differences over the cells' noise,
    /// each cell bounded so that a few of them (an eyelid, a glint) cannot decide. Before, the small shift of the
    /// picture under the grid that explains most is taken out: brows and lips that move are no light.
    pub(crate) fn misfit(&self, look: &Look, light: Light) -> f64 {
        let expected = self.expected(look, light);
        let slopes: [[f64; MOVES]; CELLS] = std::array::from_fn(|cell| slopes(&expected, cell));
        let weight = |cell: usize| {
            let noise = noise(self.face[cell].as_ref().map_or(0.0, |fitted| fitted.ambient.max(0.0)));
            1.0 / (noise * noise)
        };
        let shift = shift(look, &expected, &slopes, weight);
        let mut sum = 0.0;
        for (cell, expected) in expected.iter().enumerate() {
            let Some(expected) = expected else { continue };
            let expected = (0..MOVES).fold(*expected, |sum, k| sum + shift[k] * slopes[cell][k]);
            // A clipped cell says "at least so bright".
            if look.clipped[cell] && expected >= look.face[cell] {
                continue;
            }
            let distance = look.face[cell] - expected;
            sum += (distance * distance * weight(cell)).min(DISTANCE_MAX);
        }
        sum
    }
}

/// How the expected brightness changes from cell to cell, to the right and downwards; 0 at the rim.
fn slopes(expected: &[Option<f64>; CELLS], cell: usize) -> [f64; MOVES] {
    let (column, row) = (cell % GRID, cell / GRID);
    let between = |low: usize, high: usize| match (expected[low], expected[high]) {
        (Some(low), Some(high)) => (high - low) / 2.0,
        (Some(_) | None, None) | (None, Some(_)) => 0.0,
    };
    let inner = 1..GRID - 1;
    let right = if inner.contains(&column) { between(cell - 1, cell + 1) } else { 0.0 };
    let down = if inner.contains(&row) { between(cell - GRID, cell + GRID) } else { 0.0 };
    let place = |index: usize| (index as f64 + 0.5) * 2.0 / GRID as f64 - 1.0;
    let (x, y) = (place(column), place(row));
    [right, down, x * right + y * down, x * down - y * right]
}

/// The shift, in cells, that explains most of the difference between a look and what is expected.
fn shift(
    look: &Look,
    expected: &[Option<f64>; CELLS],
    slopes: &[[f64; MOVES]; CELLS],
    weight: impl Fn(usize) -> f64,
) -> [f64; MOVES] {
    let (mut a, mut b) = ([[0.0; MOVES]; MOVES], [0.0; MOVES]);
    (0..MOVES).for_each(|k| a[k][k] = SHIFT_PRIOR);
    for (cell, expected) in expected.iter().enumerate() {
        let (Some(expected), false) = (expected, look.clipped[cell]) else { continue };
        let (weight, slope) = (weight(cell), slopes[cell]);
        let distance = look.face[cell] - expected;
        for i in 0..MOVES {
            for j in 0..MOVES {
                a[i][j] += weight * slope[i] * slope[j];
            }
            b[i] += weight * slope[i] * distance;
        }
    }
    solve(a, b).unwrap_or_default()
}

/// Noise of a cell of this brightness: the sensor's, and that of a texture that moves under the grid.
pub(crate) fn noise(brightness: f64) -> f64 {
    NOISE_FLOOR + NOISE_SHARE * brightness
}

/// Noise of a dark cell's mean, of full scale: half a code value at gamma 2.2 near black.
const NOISE_FLOOR: f64 = 0.002;
/// Noise of a bright cell by movement: 3 % of its brightness (a sway of a fifth of a cell over a soft texture).
const NOISE_SHARE: f64 = 0.03;
/// Ways in which a picture moves under the grid: right, down, larger, turned.
const MOVES: usize = 4;
/// Weight of "nothing has shifted": a standard deviation of 0.2 cells, 2 mm.
const SHIFT_PRIOR: f64 = 25.0;
/// Squared noise distances beyond this count no more.
const DISTANCE_MAX: f64 = 100.0;
/// Weight of "the ambient light is steady" against the background's cells, as a squared brightness.
const FACTOR_PRIOR: f64 = 1e-4;
/// The ambient factor that flicker can reach.
const FACTOR_RANGE: (f64, f64) = (0.25, 4.0);

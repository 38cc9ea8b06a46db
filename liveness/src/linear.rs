//! Small numbers work, in an order that every processor repeats: linear brightness, and a few least squares.

use didar_protocol::transcript::CameraFacts;

/// Turns a cell's mean code value (x 256) into linear brightness, 1 = full scale.
///
/// A table of 257 steps with straight lines between them: the mean of a cell mixes neighbouring code values anyway.
pub(crate) struct Linear([f64; 258]);

impl Linear {
    pub(crate) fn new(camera: &CameraFacts) -> Self {
        let gamma = f64::from(camera.gamma_milli.clamp(GAMMA_MILLI.0, GAMMA_MILLI.1)) / 1000.0;
        let mut table = [0.0; 258];
        for (value, code) in table.iter_mut().zip(0u32..) {
            *value = libm::pow(f64::from(code) / 255.0, gamma);
        }
        Self(table)
    }

    pub(crate) fn of(&self, mean_x256: u16) -> f64 {
        let (whole, part) = (usize::from(mean_x256 >> 8), f64::from(mean_x256 & 255) / 256.0);
        self.0[whole] + (self.0[whole + 1] - self.0[whole]) * part
    }
}

/// The gamma that a camera may have, thousandths.
const GAMMA_MILLI: (u16, u16) = (400, 4000);

/// Solves `N` normal equations; `None` where they do not determine the unknowns.
#[allow(clippy::needless_range_loop, reason = "rows and columns of a matrix read best by their numbers")]
#[allow(clippy::neg_cmp_op_on_partial_ord, reason = "a NaN fails as well")]
pub(crate) fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot =
            (column..N).fold(column, |best, row| if a[row][column].abs() > a[best][column].abs() { row } else { best });
        // Written so that a NaN fails too.
        if !(a[pivot][column].abs() > PIVOT_MIN) {
            return None;
        }
        a.swap(column, pivot);
        b.swap(column, pivot);
        for row in column + 1..N {
            let factor = a[row][column] / a[column][column];
            for k in column..N {
                a[row][k] -= factor * a[column][k];
            }
            b[row] -= factor * b[column];
        }
    }
    let mut x = [0.0; N];
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).fold(0.0, |sum, k| sum + a[row][k] * x[k]);
        x[row] = (b[row] - known) / a[row][row];
    }
    Some(x)
}

/// Below this a pivot is rounding noise: the brightness is of the order of 1 and sums go over at most some 150 terms.
const PIVOT_MIN: f64 = 1e-9;

/// A figure in thousandths; what is not a number counts as 0, what is too large as the largest.
pub(crate) fn milli(value: f64) -> i64 {
    // `as` saturates and turns NaN into 0; the figures need no more than 15 digits.
    (value * 1000.0).clamp(-1e15, 1e15).round() as i64
}

/// The middle value; 0 for none. Order of equal values does not matter.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::CAMERA;

    #[test]
    fn brightness_is_monotonic_from_dark_to_full_scale() {
        let linear = Linear::new(&CAMERA);
        assert_eq!(linear.of(0), 0.0);
        assert!((linear.of(255 << 8) - 1.0).abs() < 1e-12);
        assert!((0..u16::MAX).all(|code| linear.of(code) <= linear.of(code + 1)));
    }

    #[test]
    fn equations_are_solved_or_refused() {
        let x = solve([[2.0, 1.0], [1.0, 3.0]], [5.0, 10.0]).expect("regular");
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 3.0).abs() < 1e-12);
        assert!(solve([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0]).is_none());
        assert!(solve([[f64::NAN, 0.0], [0.0, 1.0]], [1.0, 1.0]).is_none());
    }

    #[test]
    fn figures_survive_what_is_no_number() {
        assert_eq!(
            [milli(f64::NAN), milli(1.2345), milli(-0.5), milli(f64::INFINITY)],
            [0, 1235, -500, 1_000_000_000_000_000]
        );
    }
}

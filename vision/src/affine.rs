//! Plane geometry: 2x3 affine matrices and points. The centre of the first pixel is (0, 0).

/// A map from points to points: `x' = a x + b y + c` per row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Affine(pub(crate) [[f64; 3]; 2]);

impl Affine {
    /// From output pixels to the picture, for a box given by its edges; a pixel reaches half a unit around its centre.
    pub(crate) fn of_box(left: f64, top: f64, right: f64, bottom: f64, width: usize, height: usize) -> Affine {
        let sx = (right - left) / width as f64;
        let sy = (bottom - top) / height as f64;
        Affine([[sx, 0.0, left + sx / 2.0], [0.0, sy, top + sy / 2.0]])
    }

    /// The similarity (turn, scale, shift) that maps `source` to `target` with the least squared error.
    pub(crate) fn similarity<const N: usize>(source: &[[f64; 2]; N], target: &[[f64; 2]; N]) -> Affine {
        let (ms, mt) = (mean(source), mean(target));
        let (mut a, mut b, mut norm) = (0.0, 0.0, 0.0);
        for (s, t) in source.iter().zip(target) {
            let (sx, sy) = (s[0] - ms[0], s[1] - ms[1]);
            let (tx, ty) = (t[0] - mt[0], t[1] - mt[1]);
            a += sx * tx + sy * ty;
            b += sx * ty - sy * tx;
            norm += sx * sx + sy * sy;
        }
        // All points in one place: any similarity is as good; this one is finite and has no inverse trouble.
        let norm = norm.max(1e-9);
        let (a, b) = (a / norm, b / norm);
        Affine([[a, -b, mt[0] - a * ms[0] + b * ms[1]], [b, a, mt[1] - b * ms[0] - a * ms[1]]])
    }

    /// Where `point` goes.
    pub(crate) fn apply(&self, point: [f64; 2]) -> [f64; 2] {
        self.0.map(|row| row[0] * point[0] + row[1] * point[1] + row[2])
    }

    /// The way back. A matrix without inverse (all points in one) gives one that maps everything to the origin.
    pub(crate) fn inverse(&self) -> Affine {
        let [[a, b, c], [d, e, f]] = self.0;
        let determinant = a * e - b * d;
        if determinant.abs() < 1e-18 {
            return Affine([[0.0; 3]; 2]);
        }
        let (ia, ib, id, ie) = (e / determinant, -b / determinant, -d / determinant, a / determinant);
        Affine([[ia, ib, -(ia * c + ib * f)], [id, ie, -(id * c + ie * f)]])
    }

    /// Length of one unit after the map, for a similarity.
    pub(crate) fn scale(&self) -> f64 {
        self.0[0][0].hypot(self.0[1][0])
    }
}

/// The middle of some points.
pub(crate) fn mean(points: &[[f64; 2]]) -> [f64; 2] {
    let n = points.len() as f64;
    let sum = points.iter().fold([0.0, 0.0], |s, p| [s[0] + p[0], s[1] + p[1]]);
    sum.map(|v| v / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_is_recovered_and_undone() {
        let source = [[0.0, 0.0], [10.0, 0.0], [5.0, 7.0]];
        let truth = Affine([[0.8, -0.6, 3.0], [0.6, 0.8, -2.0]]);
        let found = Affine::similarity(&source, &source.map(|p| truth.apply(p)));
        let back = found.inverse().apply(truth.apply([4.0, 9.0]));
        assert!((back[0] - 4.0).abs() < 1e-9 && (back[1] - 9.0).abs() < 1e-9, "{found:?}");
        assert!((found.scale() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn points_in_one_place_give_finite_numbers() {
        let found = Affine::similarity(&[[1.0, 1.0]; 3], &[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        assert!(found.inverse().0.iter().flatten().all(|v| v.is_finite()));
    }
}

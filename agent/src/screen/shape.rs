//! Smooth shapes: the distance from a point to a shape tells how much of the pixel it covers.
//!
//! Only `+ - * /` and square roots, so that every machine draws the same picture.

/// A simple shape in a plane with x to the right and y down.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A filled circle.
    Disc { middle: [f32; 2], radius: f32 },
    /// A circle's line.
    Ring { middle: [f32; 2], radius: f32, thickness: f32 },
    /// A part of a circle's line with round ends: `sin`, `cos` of half its opening, to both sides of the direction `to`
    /// (of length 1).
    Arc { middle: [f32; 2], radius: f32, thickness: f32, to: [f32; 2], half: [f32; 2] },
    /// A line with round ends.
    Bar { from: [f32; 2], to: [f32; 2], thickness: f32 },
    /// A filled ellipse.
    Ellipse { middle: [f32; 2], radii: [f32; 2] },
    /// An ellipse's line.
    Hoop { middle: [f32; 2], radii: [f32; 2], thickness: f32 },
    /// A filled rectangle with round corners.
    Slab { from: [f32; 2], to: [f32; 2], radius: f32 },
}

/// One step in building a figure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Lay this on.
    Add(Shape),
    /// Cut this out of what is there.
    Cut(Shape),
}

impl Shape {
    /// Distance to the shape's edge; negative inside.
    pub(super) fn distance(&self, at: [f32; 2]) -> f32 {
        match *self {
            Self::Disc { middle, radius } => length(minus(at, middle)) - radius,
            Self::Ring { middle, radius, thickness } => (length(minus(at, middle)) - radius).abs() - thickness / 2.0,
            Self::Arc { middle, radius, thickness, to, half } => {
                let from_middle = minus(at, middle);
                let along = dot(from_middle, to);
                let aside = (from_middle[0] * to[1] - from_middle[1] * to[0]).abs();
                let to_line = if half[1] * aside > half[0] * along {
                    length([aside - half[0] * radius, along - half[1] * radius])
                } else {
                    (length(from_middle) - radius).abs()
                };
                to_line - thickness / 2.0
            }
            Self::Bar { from, to, thickness } => {
                let (way, point) = (minus(to, from), minus(at, from));
                let share = (dot(point, way) / dot(way, way)).clamp(0.0, 1.0);
                length([point[0] - way[0] * share, point[1] - way[1] * share]) - thickness / 2.0
            }
            Self::Ellipse { middle, radii } => ellipse(minus(at, middle), radii),
            Self::Hoop { middle, radii, thickness } => ellipse(minus(at, middle), radii).abs() - thickness / 2.0,
            Self::Slab { from, to, radius } => {
                let outside = |axis: usize| {
                    (at[axis] - (from[axis] + to[axis]) / 2.0).abs() - (to[axis] - from[axis]) / 2.0 + radius
                };
                let (x, y) = (outside(0), outside(1));
                length([x.max(0.0), y.max(0.0)]) + x.max(y).min(0.0) - radius
            }
        }
    }
}

/// Distance to the edge of the figure that the steps build; negative inside.
pub(super) fn figure(steps: &[Step], at: [f32; 2]) -> f32 {
    steps.iter().fold(f32::MAX, |distance, step| match step {
        Step::Add(shape) => distance.min(shape.distance(at)),
        Step::Cut(shape) => distance.max(-shape.distance(at)),
    })
}

/// How much of a pixel lies inside, when its middle is `distance` pixels from the edge: 0 to 1.
pub(super) fn coverage(distance: f32) -> f32 {
    (0.5 - distance).clamp(0.0, 1.0)
}

/// Distance to an ellipse around the origin: exact on the edge, a good guess near it, negative inside.
pub(super) fn ellipse(at: [f32; 2], radii: [f32; 2]) -> f32 {
    let near = length([at[0] / radii[0], at[1] / radii[1]]);
    let slope = length([at[0] / (radii[0] * radii[0]), at[1] / (radii[1] * radii[1])]);
    if slope == 0.0 { -radii[0].min(radii[1]) } else { near * (near - 1.0) / slope }
}

fn minus(one: [f32; 2], other: [f32; 2]) -> [f32; 2] {
    [one[0] - other[0], one[1] - other[1]]
}

fn dot(one: [f32; 2], other: [f32; 2]) -> f32 {
    one[0] * other[0] + one[1] * other[1]
}

fn length(of: [f32; 2]) -> f32 {
    dot(of, of).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_zero_on_the_edge_and_negative_inside() {
        let middle = [3.0, 4.0];
        let cases = [
            (Shape::Disc { middle, radius: 2.0 }, [5.0, 4.0], [3.0, 4.0]),
            (Shape::Ring { middle, radius: 2.0, thickness: 1.0 }, [5.5, 4.0], [5.0, 4.0]),
            (Shape::Bar { from: middle, to: [9.0, 4.0], thickness: 2.0 }, [6.0, 5.0], [6.0, 4.0]),
            (Shape::Ellipse { middle, radii: [2.0, 3.0] }, [3.0, 7.0], [3.0, 4.0]),
            (Shape::Hoop { middle, radii: [2.0, 3.0], thickness: 1.0 }, [3.0, 7.5], [3.0, 7.0]),
            (Shape::Slab { from: [1.0, 1.0], to: [9.0, 5.0], radius: 1.0 }, [5.0, 5.0], [5.0, 3.0]),
            (
                Shape::Arc { middle, radius: 2.0, thickness: 1.0, to: [0.0, -1.0], half: [1.0, 0.0] },
                [3.0, 1.5],
                [3.0, 2.0],
            ),
        ];
        for (shape, edge, inside) in cases {
            assert!(shape.distance(edge).abs() < 1e-2, "{shape:?}: {}", shape.distance(edge));
            assert!(shape.distance(inside) < -0.4, "{shape:?}: {}", shape.distance(inside));
        }
    }

    #[test]
    fn an_arc_is_open_where_it_says() {
        let arc = Shape::Arc { middle: [0.0, 0.0], radius: 2.0, thickness: 1.0, to: [0.0, -1.0], half: [1.0, 0.0] };
        assert!(arc.distance([0.0, -2.0]) < 0.0);
        assert!(arc.distance([0.0, 2.0]) > 1.0);
    }

    #[test]
    fn what_is_cut_is_gone() {
        let disc = |radius| Shape::Disc { middle: [0.0, 0.0], radius };
        let steps = [Step::Add(disc(3.0)), Step::Cut(disc(1.0))];
        assert!(figure(&steps, [0.0, 0.0]) > 0.0);
        assert!(figure(&steps, [2.0, 0.0]) < 0.0);
    }
}

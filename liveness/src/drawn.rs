//! Landmarks are drawn to the lit side: a face that is lit from the left seems to lie a little further left.
//!
//! The grid follows them, so a brow's rim or a lip's lies elsewhere under it in the frames of the left lamp than in those of
//! the right one, and in strong ambient light that difference is larger than the relief's. It follows the slopes of the
//! room's picture, which are known; the relief test takes it out with planes and bends.

use didar_protocol::transcript::GRID;

use crate::fit::Cell;

/// What half the logarithm of left against right light gains where the grid moves by one cell to the right, and downwards,
/// from the left lamp's frames to the right one's; 0 where a neighbour is not known.
pub(crate) fn drawn(face: &[Option<Cell>], cell: usize, light: &Cell) -> [f64; 2] {
    let room = |cell: usize| face[cell].as_ref().map(|light| light.ambient);
    let between = |low: usize, high: usize| match (room(low), room(high)) {
        (Some(low), Some(high)) => (high - low) / 2.0,
        (Some(_) | None, None) | (None, Some(_)) => 0.0,
    };
    let (column, row) = (cell % GRID, cell / GRID);
    let last = GRID - 1;
    let right = between(cell - usize::from(column > 0), cell + usize::from(column < last));
    let down = between(cell - GRID * usize::from(row > 0), cell + GRID * usize::from(row < last));
    [right, down].map(|slope| slope * (1.0 / light.left + 1.0 / light.right) / 2.0)
}

#[cfg(test)]
mod tests {
    use didar_protocol::transcript::CELLS;

    use super::*;

    #[test]
    fn a_shift_between_the_lamps_is_told_by_the_slope_of_the_rooms_picture() {
        let room = |cell: usize| 0.3 + 0.02 * (cell % GRID) as f64 - 0.01 * (cell / GRID) as f64;
        let lamp = 0.1;
        let face: Vec<Option<Cell>> =
            (0..CELLS).map(|cell| Some(Cell { ambient: room(cell), left: lamp, right: lamp })).collect();
        let cell = 5 * GRID + 4;
        let [right, down] = drawn(&face, cell, &Cell { ambient: room(cell), left: lamp, right: lamp });
        // The grid lies a hundredth of a cell further left under the left lamp, and right under the right one: what the lamps
        // seem to add differs by what the room's picture changes on the way.
        let shift = 0.01;
        let q = ((lamp - shift * 0.02) / (lamp + shift * 0.02)).ln() / 2.0;
        assert!((q + shift * right).abs() < 1e-5, "{q} against {right}");
        assert!((down + 0.01 / lamp).abs() < 1e-9, "{down}");
    }

    #[test]
    fn an_unknown_neighbour_tells_nothing() {
        let mut face = vec![Some(Cell { ambient: 0.3, left: 0.1, right: 0.1 }); CELLS];
        face[5 * GRID + 5] = None;
        assert_eq!(drawn(&face, 5 * GRID + 4, &Cell { ambient: 0.3, left: 0.1, right: 0.1 }), [0.0; 2]);
        assert_eq!(drawn(&face, 0, &Cell { ambient: 0.3, left: 0.1, right: 0.1 }), [0.0; 2]);
    }
}

//! The simulated kiosk: a face, two lamps, a camera.

//! The evaluation: how well faces are told apart, and pictures judged, by the code that ships.
//!
//! `data` reads the folder, `people` turns pictures into templates, `score` turns similarities into rates, `presentation`
//! measures the passive network and the quality figures, `det` draws and `report` writes. Start at `people::measure`.

pub mod data;
pub mod det;
pub mod people;
pub mod presentation;
pub mod report;
pub mod score;

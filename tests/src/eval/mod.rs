//! The evaluation: how well faces are told apart, and pictures judged, by the code that ships.
//!
//! `data` reads the folder, `people` turns pictures into templates, `score` turns similarities into rates, `presentation`
//! measures the passive network and the quality figures, `det` draws and `report` writes. Start at `people::measure`.

pub(crate) mod data;
pub(crate) mod det;
pub(crate) mod people;
pub(crate) mod presentation;
pub(crate) mod report;
pub(crate) mod score;

//! Presentation attack detection, measured: who passes the judge, and who does not.
//!
//! `people` gathers faces, `measure` presents them and counts, `recorded` lets the passive network look at real pictures,
//! `pictures` paints what the camera sees, `report` writes. Start at `measure::measure`.

pub(crate) mod measure;
pub(crate) mod people;
pub(crate) mod pictures;
pub(crate) mod recorded;
pub(crate) mod report;

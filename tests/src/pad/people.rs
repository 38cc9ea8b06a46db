//! The faces that are presented: many people of the evaluation folder, or the two portraits and variations of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use didar_tests::crowd::Person;
use didar_tests::people::{ASTRONAUT, HOPPER, portrait};
use didar_tests::scene::Subject;
use didar_vision::{Models, Perceiver};

/// Who set thresholds, and who measures: never the same people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Tuning,
    Measuring,
}

/// A population, and where it came from.
pub(crate) struct People {
    pub faces: Vec<Arc<Person>>,
    pub source: String,
}

/// Most people of the folder in each half.
const PEOPLE_MAX: usize = 150;
/// Variations of each portrait where there is no folder.
const VARIATIONS: u64 = 40;

/// The people of one half. `data` is the evaluation folder.
pub(crate) fn people(project: &Path, data: Option<&Path>, half: Half) -> anyhow::Result<People> {
    let models = Models::load(&project.join("models/manifest.toml"))?;
    let mut perceiver = Perceiver::new(&models)?;
    if let Some(folder) = data {
        let first = folders(&folder.join("lfw")).into_iter().filter_map(|person| first_picture(&person));
        let mine = first.enumerate().filter(|(n, _)| (n % 2 == 0) == (half == Half::Tuning)).map(|(_, file)| file);
        // A picture without a face that looks ahead makes no person.
        let found = mine.filter_map(|file| Subject::load(&file, &mut perceiver).ok()).filter(Subject::looks_ahead);
        let faces: Vec<_> = found.take(PEOPLE_MAX).map(|subject| Arc::new(Person::of(&subject))).collect();
        if !faces.is_empty() {
            let source = format!("{} people of the evaluation folder, one picture each", faces.len());
            return Ok(People { faces, source });
        }
    }
    let first = if half == Half::Tuning { 0 } else { 10_000 };
    let mut faces = Vec::new();
    for name in [ASTRONAUT, HOPPER] {
        let person = Person::of(&Subject::load(&portrait(project, name), &mut perceiver)?);
        faces.extend((first..first + VARIATIONS).map(|seed| Arc::new(person.varied(seed))));
    }
    let source = format!("{} seeded variations of two public-domain portraits: no evaluation folder", faces.len());
    Ok(People { faces, source })
}

fn folders(below: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(below).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

fn first_picture(folder: &Path) -> Option<PathBuf> {
    crate::data::pictures_in(folder).into_iter().next()
}

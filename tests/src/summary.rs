//! `target/chaos/summary.json`: what the simulation and the chaos run found, each in a part of its own, and over them the
//! sums of both.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// What is added up over the parts.
const SUMMED: [&str; 6] = ["attempts", "kills", "lost", "doubled", "reordered", "wrong_outcome"];

/// Writes `part` under `name` and leaves the others as they are; the file's path.
pub fn write(name: &str, part: Value) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/chaos");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join("summary.json");
    // A file that is not there, or not ours, is begun anew.
    let old = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    let summary = merged(old.unwrap_or_default(), name, part);
    std::fs::write(&file, serde_json::to_string_pretty(&summary)?)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn merged(mut summary: Map<String, Value>, name: &str, part: Value) -> Map<String, Value> {
    summary.retain(|name, value| name != "seed" && value.is_object());
    summary.insert(name.to_owned(), part);
    let parts: Vec<Value> = summary.values().cloned().collect();
    for field in SUMMED {
        let sum: u64 = parts.iter().filter_map(|part| part[field].as_u64()).sum();
        summary.insert(field.to_owned(), sum.into());
    }
    let seeds: Map<String, Value> =
        summary.iter().filter_map(|(name, part)| Some((name.clone(), part.get("seed")?.clone()))).collect();
    summary.insert("seed".to_owned(), Value::Object(seeds));
    summary
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_stand_beside_each_other_and_are_added_up() {
        let first = merged(Map::new(), "simulation", json!({ "attempts": 3, "lost": 0, "kills": 5, "seed": 1 }));
        let both = merged(first, "chaos", json!({ "attempts": 2, "lost": 1, "kills": 1, "seed": 7 }));
        assert_eq!((&both["attempts"], &both["lost"], &both["kills"]), (&json!(5), &json!(1), &json!(6)));
        assert_eq!(both["simulation"]["attempts"], 3);
        assert_eq!(both["seed"], json!({ "simulation": 1, "chaos": 7 }));
        // The same part again takes the place of the old one; an old file's sums are not parts.
        let again = merged(both, "chaos", json!({ "attempts": 1, "seed": 8 }));
        assert_eq!((&again["attempts"], &again["lost"]), (&json!(4), &json!(0)));
        assert_eq!(again["seed"]["chaos"], 8);
    }
}

//! `target/chaos/summary.json`: what the simulation and the chaos run found, each in a part of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// Writes `part` under `name` and leaves the others as they are; the file's path.
pub fn write(name: &str, part: Value) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/chaos");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let file = folder.join("summary.json");
    // A file that is not there, or not ours, is begun anew.
    let old = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    let mut parts = old.unwrap_or_default();
    parts.insert(name.to_owned(), part);
    std::fs::write(&file, serde_json::to_string_pretty(&parts)?)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

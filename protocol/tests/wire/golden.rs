//! Golden files, their readable twins, and the CDDL's opinion.
//!
//! `UPDATE_GOLDEN=1 cargo test -p didar-protocol --test wire` rewrites them; review decides.

use std::fs;
use std::path::{Path, PathBuf};

use serde_cbor::Value;

pub(crate) const CDDL: &str = include_str!("../../didar.cddl");

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Compares a file with what it should hold, or writes it under `UPDATE_GOLDEN=1`.
pub(crate) fn golden(name: &str, content: &[u8]) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
    }
    let found = fs::read(&path).unwrap_or_else(|cause| panic!("{}: {cause}; UPDATE_GOLDEN=1 makes it", path.display()));
    assert!(found == content, "{} differs; look at `git diff` after UPDATE_GOLDEN=1", path.display());
}

/// Asks the CDDL whether `bytes` are a `rule`.
pub(crate) fn cddl(rule: &str, bytes: &[u8]) -> Result<(), String> {
    let rooted = format!("root = {rule}\n{CDDL}");
    cddl::validate_cbor_from_slice(&rooted, bytes, None).map_err(|cause| cause.to_string())
}

/// Diagnostic notation (RFC 8949, 8) of one item, one entry a line.
pub(crate) fn diagnostic(bytes: &[u8]) -> String {
    format!("{}\n", notation(&serde_cbor::from_slice(bytes).unwrap(), 0))
}

fn notation(value: &Value, indent: usize) -> String {
    let line = |entry: String| format!("\n{}{entry}", "  ".repeat(indent + 1));
    let close = |bracket: &str| format!("\n{}{bracket}", "  ".repeat(indent));
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("h'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Array(items) if items.iter().all(|item| matches!(item, Value::Integer(_))) => {
            let numbers: Vec<String> = items.iter().map(|item| notation(item, 0)).collect();
            format!("[{}]", numbers.join(", "))
        }
        Value::Array(items) => {
            let lines: Vec<String> = items.iter().map(|item| line(notation(item, indent + 1))).collect();
            format!("[{}{}", lines.join(","), close("]"))
        }
        Value::Map(fields) => {
            let entry = |(key, value)| line(format!("{}: {}", notation(key, 0), notation(value, indent + 1)));
            let lines: Vec<String> = fields.iter().map(entry).collect();
            format!("{{{}{}", lines.join(","), close("}"))
        }
        other => panic!("{other:?} is not of this protocol"),
    }
}

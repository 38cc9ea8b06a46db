//! The threat model names tests and fuzz targets: each of them exists, and no threat goes without a test.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text() -> String {
    std::fs::read_to_string(root().join("docs/threat-model.md")).expect("the threat model")
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_threat_names_a_test_that_exists() {
    let text = text();
    // A threat's row begins with its letter of STRIDE.
    let threats: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && line.get(3..5) == Some(" |")).collect();
    assert!(threats.len() > 30, "{} threats only: is the table still read?", threats.len());
    for line in threats {
        let mut tests = 0;
        for (file, name) in quoted(line).filter_map(|code| code.split_once(".rs: ")) {
            tests += 1;
            let path = root().join(format!("{file}.rs"));
            let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(source.contains(&format!("fn {}(", name.trim())), "{file}.rs has no {name}");
        }
        assert!(tests > 0, "no test is named in {line:?}");
    }
}

#[test]
fn every_fuzz_target_named_exists() {
    let text = text();
    let parsers = text.split("## Parsers of outside bytes").nth(1).expect("the section");
    let rows = parsers.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.rsplit('|').nth(1));
    let names: Vec<&str> = rows.flat_map(quoted).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        assert!(root().join(format!("protocol/fuzz/targets/{name}.rs")).exists(), "no fuzz target {name}");
    }
}

//! `didar-agent doctor` and `calibrate` as programs: their lamps have a guard.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// The shipped files with lamps at lines of a chip that no machine has; who starts a guard for them hears it.
fn kiosk(folder: &Path) -> std::path::PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-config");
    let agent = std::fs::read_to_string(shipped.join("agent.toml")).unwrap();
    let board = std::fs::read_to_string(shipped.join("boards/bridge.toml")).unwrap();
    let lines = "[lamps]\nkind = \"chardev\"\nchip = \"/dev/gpiochip777\"\nleft = 1\nright = 2\nactive = \"high\"";
    let other = board.replace("[lamps]\nkind = \"bridge\"", lines);
    assert_ne!(other, board);
    std::fs::create_dir(folder.join("boards")).unwrap();
    std::fs::write(folder.join("boards/bridge.toml"), other).unwrap();
    let path = folder.join("agent.toml");
    std::fs::write(&path, agent).unwrap();
    path
}

/// A lamp that is lit by somebody who is then killed stays lit on many boards: the guard makes it dark. Here it finds no lines
/// and says so, as the last thing that happens.
#[test]
fn whoever_lights_the_lamps_has_started_their_guard() {
    let folder = tempfile::tempdir().unwrap();
    let config = kiosk(folder.path());
    for order in ["doctor", "calibrate"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_didar-agent"));
        let output = program.args([order, "--config"]).arg(&config).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let guard = said.lines().any(|line| line.starts_with("didar-agent: cannot open lamp line /dev/gpiochip777"));
        assert!(!output.status.success() && guard, "{order}: {said}");
    }
}

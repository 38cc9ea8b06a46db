//! Judges every recording of a folder and compares the evidence with the bytes beside it: `judge-elsewhere FOLDER`.

use std::process::ExitCode;

use didar_liveness::{Policy, recorded};

fn main() -> ExitCode {
    let folder = std::env::args().nth(1).expect("a folder of golden recordings");
    let policy = Policy::shipped();
    let (mut same, mut others) = (0, 0);
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("an entry of the folder").path();
        if path.extension().is_none_or(|extension| extension != "cbor") {
            continue;
        }
        let recording = recorded::read(&std::fs::read(&path).expect("a file")).expect("a recording");
        let golden = std::fs::read(path.with_extension("evidence")).expect("the evidence beside it");
        if recording.judge(&policy).to_bytes() == golden {
            same += 1;
        } else {
            others += 1;
            eprintln!("{} differs:\n{}", path.display(), recording.judge(&policy));
        }
    }
    println!("{}: {same} recordings give the golden evidence, {others} do not", std::env::consts::ARCH);
    if others == 0 && same > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

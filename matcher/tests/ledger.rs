//! The ledger's commands: what an operator and an auditor are told of a ledger and of its copies.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use didar_matcher::config::Config;
use didar_matcher::ledger::{Entry, What};
use didar_matcher::site::{Site, Wishes};
use didar_matcher::store::Store;
use didar_matcher::time::now_ms;
use tempfile::TempDir;

/// A site that is not served, with as many lines in its ledger.
fn site(lines: u64, note: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    let wishes = Wishes { bind: [127, 0, 0, 1].into(), port: None, names: Vec::new(), models };
    Site::new(folder.path()).prepare(&wishes, now_ms()).unwrap();
    append(folder.path(), lines, note);
    folder
}

fn append(folder: &Path, lines: u64, note: &str) {
    let config = Config::read(&Site::new(folder).config()).unwrap();
    let mut store = Store::open(&config.store.database, &config.keys.store, config.env).unwrap();
    let work = store.begin().unwrap();
    for at_ms in 1..=lines {
        let note = Some(format!("{note} \u{1}\"\u{448}\u{2028}"));
        work.append(&Entry { at_ms, what: What::Alarm, note, ..Entry::default() }).unwrap();
    }
    work.commit().unwrap();
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_didar-matcher"));
    command.arg("ledger").args(arguments);
    command
}

fn on(site: &TempDir, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.arg("--dir").arg(site.path());
    command
}

/// What a command says that succeeds.
fn told(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What a command says that fails.
fn complaint(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!((status.code(), stdout.as_slice()), (Some(3), b"".as_slice()));
    String::from_utf8(stderr).unwrap()
}

/// The head that a check printed, as an operator copies it.
fn head(told: &str) -> String {
    told.trim_end().rsplit(' ').next().unwrap().to_owned()
}

/// Changes the database as somebody would who may write its file.
fn tamper(site: &TempDir, sql: &str) {
    let config = Config::read(&Site::new(site.path()).config()).unwrap();
    let database = rusqlite::Connection::open(config.store.database).unwrap();
    database.execute_batch("DROP TRIGGER ledger_stays; DROP TRIGGER ledger_keeps;").unwrap();
    database.execute_batch(sql).unwrap();
}

#[test]
fn a_cut_end_and_another_ledger_are_noticed_by_the_head_that_was_written_down() {
    let ours = site(5, "ours");
    let first = told(&mut on(&ours, &["verify"]));
    assert!(first.starts_with("5 lines hold (1 to 5, from the ledger's beginning); head 5:"), "{first}");
    let seen = head(&first);
    let verify = ["verify", "--seen", &seen];
    append(ours.path(), 2, "later");
    let later = told(&mut on(&ours, &verify));
    assert!(later.starts_with("7 lines hold") && later.ends_with("; line 5 is as it was seen\n"), "{later}");

    tamper(&ours, "DELETE FROM ledger WHERE number > 4");
    assert!(told(&mut on(&ours, &["verify"])).starts_with("4 lines hold"), "a cut end is a whole chain by itself");
    let cut = complaint(&mut on(&ours, &verify));
    assert!(cut.contains("line 5 was seen, but the last one now is line 4"), "{cut}");
    assert!(cut.contains("keep it as it is, and compare it with your last backup or export"), "{cut}");

    let other = site(9, "other");
    let found = told(&mut on(&other, &["verify"]));
    assert!(found.starts_with("9 lines hold"), "{found}");
    let replaced = complaint(&mut on(&other, &verify));
    let hash = seen.split_once(':').unwrap().1;
    assert!(
        replaced.contains("line 5 has the hash ") && replaced.contains(&format!("not {hash} as it was")),
        "{replaced}"
    );
    assert!(replaced.contains("compare it with your last backup"), "{replaced}");
}

#[test]
fn the_head_of_an_empty_ledger_counts_too() {
    let empty = site(0, "");
    let seen = head(&told(&mut on(&empty, &["verify"])));
    append(empty.path(), 1, "first");
    assert!(told(&mut on(&empty, &["verify", "--seen", &seen])).starts_with("1 lines hold"));
    let wrong = on(&empty, &["verify", "--seen", "1:abc"]).output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("64 hexadecimal digits"));
}

#[test]
fn an_auditor_checks_an_export_without_site_and_keys() {
    let site = site(5, "x");
    let seen = head(&told(&mut on(&site, &["verify"])));
    let export = told(&mut on(&site, &["export"]));
    drop(site);
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, arguments: &[&str]| {
        std::fs::write(folder.path().join("ledger.jsonl"), text).unwrap();
        let mut command = program(&["verify", "--file", "ledger.jsonl"]);
        command.args(arguments).current_dir(&folder).env_clear();
        command
    };
    let said = told(&mut check(&export, &["--seen", &seen]));
    assert_eq!(
        said,
        format!("5 lines hold (1 to 5, from the ledger's beginning); head {seen}; line 5 is as it was seen\n")
    );
    let lines: Vec<&str> = export.split_inclusive('\n').collect();
    let end = told(&mut check(&lines[2..].concat(), &[]));
    assert_eq!(end, format!("3 lines hold (3 to 5; those before 3 were not there to be checked); head {seen}\n"));
    for (text, words) in [
        (lines[..4].concat(), "ledger.jsonl: line 5 was seen, but the last one now is line 4"),
        (export.replacen("\"x", "\"y", 1), "ledger.jsonl: line 1 of the file, line 1 of the ledger, was changed"),
        (export[..export.len() - 9].to_owned(), "ledger.jsonl: line 5, the last of the file, is cut off"),
        (String::new(), "ledger.jsonl: the file is empty"),
    ] {
        let said = complaint(&mut check(&text, &["--seen", &seen]));
        assert!(said.contains(words), "{said}");
    }
    let absent = complaint(program(&["verify", "--file", "absent"]).current_dir(&folder));
    assert!(absent.contains("absent: cannot open the exported file"), "{absent}");
    let both = program(&["verify", "--file", "a", "--dir", "b"]).output().unwrap();
    assert!(String::from_utf8_lossy(&both.stderr).contains("cannot be used with"));
}

#[test]
fn an_export_is_checked_from_a_pipe() {
    let site = site(2500, "many");
    let mut exporting = on(&site, &["export"]).stdout(Stdio::piped()).spawn().unwrap();
    let said = told(program(&["verify", "--file", "-"]).stdin(exporting.stdout.take().unwrap()));
    assert!(said.starts_with("2500 lines hold (1 to 2500"), "{said}");
    assert!(exporting.wait().unwrap().success());
    assert_eq!(head(&said), head(&told(&mut on(&site, &["verify"]))));
}

#[test]
fn an_export_that_cannot_be_written_is_an_error_and_a_reader_that_has_enough_is_none() {
    let site = site(2500, "long enough for more than one page and more than one pipe");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let said = on(&site, &["export"]).stdout(full).output().unwrap();
    let error = String::from_utf8(said.stderr).unwrap();
    assert_eq!(said.status.code(), Some(3), "{error}");
    assert!(error.contains("cannot write the export") && error.contains("No space left"), "{error}");
    assert_eq!(error.matches("cannot write the export").count(), 1, "{error}");

    let mut exporting = on(&site, &["export"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, exporting.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said = exporting.wait_with_output().unwrap();
    assert_eq!((said.status.code(), String::from_utf8(said.stderr).unwrap()), (Some(0), String::new()));
    assert!(line.starts_with(r#"{"number":1,"previous":"0000"#), "{line}");
}

#[test]
fn a_text_that_was_put_into_the_database_makes_no_lines_of_its_own() {
    let site = site(3, "x");
    tamper(&site, "UPDATE ledger SET entry = '{}}' || char(10) || '{\"number\":3,\"entry\":{}' WHERE number = 2");
    let said = on(&site, &["export"]).output().unwrap();
    assert_eq!((said.status.code(), said.stdout.iter().filter(|byte| **byte == b'\n').count()), (Some(3), 1));
    assert!(String::from_utf8_lossy(&said.stderr).contains("line 2 is not one object of JSON on one line"));
}

#[test]
fn a_file_is_read_as_it_comes() {
    let site = site(1, "x");
    let export = told(&mut on(&site, &["export"]));
    let mut checking = program(&["verify", "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = checking.stdin.take().unwrap();
    pipe.write_all(export.as_bytes()).unwrap();
    // The second line has no end: the check ends all the same, and long before this much is in its memory.
    let endless = vec![b' '; 1 << 20];
    let taken = (0..64).take_while(|_| pipe.write_all(&endless).is_ok()).count();
    drop(pipe);
    let said = checking.wait_with_output().unwrap();
    assert!(taken < 8, "{taken} MiB of one line were read");
    assert_eq!(said.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&said.stderr).contains("line 2 of the file is longer than 1048576 bytes"));
}

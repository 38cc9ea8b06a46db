//! Revocation on its way to the broker: the list, the command that makes the broker read it, what the operator is told.
#![allow(clippy::unwrap_used, missing_docs)]

mod serving;
mod site;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use didar_matcher::ca::Ca;
use didar_matcher::config::Config;
use didar_matcher::identity::Identity;
use didar_matcher::site::{Site as Folder, Wishes};
use didar_matcher::store::Store;
use didar_matcher::time::now_ms;
use didar_protocol::message::Verdict;
use didar_protocol::reason::Reason;
use didar_protocol::seal::SealKey;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serving::{Client, program, serve};
use site::{Kiosk, PERSON, kiosk, kiosk_request, open};
use tokio::time::timeout;
use x509_parser::prelude::FromDer as _;
use x509_parser::{certificate::X509Certificate, revocation_list::CertificateRevocationList};

/// What is promised of a revocation.
const WITHIN: Duration = Duration::from_secs(60);

/// The same matcher with a configuration that says this of the broker; what it prints on both streams, and its exit code.
fn with_config(folder: &Path, edit: impl Fn(String) -> String, arguments: &[&str]) -> (String, Option<i32>) {
    let shipped = std::fs::read_to_string(folder.join("matcher/matcher.toml")).unwrap();
    let config = folder.join("matcher/own.toml");
    std::fs::write(&config, edit(shipped)).unwrap();
    let output = program().args(arguments).arg("--config").arg(config).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (said, output.status.code())
}

fn broker_says(lines: &str) -> impl Fn(String) -> String {
    move |shipped| shipped.replace("[broker]", &format!("[broker]\n{lines}\n#"))
}

fn without_authority(shipped: String) -> String {
    let (before, rest) = shipped.split_once("[enrolment]").unwrap();
    let (_, after) = rest.split_once("[store]").unwrap();
    format!("{before}[store]{after}")
}

/// A site's files, not served: registered devices and their certificates' serials.
fn files_of(folder: &Path, devices: &[&str]) -> Vec<Vec<u8>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    let wishes = Wishes { bind: [127, 0, 0, 1].into(), port: None, names: Vec::new(), models };
    Folder::new(folder).prepare(&wishes, now_ms()).unwrap();
    let add = |id: &&str| {
        let (path, serial) = certificate(folder, id);
        assert!(program().args(adding(&path)).arg("--dir").arg(folder).status().unwrap().success());
        serial
    };
    devices.iter().map(add).collect()
}

/// A new certificate of this device, and its serial.
fn certificate(folder: &Path, id: &str) -> (String, Vec<u8>) {
    let pem = kiosk(&Ca::open(&folder.join("ca")).unwrap(), id, now_ms(), 365).certificate_pem;
    let path = folder.join(format!("{id}.pem"));
    std::fs::write(&path, &pem).unwrap();
    (path.to_str().unwrap().to_owned(), serial_of(&pem))
}

fn adding(certificate: &str) -> [&str; 6] {
    ["device", "add", "--initiator", "egov", "--certificate", certificate]
}

/// What the matcher does when two machines have shown the device's identity.
fn quarantine(folder: &Path, id: &str) {
    let config = Config::read(&Folder::new(folder).config()).unwrap();
    let mut store = Store::open(&config.store.database, &config.keys.store, config.env).unwrap();
    let work = store.begin().unwrap();
    work.quarantine_device(&id.parse().unwrap()).unwrap();
    work.commit().unwrap();
}

/// Asks for a challenge over this connection; why the matcher gives none.
async fn asked(connection: &mut Client, device: &mut Kiosk, key: &SealKey) -> Reason {
    let request = kiosk_request(device, PERSON, now_ms());
    let topic = format!("didar/1/test/device/{}/up/challenge-request", device.id);
    let said = connection.publish(&topic, &device.ask(key, request)).await;
    assert_eq!(said, PubAckReason::Success);
    open::<Verdict>(&connection.heard("/down/verdict").await.0.payload).reason
}

fn serial_of(pem: &str) -> Vec<u8> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    X509Certificate::from_der(&der).unwrap().1.raw_serial().to_vec()
}

/// The serials on a list of revoked certificates.
fn listed(path: &Path) -> Vec<Vec<u8>> {
    let der = CertificateRevocationListDer::from_pem_file(path).unwrap();
    let list = CertificateRevocationList::from_der(&der).unwrap().1;
    list.iter_revoked_certificates().map(|revoked| revoked.raw_serial().to_vec()).collect()
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn with_a_configuration_too_a_revoked_device_is_thrown_off_and_the_brokers_command_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let (one, two) = (serving.device("kiosk-1"), serving.device("kiosk-2"));
    let mut thief = serving.connect(&one, "kiosk-1").await;
    let (list, ran) = (serving.folder.join("broker/revoked.pem"), folder.path().join("ran"));
    // The list is there before the command is run.
    let text = format!(
        "cp {} {}; echo \"$DIDAR_DEVICE $*\" >{}",
        list.display(),
        ran.with_extension("pem").display(),
        ran.display()
    );
    script(&folder.path().join("reload"), &text);
    let lines = format!(
        "revoked = \"../broker/revoked.pem\"\nreload = [\"{}\", \"restart\", \"a $HOME;b\"]",
        folder.path().join("reload").display()
    );
    let (said, code) = with_config(&serving.folder, broker_says(&lines), &["device", "revoke", "kiosk-1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 revoked certificate(s)") && said.contains("ran /"), "{said}");
    assert_eq!(std::fs::read_to_string(&ran).unwrap(), "kiosk-1 restart a $HOME;b\n", "no shell reads the words");
    assert_eq!(listed(&ran.with_extension("pem")), [serial_of(&one.certificate_pem)]);
    assert_eq!(std::fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o644, "the broker's user reads it");
    while thief.next().await.is_ok() {}
    while serving.try_connect(&two).await.is_err() {}
    assert!(serving.try_connect(&one).await.is_err());
}

#[test]
fn without_a_place_for_the_list_the_operator_is_told_the_command_that_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let serials = files_of(folder.path(), &["kiosk-1", "kiosk-2", "kiosk-3"]);
    for device in ["kiosk-1", "kiosk-3"] {
        let (said, code) = with_config(folder.path(), |shipped| shipped, &["device", "revoke", device]);
        let config = folder.path().join("matcher/own.toml");
        let command = format!("didar-matcher ca revoked --out FILE --config {}", config.display());
        assert!(code == Some(0) && said.contains(&command) && said.contains("start your broker again"), "{said}");
    }
    let out = folder.path().join("list.pem");
    let make = ["ca", "revoked", "--out", out.to_str().unwrap()];
    let (said, code) = with_config(folder.path(), |shipped| shipped, &make);
    assert_eq!((code, listed(&out)), (Some(0), vec![serials[0].clone(), serials[2].clone()]), "{said}");
    std::fs::remove_file(&out).unwrap();
    assert!(program().args(make).arg("--dir").arg(folder.path()).status().unwrap().success());
    assert_eq!(listed(&out).len(), 2);
}

#[test]
fn without_an_authority_no_list_is_made_and_the_cure_is_said() {
    let folder = tempfile::tempdir().unwrap();
    files_of(folder.path(), &["kiosk-1"]);
    let out = folder.path().join("list.pem");
    let make = ["ca", "revoked", "--out", out.to_str().unwrap()];
    let (said, code) = with_config(folder.path(), without_authority, &make);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("[enrolment] ca") && said.contains("the list that this one publishes"), "{said}");
    assert!(!out.exists());
    let (said, code) = with_config(folder.path(), without_authority, &["device", "revoke", "kiosk-1"]);
    assert!(code == Some(0) && said.contains("at your authority") && !said.contains("ca revoked"), "{said}");
}

#[test]
fn when_the_broker_cannot_be_told_the_operator_is_and_the_revocation_holds() {
    let folder = tempfile::tempdir().unwrap();
    let devices = ["kiosk-1", "kiosk-2", "kiosk-3"];
    let serials = files_of(folder.path(), &devices);
    let list = folder.path().join("list.pem");
    let fails = folder.path().join("fails");
    script(&fails, "exit 7");
    let (to, absent) = (format!("revoked = \"{}\"", list.display()), folder.path().join("absent"));
    for (device, lines, why) in [
        ("kiosk-1", format!("{to}\nreload = [\"{}\"]", fails.display()), "exit status: 7"),
        ("kiosk-2", format!("{to}\nreload = [\"{}\"]", absent.display()), "cannot run /"),
        ("kiosk-3", format!("revoked = \"{}/list.pem\"", absent.display()), "cannot write /"),
    ] {
        let (said, code) = with_config(folder.path(), broker_says(&lines), &["device", "revoke", device]);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(&format!("the matcher refuses {device}")) && said.contains(why), "{said}");
    }
    assert_eq!(listed(&list), serials[..2]);
    let (said, _) = with_config(folder.path(), |shipped| shipped, &["device", "list"]);
    assert_eq!(said.matches("  revoked  ").count(), devices.len(), "{said}");
}

#[tokio::test]
async fn within_a_minute_a_connected_device_is_refused_by_the_matcher_and_gone_from_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let (mut one, two) = (serving.device("kiosk-1"), serving.device("kiosk-2"));
    let config = Config::read(&Folder::new(&serving.folder).config()).unwrap();
    let key = Identity::load(&config).unwrap().seal_public().swap_remove(0);
    let mut connected = serving.connect(&one, "kiosk-1").await;
    connected.subscribe("didar/1/test/device/kiosk-1/down/#").await;
    assert_eq!(asked(&mut connected, &mut one, &key).await, Reason::SubjectUnknown, "the device itself is served");
    let (authority, away) = (serving.folder.join("ca/ca.key"), folder.path().join("ca.key"));
    let refused = async {
        // Nobody can make a list for the broker: it is the matcher alone that refuses, over the open connection.
        std::fs::rename(&authority, &away).unwrap();
        let (said, code) = with_config(&serving.folder, |shipped| shipped, &["device", "revoke", "kiosk-1"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(asked(&mut connected, &mut one, &key).await, Reason::DeviceRefused);
        std::fs::rename(&away, &authority).unwrap();
        serving.run(&["device", "revoke", "kiosk-1"]);
        assert_eq!(listed(&serving.folder.join("broker/revoked.pem")), [serial_of(&one.certificate_pem)]);
        while connected.next().await.is_ok() {}
        while serving.try_connect(&two).await.is_err() {}
        assert!(serving.try_connect(&one).await.is_err());
    };
    timeout(WITHIN, refused).await.expect("refused everywhere within a minute");
}

#[tokio::test]
async fn a_new_certificate_out_of_quarantine_ends_the_connection_by_the_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let serving = serve(&folder.path().join("site"));
    let old = serving.device("kiosk-1");
    let mut copy = serving.connect(&old, "kiosk-1").await;
    quarantine(&serving.folder, "kiosk-1");
    let new = serving.device("kiosk-1");
    let thrown_off = async {
        assert_eq!(listed(&serving.folder.join("broker/revoked.pem")), [serial_of(&old.certificate_pem)]);
        while copy.next().await.is_ok() {}
        while serving.try_connect(&new).await.is_err() {}
        assert!(serving.try_connect(&old).await.is_err());
    };
    timeout(WITHIN, thrown_off).await.expect("thrown off within a minute");
}

#[test]
fn with_a_configuration_too_a_new_certificate_out_of_quarantine_tells_the_broker_and_any_other_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = files_of(folder.path(), &["kiosk-1"]);
    let (list, ran) = (folder.path().join("list.pem"), folder.path().join("ran"));
    script(&folder.path().join("reload"), &format!("echo \"$DIDAR_DEVICE $*\" >>{}", ran.display()));
    let reload = folder.path().join("reload");
    let lines = format!("revoked = \"{}\"\nreload = [\"{}\"]", list.display(), reload.display());
    let settings = broker_says(&lines);
    let (path, second) = certificate(folder.path(), "kiosk-1");
    let (said, code) = with_config(folder.path(), &settings, &adding(&path));
    assert!(code == Some(0) && !said.contains("other certificate") && !list.exists() && !ran.exists(), "{said}");
    quarantine(folder.path(), "kiosk-1");
    let (path, _) = certificate(folder.path(), "kiosk-1");
    let (said, code) = with_config(folder.path(), &settings, &adding(&path));
    assert!(code == Some(0) && said.contains("its 2 other certificate(s) are refused from now on"), "{said}");
    assert!(said.contains("2 revoked certificate(s)"), "{said}");
    assert_eq!(listed(&list), [old[0].clone(), second]);
    assert_eq!(std::fs::read_to_string(&ran).unwrap(), "kiosk-1 \n");
}

#[test]
fn when_the_broker_cannot_be_told_of_a_new_certificate_the_cure_is_not_to_add_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let devices = ["kiosk-1", "kiosk-2", "kiosk-3"];
    let serials = files_of(folder.path(), &devices);
    devices.iter().for_each(|device| quarantine(folder.path(), device));
    let add = |device: &str, edit: &dyn Fn(String) -> String| {
        with_config(folder.path(), edit, &adding(&certificate(folder.path(), device).0))
    };
    let list = folder.path().join("list.pem");
    let absent = folder.path().join("absent");
    let settings = format!("revoked = \"{}\"\nreload = [\"{}\"]", list.display(), absent.display());
    let (said, code) = add("kiosk-1", &broker_says(&settings));
    let config = folder.path().join("matcher/own.toml");
    let command = format!("didar-matcher ca revoked --out {} --config {}", list.display(), config.display());
    assert!(code == Some(3) && said.contains("device kiosk-1 is served") && said.contains("cannot run /"), "{said}");
    assert!(said.contains(&command) && said.contains("start the broker again"), "{said}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    std::fs::remove_file(&list).unwrap();
    assert!(program().args(&words).status().unwrap().success());
    assert_eq!(listed(&list), serials[..1]);
    let (said, code) = add("kiosk-2", &|shipped| shipped);
    assert!(code == Some(0) && said.contains("didar-matcher ca revoked --out FILE"), "{said}");
    let (said, code) = add("kiosk-3", &without_authority);
    assert!(code == Some(0) && said.contains("revoke its other certificates at your authority"), "{said}");
}

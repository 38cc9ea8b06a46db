//! The real program with its real Mosquitto, and MQTT clients that may try anything.

// Each test program uses the part that it needs.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use didar_matcher::ca::Ca;
use didar_matcher::config::BrokerUrl;
use didar_matcher::time::now_ms;
use didar_matcher::tls;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason, Publish};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, MqttOptions};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::site::{Kiosk, kiosk};

/// Far longer than anything here takes, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program, serving a folder; killed on drop.
pub struct Serving {
    pub process: Child,
    pub url: BrokerUrl,
    pub folder: PathBuf,
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_didar-matcher"))
}

pub fn serve(folder: &Path) -> Serving {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/manifest.toml");
    let mut process = program()
        .args(["serve", "--all-in-one"])
        .arg(folder)
        .arg("--models")
        .arg(models)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("ready ").unwrap_or_else(|| panic!("no ready line: {line:?}"));
    Serving { url: url.to_owned().try_into().unwrap(), process, folder: folder.to_owned() }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already gone where the test ended it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Serving {
    /// A device with a certificate of this site, registered by the program itself.
    pub fn device(&self, id: &str) -> Kiosk {
        let ca = Ca::open(&self.folder.join("ca")).unwrap();
        let device = kiosk(&ca, id, now_ms(), 365);
        let path = self.folder.join(format!("{id}.pem"));
        std::fs::write(&path, &device.certificate_pem).unwrap();
        self.run(&["device", "add", "--initiator", "egov", "--certificate", path.to_str().unwrap()]);
        device
    }

    pub fn run(&self, arguments: &[&str]) -> String {
        let output = program().args(arguments).arg("--dir").arg(&self.folder).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn try_connect(&self, device: &Kiosk) -> Result<Client, ConnectionError> {
        let Kiosk { certificate_pem, key_pem, id, .. } = device;
        Client::new(&self.url, &self.folder, certificate_pem, key_pem, id.as_str()).await
    }

    pub async fn connect(&self, device: &Kiosk, client_id: &str) -> Client {
        Client::new(&self.url, &self.folder, &device.certificate_pem, &device.key_pem, client_id).await.unwrap()
    }
}

/// An MQTT client that may try anything.
pub struct Client {
    pub client: AsyncClient,
    pub events: mpsc::UnboundedReceiver<Result<Packet, ConnectionError>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub async fn new(
        url: &BrokerUrl,
        folder: &Path,
        certificate: &str,
        key: &str,
        client_id: &str,
    ) -> Result<Self, ConnectionError> {
        let files = tempfile::tempdir().unwrap();
        let (certificate_path, key_path) = (files.path().join("a.pem"), files.path().join("a.key"));
        std::fs::write(&certificate_path, certificate).unwrap();
        didar_matcher::files::write_secret(&key_path, key).unwrap();
        let transport = tls::transport(&folder.join("ca/ca.pem"), &certificate_path, &key_path).unwrap();
        let mut options = MqttOptions::new(client_id, url.host.clone(), url.port);
        options.set_transport(transport).set_clean_start(true).set_max_packet_size(Some(1 << 20));
        let (client, mut connection) = AsyncClient::new(options, 64);
        let (told, events) = mpsc::unbounded_channel();
        let driver = tokio::spawn(async move {
            loop {
                let event = connection.poll().await;
                let failed = event.is_err();
                let packet = match event {
                    Ok(Event::Incoming(packet)) => Ok(packet),
                    Ok(Event::Outgoing(_)) => continue,
                    Err(error) => Err(error),
                };
                if told.send(packet).is_err() || failed {
                    return;
                }
            }
        });
        let mut this = Self { client, events, driver };
        match this.next().await {
            Ok(Packet::ConnAck(_)) => Ok(this),
            Ok(other) => panic!("{other:?} before the connection"),
            Err(error) => Err(error),
        }
    }

    pub async fn next(&mut self) -> Result<Packet, ConnectionError> {
        timeout(PATIENCE, self.events.recv()).await.expect("an answer in time").expect("the connection lives")
    }

    pub async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
        while !matches!(self.next().await.unwrap(), Packet::SubAck(_)) {}
    }

    /// Publishes, and says what the broker thinks of it.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> PubAckReason {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.to_vec()).await.unwrap();
        loop {
            match self.next().await {
                Ok(Packet::PubAck(ack)) => return ack.reason,
                Ok(_) => {}
                Err(error) => panic!("{topic}: {error}"),
            }
        }
    }

    /// The next message on a topic that ends so, and every message before it.
    pub async fn heard(&mut self, end: &str) -> (Publish, Vec<String>) {
        let mut others = Vec::new();
        loop {
            if let Packet::Publish(publish) = self.next().await.unwrap() {
                let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                if topic.ends_with(end) {
                    return (publish, others);
                }
                others.push(topic);
            }
        }
    }
}

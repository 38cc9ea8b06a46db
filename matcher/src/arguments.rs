//! What may be said on the command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use didar_matcher::ca::DEVICE_DAYS;
use didar_matcher::ledger::Head;
use didar_protocol::id::{DeviceId, Iin, InitiatorId};

/// The centre of Didar: references, challenges, verdicts, ledger, the operator's view.
#[derive(Parser)]
#[command(name = "didar-matcher", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve devices: `serve CONFIG` with any MQTT v5 broker, `serve --all-in-one DIR` with everything on one machine
    Serve(ServeArguments),
    /// Keep the photograph of a person's identity document as the reference of the first comparison
    Enrol(EnrolArguments),
    /// Judge a recorded light transcript (CBOR or JSON) again; exit code 0 live, 1 spoof, 2 inconclusive, 3 not judged
    Judge(JudgeArguments),
    /// Show events as they come, with an operator's certificate
    Watch(WatchArguments),
    /// The site's certificate authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// The devices that are served
    #[command(subcommand)]
    Device(DeviceCommand),
    /// The matcher's own keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Consents
    #[command(subcommand)]
    Consent(ConsentCommand),
    /// The ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Becomes the broker (used by `serve --all-in-one`)
    #[command(name = didar_matcher::broker::LAUNCH, hide = true)]
    BrokerRun { program: PathBuf, conf: PathBuf, parent: u32 },
}

/// Whose database and keys.
#[derive(Args)]
pub(crate) struct Place {
    /// Folder of an all-in-one site
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Configuration file of the matcher
    #[arg(long, conflicts_with = "dir")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ServeArguments {
    /// Configuration file
    pub(crate) config: Option<PathBuf>,
    /// Serve a one-machine site with a Mosquitto of its own; makes what is missing in the folder
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    pub(crate) all_in_one: Option<PathBuf>,
    /// Port of the broker; the first start takes a free one, later ones keep it
    #[arg(long, requires = "all_in_one")]
    pub(crate) port: Option<u16>,
    /// Address that the broker listens on
    #[arg(long, default_value = "127.0.0.1", requires = "all_in_one")]
    pub(crate) bind: IpAddr,
    /// Further name or address for the broker's certificate (first start)
    #[arg(long, requires = "all_in_one")]
    pub(crate) name: Vec<String>,
    /// The models' manifest (first start)
    #[arg(long, requires = "all_in_one")]
    pub(crate) models: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct EnrolArguments {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The person's IIN
    #[arg(long)]
    pub(crate) iin: Iin,
    /// The document's photograph, JPEG or PNG
    #[arg(long)]
    pub(crate) picture: PathBuf,
    /// Version of the text that the person agreed to
    #[arg(long, default_value = "not stated")]
    pub(crate) consent: String,
    /// Last day on which the consent counts (not counted itself), YYYY-MM-DD; at most the site's retention
    #[arg(long, value_name = "DATE")]
    pub(crate) consent_until: Option<jiff::civil::Date>,
}

#[derive(Args)]
pub(crate) struct JudgeArguments {
    /// The recording
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Judge by this policy file and not by the shipped one
    #[arg(long)]
    pub(crate) policy: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct WatchArguments {
    /// Folder of an all-in-one site
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// With --dir: which operator's certificate
    #[arg(long, requires = "dir")]
    pub(crate) operator: Option<String>,
    /// The broker, mqtts://HOST:PORT
    #[arg(long)]
    pub(crate) broker: Option<String>,
    /// The operator's certificate
    #[arg(long, conflicts_with = "dir")]
    pub(crate) cert: Option<PathBuf>,
    /// The operator's key
    #[arg(long, conflicts_with = "dir")]
    pub(crate) key: Option<PathBuf>,
    /// The site's CA certificate
    #[arg(long, conflicts_with = "dir")]
    pub(crate) ca: Option<PathBuf>,
    /// Print each event as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum CaCommand {
    /// Make a new CA: ca.pem and ca.key in DIR
    Init { dir: PathBuf },
    /// Sign a device's certificate request
    SignDevice {
        /// The request, PEM
        csr: PathBuf,
        /// The device that the request must be for
        #[arg(long)]
        device: DeviceId,
        /// Where to write the certificate
        #[arg(long)]
        out: PathBuf,
        /// How long it lives
        #[arg(long, default_value_t = DEVICE_DAYS)]
        days: u32,
        /// Folder of an all-in-one site
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Folder of the CA
        #[arg(long, conflicts_with = "dir")]
        ca: Option<PathBuf>,
    },
    /// Write the list of all revoked certificates, for a broker of your own
    Revoked {
        /// Where to write the list, PEM
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Issue a further operator's certificate on an all-in-one site
    Operator {
        /// The operator's name: a-z, 0-9 and -
        name: String,
        /// Folder of the site
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// Serve the device of this certificate; for a known device, a further certificate
    Add {
        /// The device's certificate, PEM
        #[arg(long)]
        certificate: PathBuf,
        /// An initiator that it may serve; say it again for more
        #[arg(long, required = true)]
        initiator: Vec<InitiatorId>,
        #[command(flatten)]
        place: Place,
    },
    /// Give out a one-time code with which a device gets its first certificate
    Invite {
        device: DeviceId,
        /// An initiator that it may serve; say it again for more
        #[arg(long, required = true)]
        initiator: Vec<InitiatorId>,
        /// How long the code counts, hours
        #[arg(long, default_value_t = 72)]
        hours: u32,
        #[command(flatten)]
        place: Place,
    },
    /// List the devices whose keys wait for approval
    Pending {
        #[command(flatten)]
        place: Place,
    },
    /// Approve a key that waits, after comparing its fingerprint with what the device shows
    Approve {
        device: DeviceId,
        /// The fingerprint as the device shows it, 64 hexadecimal digits
        #[arg(long)]
        fingerprint: String,
        /// An initiator that it may serve; say it again for more
        #[arg(long, required = true)]
        initiator: Vec<InitiatorId>,
        #[command(flatten)]
        place: Place,
    },
    /// List the devices
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Serve a quarantined device again, once it is known which of the two machines is the true one
    Release {
        device: DeviceId,
        #[command(flatten)]
        place: Place,
    },
    /// Begin a new chain of audit records, after a new disk or a copy that was at work; the records so far stay
    NewChain {
        device: DeviceId,
        /// First record of the new chain, where the device has lost those before it; found by itself otherwise
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=1 << 53))]
        from: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Refuse a device from now on, and tell the broker
    Revoke {
        device: DeviceId,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a new sealing key; devices learn it at once, the old one still opens for `keys.overlap_hours`
    Rotate {
        /// On an all-in-one site: a new signing key with its certificate too
        #[arg(long, requires = "dir")]
        signing: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List the sealing keys, the current one first
    List {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
pub(crate) enum ConsentCommand {
    /// The person withdraws the consent: everything biometric of theirs is destroyed
    Withdraw {
        #[arg(long)]
        iin: Iin,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Subcommand)]
pub(crate) enum LedgerCommand {
    /// Check every number and hash, in the database or in an exported file
    Verify {
        #[command(flatten)]
        place: Place,
        /// An exported file, or - for standard input: needs no site and no keys
        #[arg(long, conflicts_with_all = ["dir", "config"])]
        file: Option<PathBuf>,
        /// The head that an earlier check printed and you kept elsewhere: that line must still be there
        #[arg(long, value_name = "NUMBER:HASH")]
        seen: Option<Head>,
    },
    /// Write every line as JSON, for `ledger verify --file`
    Export {
        #[command(flatten)]
        place: Place,
    },
}

//! The matcher's program: arguments, real edges, exit codes. Everything else is in the library.
#![allow(
    clippy::print_stdout,
    reason = "this program talks to people and scripts on its standard output"
)]

mod arguments;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use didar_liveness::Policy;
use didar_matcher::broker;
use didar_matcher::ca::{Ca, Validity};
use didar_matcher::config::Config;
use didar_matcher::files;
use didar_matcher::judge;
use didar_matcher::ledger::{Entry, What};
use didar_matcher::pki::{Certificate, Holder};
use didar_matcher::reference::{Portraits as _, Reference, Source, VisionPortraits};
use didar_matcher::serve;
use didar_matcher::site::{OPERATOR, Site, Wishes};
use didar_matcher::store::{DeviceState, Listed, Store};
use didar_matcher::time;
use didar_matcher::tls;
use didar_matcher::watch::{self, Post, Sight, WatchError};
use zeroize::Zeroizing;

use arguments::{
    Arguments, CaCommand, Command, ConsentCommand, DeviceCommand, EnrolArguments, JudgeArguments,
    LedgerCommand, Place, ServeArguments, WatchArguments,
};

/// Largest picture file that `enrol` reads, bytes.
const PICTURE_MAX: u64 = 32 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,rumqttc=warn"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            tracing::debug!(?error);
            eprintln_chain(&error);
            ExitCode::from(3)
        }
    }
}

fn eprintln_chain(error: &anyhow::Error) {
    // `{:#}` writes the chain of causes in one line: "cannot read x: no such file".
    let text = format!("didar-matcher: {error:#}\n");
    // Nobody is left to be told when standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve_command(&arguments)?,
        Command::Enrol(arguments) => enrol(&arguments)?,
        Command::Judge(arguments) => return judge_command(&arguments),
        Command::Watch(arguments) => watch_command(&arguments)?,
        Command::Ca(command) => ca_command(command)?,
        Command::Device(command) => device_command(command)?,
        Command::Consent(command) => consent_command(command)?,
        Command::Ledger(command) => ledger_command(command)?,
        Command::BrokerRun {
            program,
            conf,
            parent,
        } => {
            return Err(broker::become_broker(&program, &conf, parent))
                .with_context(|| format!("cannot become {}", program.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn serve_command(arguments: &ServeArguments) -> anyhow::Result<()> {
    // The program's main thread lives as long as the program: the broker is tied to the thread that starts it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ready = |url: &str| {
        println!("ready {url}");
        // Whoever waits for this line does not wait for our next one.
        let _ = std::io::stdout().flush();
    };
    if let Some(folder) = &arguments.all_in_one {
        let site = Site::new(folder);
        let wishes = Wishes {
            bind: arguments.bind,
            port: arguments.port,
            names: arguments.name.clone(),
            models: find_models(arguments.models.as_deref())?,
        };
        let (config, plan) = site.prepare(&wishes, time::now_ms())?;
        let launcher = std::env::current_exe().context("cannot find this program itself")?;
        return Ok(runtime.block_on(serve::serve_site(&site, &config, &plan, &launcher, ready))?);
    }
    let Some(path) = &arguments.config else {
        bail!("give a configuration file, or --all-in-one DIR")
    };
    let config = Config::read(path)?;
    Ok(runtime.block_on(serve::serve(&config, ready))?)
}

/// The models' manifest: as named, or in the places where an installation and a development tree have it.
fn find_models(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let mut places: Vec<PathBuf> = program
        .ancestors()
        .skip(1)
        .take(4)
        .map(|folder| folder.join("models/manifest.toml"))
        .collect();
    places.push("models/manifest.toml".into());
    places.push("/usr/share/didar/models/manifest.toml".into());
    match places.iter().find(|place| place.is_file()) {
        Some(found) => Ok(found.clone()),
        None => {
            bail!("the models' manifest is in none of the usual places: name it with --models FILE")
        }
    }
}

fn config_of(place: &Place) -> anyhow::Result<Config> {
    let path = match (&place.config, &place.dir) {
        (Some(config), _) => config.clone(),
        (None, Some(dir)) => Site::new(dir).config(),
        (None, None) => bail!("say where: --dir DIR of an all-in-one site, or --config FILE"),
    };
    Ok(Config::read(&path)?)
}

fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(Store::open(&config.store.database, &config.keys.store)?)
}

fn entry(config: &Config, what: What) -> Entry {
    Entry {
        at_ms: time::now_ms(),
        what,
        matcher: config.id.clone(),
        ..Entry::default()
    }
}

fn enrol(arguments: &EnrolArguments) -> anyhow::Result<()> {
    let config = config_of(&arguments.place)?;
    let picture = read_picture(&arguments.picture)?;
    let mut portraits = VisionPortraits::load(&config)?;
    let template = portraits
        .reduce(&picture, Source::Document)
        .with_context(|| {
            format!(
                "picture {} cannot become a reference",
                arguments.picture.display()
            )
        })?;
    let reference = Reference {
        template,
        picture,
        model: portraits.model(),
    };
    let now_ms = time::now_ms();
    let longest_ms = now_ms + u64::from(config.reference.retention_days) * 86_400_000;
    let expires_ms = match arguments.consent_until {
        Some(until) => {
            let end = until
                .to_zoned(jiff::tz::TimeZone::UTC)
                .context("--consent-until")?
                .timestamp()
                .as_millisecond();
            u64::try_from(end).unwrap_or(0).min(longest_ms)
        }
        None => longest_ms,
    };
    if expires_ms <= now_ms {
        bail!("--consent-until lies in the past: the reference would be destroyed at once");
    }
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    let subject = work.make_subject(&arguments.iin, now_ms)?;
    let version = work.put_reference(
        &subject.tag,
        Source::Document,
        &reference,
        now_ms,
        expires_ms,
    )?;
    let number = work.append(&Entry {
        person: Some(hex::encode(subject.person)),
        number: Some(version),
        hash: Some(hex::encode(reference.model)),
        note: Some(format!("consent text {:?}", arguments.consent)),
        ..entry(&config, What::Enrolled)
    })?;
    work.commit()?;
    println!(
        "enrolled: version {version}, until {}, ledger line {number}",
        time::text(expires_ms)
    );
    Ok(())
}

fn read_picture(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let found = std::fs::metadata(path)
        .with_context(|| format!("cannot read picture {}", path.display()))?
        .len();
    if found > PICTURE_MAX {
        bail!(
            "picture {} has {found} bytes: at most {PICTURE_MAX} are read",
            path.display()
        );
    }
    let bytes =
        std::fs::read(path).with_context(|| format!("cannot read picture {}", path.display()))?;
    Ok(Zeroizing::new(bytes))
}

fn judge_command(arguments: &JudgeArguments) -> anyhow::Result<ExitCode> {
    let policy = match &arguments.policy {
        Some(path) => Policy::from_toml(&files::read_text(path)?)
            .with_context(|| path.display().to_string())?,
        None => Policy::shipped(),
    };
    let evidence = judge::judge(&arguments.file, &policy)?;
    if arguments.json {
        println!("{:#}", judge::to_json(&evidence));
    } else {
        print!("{evidence}");
    }
    Ok(ExitCode::from(judge::exit_code(evidence.answer())))
}

fn watch_command(arguments: &WatchArguments) -> anyhow::Result<()> {
    let post = post(arguments)?;
    let show = |sight: Sight| {
        match sight {
            Sight::Watching => tracing::info!(url = %post.url, "watching"),
            Sight::Event(event) if arguments.json => println!("{}", watch::to_json(&event)),
            Sight::Event(event) => println!("{}", watch::line(&event)),
            Sight::Forged(why) => {
                tracing::error!(why, "an event that no matcher of this site signed")
            }
            Sight::Lost(why) => tracing::warn!(why, "connection lost"),
        }
        // A reader that went away is seen at the next event.
        let _ = std::io::stdout().flush();
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = watch::watch(&post, show) => ended,
            _ = tokio::signal::ctrl_c() => Ok::<(), WatchError>(()),
        }
    })?;
    Ok(())
}

fn post(arguments: &WatchArguments) -> anyhow::Result<Post> {
    let WatchArguments {
        dir,
        broker,
        cert,
        key,
        ca,
        operator,
        ..
    } = arguments;
    if let Some(dir) = dir {
        let site = Site::new(dir);
        let (certificate, operator_key) = site.operator(operator.as_deref().unwrap_or(OPERATOR));
        let url = match broker {
            Some(url) => url.clone().try_into()?,
            None => Config::read(&site.config())?.broker.url,
        };
        return Ok(Post {
            url,
            ca: site.ca_certificate(),
            certificate,
            key: operator_key,
        });
    }
    let (Some(broker), Some(certificate), Some(key), Some(ca)) = (broker, cert, key, ca) else {
        bail!(
            "say where: --dir DIR of an all-in-one site, or --broker URL with --cert, --key and --ca"
        );
    };
    Ok(Post {
        url: broker.clone().try_into()?,
        ca: ca.clone(),
        certificate: certificate.clone(),
        key: key.clone(),
    })
}

fn ca_command(command: CaCommand) -> anyhow::Result<()> {
    let now_ms = time::now_ms();
    match command {
        CaCommand::Init { dir } => {
            Ca::init(&dir, now_ms)?;
            println!(
                "made {}",
                dir.join(didar_matcher::ca::CERTIFICATE_FILE).display()
            );
        }
        CaCommand::SignDevice {
            csr,
            device,
            out,
            days,
            dir,
            ca,
        } => {
            let folder = ca_folder(ca, dir)?;
            let request = files::read_text(&csr)?;
            let certificate = Ca::open(&folder)?
                .sign_device(
                    &request,
                    &device,
                    Validity {
                        issued_ms: now_ms,
                        days,
                    },
                )
                .with_context(|| csr.display().to_string())?;
            files::write_public(&out, &certificate)?;
            println!(
                "signed {} for {days} days; register it with: didar-matcher device add",
                out.display()
            );
        }
        CaCommand::Operator { name, dir } => {
            let (certificate, key) = Site::new(&dir).add_operator(&name, now_ms)?;
            println!("made {} and {}", certificate.display(), key.display());
        }
    }
    Ok(())
}

fn ca_folder(ca: Option<PathBuf>, dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match (ca, dir) {
        (Some(ca), _) => Ok(ca),
        (None, Some(dir)) => Ok(Site::new(&dir).ca()),
        (None, None) => bail!(
            "say which CA: --dir DIR of an all-in-one site, or --ca FOLDER of ca.pem and ca.key"
        ),
    }
}

fn device_command(command: DeviceCommand) -> anyhow::Result<()> {
    match command {
        DeviceCommand::Add {
            certificate,
            initiator,
            place,
        } => {
            let config = config_of(&place)?;
            let pem = files::read_text(&certificate)?;
            let found =
                Certificate::from_pem(&pem).with_context(|| certificate.display().to_string())?;
            let Holder::Device(device) = found.holder() else {
                bail!(
                    "{} is of {}, not of a device",
                    certificate.display(),
                    found.holder()
                );
            };
            // Judged by its first second: one that has ended still vouches for the records of its time.
            let issued_ms = found.not_before_s() * 1000;
            found
                .check(&tls::read_ca(&config.broker.ca)?, issued_ms)
                .with_context(|| certificate.display().to_string())?;
            if found.not_after_s() * 1000 <= time::now_ms() {
                let ended = time::text(found.not_after_s() * 1000);
                tracing::warn!(%device, ended, "this certificate has ended: the device is refused until it has a new one");
            }
            let mut store = open_store(&config)?;
            let work = store.begin()?;
            work.add_device(device, &found, &initiator, time::now_ms())?;
            work.append(&Entry {
                device: Some(device.to_string()),
                hash: Some(hex::encode(found.thumbprint())),
                ..entry(&config, What::DeviceAdded)
            })?;
            work.commit()?;
            println!("device {device} is served");
        }
        DeviceCommand::List { place } => {
            let mut store = open_store(&config_of(&place)?)?;
            for listed in store.begin()?.devices()? {
                let Listed {
                    id,
                    state,
                    online,
                    not_after_s,
                    initiators,
                } = listed;
                let state = match state {
                    DeviceState::Active => "active",
                    DeviceState::Revoked => "revoked",
                };
                let online = if online { "connected" } else { "gone" };
                println!(
                    "{id}  {state}  {online}  until {}  serves {initiators}",
                    time::text(not_after_s * 1000)
                );
            }
        }
        DeviceCommand::Revoke { device, place } => {
            let config = config_of(&place)?;
            let mut store = open_store(&config)?;
            let work = store.begin()?;
            if !work.revoke_device(&device)? {
                bail!("there is no device {device}: see didar-matcher device list");
            }
            work.append(&Entry {
                device: Some(device.to_string()),
                ..entry(&config, What::DeviceRevoked)
            })?;
            work.commit()?;
            println!("device {device} is refused from now on");
        }
    }
    Ok(())
}

fn consent_command(command: ConsentCommand) -> anyhow::Result<()> {
    let ConsentCommand::Withdraw { iin, place } = command;
    let config = config_of(&place)?;
    let mut store = open_store(&config)?;
    let work = store.begin()?;
    let destroyed = work.withdraw(&iin, time::now_ms())?;
    let (person, references) = destroyed.map_or((None, 0), |gone| {
        (Some(hex::encode(gone.person)), gone.references)
    });
    let number = work.append(&Entry {
        person,
        number: Some(references as u64),
        note: Some("the person withdrew the consent".into()),
        ..entry(&config, What::Destroyed)
    })?;
    work.commit()?;
    store.settle()?;
    println!("destroyed {references} reference(s); receipt: ledger line {number}");
    Ok(())
}

fn ledger_command(command: LedgerCommand) -> anyhow::Result<()> {
    match command {
        LedgerCommand::Verify { place } => {
            let mut store = open_store(&config_of(&place)?)?;
            let checked = store.begin()?.verify_ledger()?;
            println!(
                "{} lines hold; head {}",
                checked.lines,
                hex::encode(checked.head)
            );
        }
        LedgerCommand::Export { place } => {
            let mut store = open_store(&config_of(&place)?)?;
            let mut out = std::io::stdout().lock();
            store.begin()?.each_line(|line| {
                let hash = hex::encode(line.hash);
                // A reader that went away ends the export at the end of this loop; the ledger is not harmed.
                let _ = writeln!(
                    out,
                    "{{\"number\":{},\"hash\":\"{hash}\",\"entry\":{}}}",
                    line.number, line.text
                );
                Ok(())
            })?;
        }
    }
    Ok(())
}

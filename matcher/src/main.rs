//! The matcher's program: arguments, real edges, exit codes. Everything else is in the library.

mod arguments;
mod offline;
mod revocation;

use std::fmt::Display;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use didar_liveness::Policy;
use didar_matcher::broker::{self, BrokerPlan};
use didar_matcher::config::Config;
use didar_matcher::files;
use didar_matcher::judge;
use didar_matcher::serve;
use didar_matcher::site::{OPERATOR, Site, SiteError, Wishes};
use didar_matcher::supervisor;
use didar_matcher::time;
use didar_matcher::watch::{self, Post, Sight, WatchError};

use arguments::{Arguments, Command, JudgeArguments, ServeArguments, WatchArguments};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,rumqttc=warn"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            tracing::debug!(?error);
            complain(&error);
            ExitCode::from(3)
        }
    }
}

/// One line on standard output, at once.
fn say(line: impl Display) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

fn complain(error: &anyhow::Error) {
    // `{:#}` writes the chain of causes in one line: "cannot read x: no such file".
    let text = format!("didar-matcher: {error:#}\n");
    // Nobody is left to be told when standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(arguments) => serve_command(&arguments)?,
        Command::Enrol(arguments) => offline::enrol(&arguments)?,
        Command::Judge(arguments) => return judge_command(&arguments),
        Command::Watch(arguments) => watch_command(&arguments)?,
        Command::Ca(command) => offline::ca_command(command)?,
        Command::Device(command) => offline::device_command(command)?,
        Command::Keys(command) => offline::keys_command(command)?,
        Command::Consent(command) => offline::consent_command(command)?,
        Command::Ledger(command) => offline::ledger_command(command)?,
        Command::BrokerRun { program, conf, parent } => {
            return Err(broker::become_broker(&program, &conf, parent))
                .with_context(|| format!("cannot become {}", program.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Between two looks at a clock that is wrong.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

fn serve_command(arguments: &ServeArguments) -> anyhow::Result<()> {
    // The program's main thread lives as long as the program: the broker is tied to the thread that starts it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ready = |url: &str| {
        // Nobody may be waiting for this line; serving goes on.
        let _ = say(format_args!("ready {url}"));
        supervisor::ready();
    };
    if let Some(folder) = &arguments.all_in_one {
        let site = Site::new(folder);
        let wishes = Wishes {
            bind: arguments.bind,
            port: arguments.port,
            names: arguments.name.clone(),
            models: find_models(arguments.models.as_deref())?,
        };
        let launcher = std::env::current_exe().context("cannot find this program itself")?;
        loop {
            let (config, plan) = runtime.block_on(prepared(&site, &wishes))?;
            match runtime.block_on(serve::serve_site(&site, &config, &plan, &launcher, ready))? {
                serve::Ended::Asked => return Ok(()),
                serve::Ended::Due => {}
            }
        }
    }
    let Some(path) = &arguments.config else { bail!("give a configuration file, or --all-in-one DIR") };
    let config = Config::read(path)?;
    Ok(runtime.block_on(serve::serve(&config, ready))?)
}

/// The site, once the clock is one by which it can be prepared: a board without a battery is told the time some seconds after
/// its start.
async fn prepared(site: &Site, wishes: &Wishes) -> Result<(Config, BrokerPlan), SiteError> {
    let mut told = false;
    loop {
        match site.prepare(wishes, time::now_ms()) {
            Err(error @ (SiteError::Clock { .. } | SiteError::Ended { .. })) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::error!("{error}; waiting");
                }
                time::wait(CLOCK_EVERY).await;
            }
            done => return done,
        }
    }
}

/// The models' manifest: as named, or in the places where an installation and a development tree have it.
fn find_models(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let program = std::env::current_exe().unwrap_or_default();
    let mut places: Vec<PathBuf> =
        program.ancestors().skip(1).take(4).map(|folder| folder.join("models/manifest.toml")).collect();
    places.push("models/manifest.toml".into());
    places.push("/usr/share/didar/models/manifest.toml".into());
    match places.iter().find(|place| place.is_file()) {
        Some(found) => Ok(found.clone()),
        None => {
            bail!("the models' manifest is in none of the usual places: name it with --models FILE")
        }
    }
}

fn judge_command(arguments: &JudgeArguments) -> anyhow::Result<ExitCode> {
    let policy = match &arguments.policy {
        Some(path) => Policy::from_toml(&files::read_text(path)?).with_context(|| path.display().to_string())?,
        None => Policy::shipped(),
    };
    let evidence = judge::judge(&arguments.file, &policy)?;
    if arguments.json {
        say(format_args!("{:#}", judge::to_json(&evidence)))?;
    } else {
        say(evidence.to_string().trim_end())?;
    }
    Ok(ExitCode::from(judge::exit_code(evidence.answer())))
}

fn watch_command(arguments: &WatchArguments) -> anyhow::Result<()> {
    let post = post(arguments)?;
    let show = |sight: Sight| {
        let told = match sight {
            Sight::Watching => {
                tracing::info!(url = %post.url, "watching");
                Ok(())
            }
            Sight::Event(event) if arguments.json => say(watch::to_json(&event)),
            Sight::Event(event) => say(watch::line(&event)),
            Sight::Forged(why) => {
                tracing::error!(why, "an event that no matcher of this site signed");
                Ok(())
            }
            Sight::Lost(why) => {
                tracing::warn!(why, "connection lost");
                Ok(())
            }
        };
        // Nobody reads any more: `didar-matcher watch | head` ends so.
        if told.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = watch::watch(&post, show) => ended,
            _ = tokio::signal::ctrl_c() => Ok::<(), WatchError>(()),
        }
    })?;
    Ok(())
}

fn post(arguments: &WatchArguments) -> anyhow::Result<Post> {
    let WatchArguments { dir, broker, cert, key, ca, operator, .. } = arguments;
    if let Some(dir) = dir {
        let site = Site::new(dir);
        let (certificate, operator_key) = site.operator(operator.as_deref().unwrap_or(OPERATOR));
        let url = match broker {
            Some(url) => url.clone().try_into()?,
            None => Config::read(&site.config())?.broker.url,
        };
        return Ok(Post { url, ca: site.ca_certificate(), certificate, key: operator_key });
    }
    let (Some(broker), Some(certificate), Some(key), Some(ca)) = (broker, cert, key, ca) else {
        bail!("say where: --dir DIR of an all-in-one site, or --broker URL with --cert, --key and --ca");
    };
    Ok(Post { url: broker.clone().try_into()?, ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
}

//! Attempts in the rig: asked for by the kiosk's application, followed to their outcome, with what the agent said of them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::CONFIG;
use super::control::Control;
use super::feed::Feed;
use super::machine::Eye;
use super::slots::{self, Tally};
use crate::kiosk_app::KioskApp;
use crate::site::INITIATOR;
use crate::stage::consent;

/// One kiosk in the rig, with somebody before it.
pub struct Booth {
    /// The kiosk's application.
    pub app: KioskApp,
    /// Orders to the guest.
    pub control: Control,
    /// What the camera sees.
    pub feed: Feed,
    /// The person who is claimed.
    pub subject: String,
    /// Where the agent's log goes.
    pub log: PathBuf,
    /// Photographs the screen.
    pub eye: Eye,
    /// Where pictures go.
    pub pictures: PathBuf,
    /// How long the guest may take to draw a screen, by our clock.
    pub drawing: Duration,
}

/// How an attempt went.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Its name.
    pub name: String,
    /// The outcome's name.
    pub outcome: String,
    /// The reason's name.
    pub reason: String,
    /// From the request to the outcome, milliseconds of the guest's clock.
    pub ms: u64,
    /// Slots of all its tries, and how many the host knows to be right.
    pub tally: Tally,
    /// Slots of the last try: what its outcome was judged on.
    pub judged: usize,
    /// Each wrong frame of all its tries: what the agent took it for, and how much of it either lamp lit.
    pub wrong: Vec<String>,
    /// How often it was tried: an inconclusive capture is tried again.
    pub tries: u32,
}

impl Scene {
    /// This scene after it was tried once more: it ended as `last` did, and nothing that was seen before is forgotten.
    fn again(mut self, last: Self) -> Self {
        self.wrong.extend(last.wrong);
        Self { tally: self.tally.plus(last.tally), wrong: self.wrong, tries: self.tries + last.tries, ..last }
    }

    /// The scene as the summary tells it.
    pub fn to_json(&self) -> Value {
        json!({
            "scene": self.name,
            "outcome": self.outcome,
            "reason": self.reason,
            "ms": self.ms,
            "slots": self.tally.slots,
            "slots_right": self.tally.right,
            "slots_judged": self.judged,
            "wrong_frames": self.wrong,
            "tries": self.tries,
        })
    }
}

/// What happens in the middle of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Middle<'a> {
    /// Nothing; the outcome's screen is photographed.
    Undisturbed,
    /// Nothing; every screen is photographed.
    Photographed,
    /// The camera is pulled out at this stage of its events.
    PulledAt(&'a str),
}

/// Tries of one scene.
const TRIES_MAX: u32 = 3;
/// Longest attempt, by our clock.
const ATTEMPT_MAX: Duration = Duration::from_secs(600);
/// Longest wait for the connection or for rest.
const STATE_MAX: Duration = Duration::from_secs(300);
/// How often the state is asked for.
const LOOK: Duration = Duration::from_millis(300);

impl Booth {
    /// Starts the agent and waits until it is connected; its process id.
    ///
    /// # Errors
    /// It does not start; its log tells why.
    pub async fn start(&mut self) -> Result<u64> {
        self.start_with(CONFIG).await
    }

    /// The same with another configuration of the guest.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(&mut self, config: &str) -> Result<u64> {
        let started = self.control.give(json!({ "order": "start", "config": config }))?;
        let pid = started["pid"].as_u64().context("a process id")?;
        self.wait_for(|state| state["connected"] == true, "connected").await?;
        Ok(pid)
    }

    /// Waits until the kiosk's state is as wanted.
    ///
    /// # Errors
    /// It does not become so.
    pub async fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool, what: &str) -> Result<Value> {
        let begun = now();
        let mut last = Value::Null;
        while begun.elapsed() < STATE_MAX {
            if let Ok(Ok(answer)) = tokio::time::timeout(STATE_MAX, self.app.state()).await {
                if wanted(&answer.body) {
                    return Ok(answer.body);
                }
                last = answer.body;
            }
            pause(LOOK).await;
        }
        self.said()?;
        bail!("the kiosk was not {what} within {STATE_MAX:?}: {last}; see {}", self.log.display())
    }

    /// Lets the guest go on for a moment.
    pub async fn wait_a_little(&self) {
        pause(LOOK).await;
    }

    /// An attempt; one that ends as inconclusive is tried again, as its screen asks for. The slots of every try count.
    ///
    /// # Errors
    /// The local API or the guest does not answer.
    pub async fn attempt(&mut self, name: &str, middle: Middle<'_>) -> Result<Scene> {
        let mut scene = self.attempt_once(name, middle).await?;
        while scene.outcome == "inconclusive" && scene.tries < TRIES_MAX {
            if matches!(middle, Middle::PulledAt(_)) {
                self.plug().await?;
            }
            scene = scene.again(self.attempt_once(name, middle).await?);
        }
        Ok(scene)
    }

    /// An attempt in the middle of which something happens.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt), and what the middle says.
    pub async fn attempt_once(&mut self, name: &str, middle: Middle<'_>) -> Result<Scene> {
        self.wait_for(|state| state["serving"].is_null() && state["connected"] == true, "at rest and connected")
            .await?;
        self.said()?;
        let id = self.begin().await?;
        let mut outcome = Value::Null;
        let mut done = Ok(());
        let Self { app, control, eye, pictures, drawing, .. } = self;
        let mut before = String::new();
        let follow = app.follow(&id, |event, data| {
            if event == "outcome" {
                outcome = data.clone();
            }
            if middle == Middle::PulledAt(event) && before != event {
                done = control.order("pull").map(drop);
            }
            if done.is_ok() && before != event && (event == "outcome" || middle == Middle::Photographed) {
                std::thread::park_timeout(*drawing);
                done = eye.photograph(&pictures.join(format!("{name}-screen-{event}.png")));
            }
            event.clone_into(&mut before);
        });
        tokio::time::timeout(ATTEMPT_MAX, follow).await.context("the attempt did not end")??;
        done?;
        let ms = outcome["ms"].as_u64().unwrap_or(0);
        let labelled: Vec<_> = self.said()?.iter().filter_map(|line| slots::parse(line)).collect();
        let feed = &self.feed;
        let tally = slots::tally(&labelled, |at| feed.truth(at).flatten());
        let wrong = labelled.iter().filter(|frame| feed.truth(frame.captured_us).flatten() != Some(frame.light));
        let wrong = wrong.map(|frame| format!("{frame:?}: lit for {:?}", feed.shares(frame.captured_us))).collect();
        let word = |value: &Value| value.as_str().or_else(|| value["name"].as_str()).unwrap_or("").to_owned();
        let (outcome, reason) = (word(&outcome["outcome"]), word(&outcome["reason"]));
        Ok(Scene { name: name.to_owned(), outcome, reason, ms, tally, judged: tally.slots, wrong, tries: 1 })
    }

    /// Begins an attempt; its id.
    ///
    /// # Errors
    /// The local API does not answer, or refuses.
    pub async fn begin(&mut self) -> Result<String> {
        let asked = self.app.ask(&request(&self.subject)).await?;
        Ok(asked.body["id"].as_str().with_context(|| format!("an id in {}", asked.body))?.to_owned())
    }

    /// Counts the camera's frames for so many seconds of the guest, from now on.
    ///
    /// # Errors
    /// The guest does not answer.
    pub async fn count(&mut self, seconds: u64) -> Result<Value> {
        let before = self.control.order("camera")?;
        let end_us = before["now_us"].as_u64().context("the guest's time")? + seconds * 1_000_000;
        while self.guest_us()? < end_us {
            pause(LOOK).await;
        }
        let (after, state) = (self.control.order("camera")?, self.app.state().await?.body);
        let grown = |key: &str| after[key].as_u64().unwrap_or(0) - before[key].as_u64().unwrap_or(0);
        Ok(json!({
            "seconds": grown("now_us") / 1_000_000,
            "frames": grown("written"),
            "lost": grown("lost"),
            "late": grown("late"),
            "agent": state["camera"],
        }))
    }

    /// Puts the camera back in and waits until the agent has seen it.
    ///
    /// # Errors
    /// The guest does not answer, or the agent does not find its camera again.
    pub async fn plug(&mut self) -> Result<()> {
        self.control.order("plug")?;
        self.wait_for(|state| state["faults"].as_array().is_some_and(Vec::is_empty), "free of faults").await.map(drop)
    }

    /// Kills the agent while a lamp is lit, and tells what became of the lines.
    ///
    /// # Errors
    /// No lamp was lit.
    pub async fn killed_while_lit(&mut self) -> Result<Value> {
        self.wait_for(|state| state["serving"].is_null() && state["connected"] == true, "at rest and connected")
            .await?;
        self.begin().await?;
        self.control.order("kill-lit")
    }

    /// What the agent has said since the last time; kept in the log as well.
    ///
    /// # Errors
    /// The guest does not answer.
    pub fn said(&mut self) -> Result<Vec<String>> {
        use std::io::Write;
        let said = self.control.order("said")?;
        let lines: Vec<String> =
            said["lines"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let mut log =
            std::fs::OpenOptions::new().create(true).append(true).open(&self.log).context("the agent's log")?;
        for line in &lines {
            writeln!(log, "{line}").context("the agent's log")?;
        }
        Ok(lines)
    }

    /// The guest's clock, microseconds.
    ///
    /// # Errors
    /// The guest does not answer.
    pub fn guest_us(&mut self) -> Result<u64> {
        self.control.order("camera")?["now_us"].as_u64().context("the guest's time")
    }

    /// Saves what the camera saw under each state of the lamps.
    ///
    /// # Errors
    /// A picture cannot be written.
    pub fn photograph(&self, name: &str) -> Result<()> {
        for (light, picture) in self.feed.pictures() {
            let path = self.pictures.join(format!("{name}-camera-{light}.png"));
            picture.save(&path).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// What the kiosk's application sends.
fn request(subject: &str) -> Value {
    json!({
        "subject": subject,
        "initiator": INITIATOR,
        "reference": "rig",
        "purpose": "sign",
        "language": "en",
        "consent": consent("sign"),
    })
}

#[expect(clippy::disallowed_methods, reason = "the rig measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the rig waits for a machine")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrong_in_a_try_is_not_forgotten_when_it_is_tried_again() {
        let scene = |outcome: &str, slots, right, wrong: &[&str]| Scene {
            name: "grant".to_owned(),
            outcome: outcome.to_owned(),
            reason: String::new(),
            ms: slots,
            tally: Tally { slots: slots as usize, right },
            judged: slots as usize,
            wrong: wrong.iter().map(|&frame| frame.to_owned()).collect(),
            tries: 1,
        };
        let first = scene("inconclusive", 11, 10, &["slot 3"]);
        let both = first.again(scene("inconclusive", 0, 0, &[])).again(scene("grant", 12, 12, &[]));
        assert_eq!((both.tally, both.judged), (Tally { slots: 23, right: 22 }, 12));
        assert_eq!((both.wrong, both.tries), (vec!["slot 3".to_owned()], 3));
        assert_eq!((both.outcome.as_str(), both.ms), ("grant", 12));
    }
}

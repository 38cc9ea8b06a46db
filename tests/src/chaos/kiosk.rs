//! One kiosk of the chaos: the shipped agent, the simulated devices before it, its application, and its small disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use didar_protocol::id::RequestId;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::net::Link;
use super::victim::Victim;
use super::{Crowd, Ends, Progress, pause};
use crate::audit::Witnessed;
use crate::kiosk_app::KioskApp;
use crate::process;
use crate::scene::{Bridge, CameraModel, Kiosk as Scene, PixelOrder, Presentation, Random, Room};
use crate::site::{INITIATOR, KioskSite};
use crate::stage;

/// The disk of a kiosk: some megabytes, so that it can be filled.
const DISK: &str = "size=16m,mode=700";
const DEVICE: &str = "didar-chaos";
/// Between two frames where no proof is needed, microseconds.
const COUNTER_FRAME_US: u32 = 500_000;
/// Longest wait for one answer of the agent, and for the end of an attempt.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ATTEMPT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a connection before somebody asks all the same.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A kiosk and whoever stands before it.
pub(super) struct Kiosk {
    pub(super) id: String,
    pub(super) agent: Arc<Victim>,
    app: KioskApp,
    bridge: Bridge,
    disk: Arc<Disk>,
    place: Place,
}

/// What a kiosk's visitors come for decides how fast its camera must be painted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// People stand before a camera that keeps its time: proofs, verdicts.
    Camera,
    /// Requests end before a proof is needed, and a few frames a second are enough.
    Counter,
}

/// The agent's state folder, on a disk of its own.
pub(super) struct Disk {
    folder: PathBuf,
}

/// What somebody comes for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// A number that the centre does not know: over in a moment.
    Stranger,
    /// The application changes its mind after so long.
    Cancelled(Duration),
    /// The right person.
    Right,
    /// Somebody else with the right person's number.
    Other,
    /// A print of the right person.
    Print,
}

impl Disk {
    fn mount(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let place = folder.to_str().context("path")?;
        process::run(Path::new("mount"), &["-t", "tmpfs", "-o", DISK, DEVICE, place])?;
        Ok(Self { folder })
    }

    /// Leaves no room.
    pub(super) fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.folder.join("ballast"))?;
        // Ends with "no space left".
        while ballast.write_all(&[0x5a; 4096]).is_ok() {}
        while ballast.write_all(&[0x5a]).is_ok() {}
        Ok(())
    }

    /// Makes room again.
    pub(super) fn clear(&self) -> Result<()> {
        fs::remove_file(self.folder.join("ballast")).context("emptying a full disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.folder);
    }
}

/// Lazily: an agent that is just ending may hold it for a moment.
fn unmount(place: &Path) -> Result<()> {
    process::run(Path::new("umount"), &[Path::new("-l"), place]).map(drop)
}

/// Disks that an earlier run in `folder` left behind because it was killed itself.
pub(super) fn unmount_leftovers(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let places = mounts.lines().filter_map(|line| line.strip_prefix(DEVICE)?.split_whitespace().next());
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    places.map(Path::new).filter(|place| place.starts_with(&folder)).try_for_each(unmount)
}

impl Kiosk {
    /// Puts the devices up; the agent is not started yet.
    pub(super) fn open(site: &KioskSite, link: &Link, crowd: &Crowd, place: Place, seed: u64) -> Result<Self> {
        let camera = match place {
            Place::Camera => CameraModel::default(),
            Place::Counter => CameraModel { frame_us: COUNTER_FRAME_US, ..CameraModel::default() },
        };
        let scene = Scene::new(Arc::clone(&crowd.right), Room::default(), camera, seed);
        let bridge = Bridge::open(&site.bridge, scene, PixelOrder::Yuyv, |_| {})?;
        let disk = Disk::mount(site.folder().join("state"))?;
        let program = process::sibling("didar-agent")?.display().to_string();
        // Whoever proves that he lives needs every frame in time; at a counter there is nothing to be late for.
        let niceness = match place {
            Place::Camera => "0",
            Place::Counter => "15",
        };
        let config = site.config.display().to_string();
        let order = ["nice", "-n", niceness, &program, "run", "--config", &config].map(str::to_owned).to_vec();
        let agent = Victim::new("didar-agent", link.namespace(), order, site.folder().join("agent.log"))?;
        Ok(Self {
            id: site.id().to_owned(),
            agent: Arc::new(agent),
            app: KioskApp::new(&site.api),
            bridge,
            disk: Arc::new(disk),
            place,
        })
    }

    pub(super) fn disk(&self) -> Arc<Disk> {
        Arc::clone(&self.disk)
    }

    /// One person after the other, until the chaos is over.
    pub(super) async fn serve(&self, crowd: &Crowd, progress: &Progress, mut random: Random) -> (Witnessed, Ends) {
        let (mut seen, mut ends) = (Witnessed::default(), Ends::default());
        while !progress.is_over() {
            // Most wait until the kiosk says that it is connected; some don't.
            if !random.one_in(5) {
                self.wait_for(CONNECT_MAX, progress, |state| state["connected"] == true).await;
            }
            let errand = errand(self.place, &mut random);
            // One at a time before a camera: this machine could not keep time for several.
            let turn = match self.place {
                Place::Counter => None,
                Place::Camera => crowd.turn.acquire().await.ok(),
            };
            if self.attempt(crowd, errand, &mut seen, &mut ends).await {
                progress.attempted();
            }
            drop(turn);
        }
        (seen, ends)
    }

    /// Waits until everything that happened here is known at the centre.
    pub(super) async fn is_at_rest(&self) -> bool {
        let Some(state) = self.state().await else { return false };
        state["connected"] == true && state["serving"].is_null() && state["unconfirmed_records"] == 0
    }

    async fn state(&self) -> Option<Value> {
        timeout(ANSWER_MAX, self.app.state()).await.ok()?.ok().map(|answer| answer.body)
    }

    async fn wait_for(&self, longest: Duration, progress: &Progress, wanted: impl Fn(&Value) -> bool) {
        let mut waited = Duration::ZERO;
        while waited < longest && !progress.is_over() {
            if self.state().await.is_some_and(|state| wanted(&state)) {
                return;
            }
            pause(LOOK).await;
            waited += LOOK;
        }
    }

    /// Who stands there; a new picture is painted only for those who need one.
    fn step_up(&self, crowd: &Crowd, errand: Errand) {
        match errand {
            Errand::Stranger => {}
            Errand::Other => self.bridge.step_up(Arc::clone(&crowd.other)),
            Errand::Right | Errand::Cancelled(_) | Errand::Print => self.bridge.step_up(Arc::clone(&crowd.right)),
        }
        self.bridge.present(if errand == Errand::Print { Presentation::Print } else { Presentation::Live });
    }

    /// One request; whether it was begun.
    async fn attempt(&self, crowd: &Crowd, errand: Errand, seen: &mut Witnessed, ends: &mut Ends) -> bool {
        self.step_up(crowd, errand);
        let subject = if errand == Errand::Stranger { &crowd.stranger } else { &crowd.person };
        let request = json!({
            "subject": subject,
            "initiator": INITIATOR,
            "reference": "chaos",
            "purpose": "sign",
            "consent": stage::consent("sign"),
        });
        let answer = match timeout(ANSWER_MAX, self.app.ask(&request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.chain().any(|cause| cause.to_string().starts_with("connecting to")) => {
                pause(LOOK).await;
                return false;
            }
            _ => {
                // The agent was killed before it answered: nobody knows whether it had begun.
                seen.unanswered();
                return false;
            }
        };
        match answer.status {
            201 => {}
            // Busy with the last one's result.
            409 => {
                pause(LOOK).await;
                return false;
            }
            _ => {
                seen.unanswered();
                pause(LOOK).await;
                return false;
            }
        }
        let Some((id, text)) = answer.body["id"].as_str().and_then(|id| Some((id.parse::<RequestId>().ok()?, id)))
        else {
            seen.unanswered();
            return false;
        };
        seen.begun(id, false);
        match self.ending(text, errand).await {
            Some(outcome) => {
                seen.told(id, &outcome);
                *ends.entry(outcome).or_default() += 1;
            }
            None => {
                seen.died();
                *ends.entry("not told".to_owned()).or_default() += 1;
            }
        }
        true
    }

    /// What the application is told; `None` when the agent dies before.
    async fn ending(&self, id: &str, errand: Errand) -> Option<String> {
        let mut outcome = None;
        let follow = self.app.follow(id, |event, data| {
            if event == "outcome" {
                outcome = data["outcome"].as_str().map(str::to_owned);
            }
        });
        let cancel = async {
            if let Errand::Cancelled(after) = errand {
                pause(after).await;
                // Whoever is dead has nothing to cancel.
                let _ = timeout(ANSWER_MAX, self.app.cancel(id)).await;
            }
        };
        // A stream that breaks tells nothing more.
        let (_followed, ()) = tokio::join!(timeout(ATTEMPT_MAX, follow), cancel);
        outcome
    }
}

fn errand(place: Place, random: &mut Random) -> Errand {
    match (place, random.below(100)) {
        (Place::Camera, 0..=69) => Errand::Right,
        (Place::Camera, 70..=81) => Errand::Other,
        (Place::Camera, 82..=87) => Errand::Print,
        (Place::Camera, _) => Errand::Cancelled(Duration::from_millis(random.below(2_500))),
        (Place::Counter, 0..=9) => Errand::Cancelled(Duration::from_millis(random.below(800))),
        (Place::Counter, _) => Errand::Stranger,
    }
}

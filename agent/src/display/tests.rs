//! The thread with a screen of memory that can be pulled out.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use didar_protocol::message::Outcome;
use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::attempt::event::Hint;
use crate::edge::ScreenError;
use crate::screen::Area;
use crate::screen::text::Desk;

/// What arrived at the screen.
#[derive(Default)]
struct Arrived {
    pulled: bool,
    picture: Vec<u16>,
    areas: Vec<Area>,
}

struct MemoryScreen(Arc<Mutex<Arrived>>);

impl Screen for MemoryScreen {
    fn size(&self) -> (u16, u16) {
        (480, 320)
    }

    fn show(&mut self, pixels: &[u16], area: Area) -> Result<(), ScreenError> {
        let mut arrived = self.0.lock().unwrap();
        if arrived.pulled {
            return Err(ScreenError::Open { place: "memory".into(), cause: io::ErrorKind::NotFound.into() });
        }
        arrived.picture.resize(pixels.len(), 0);
        for (row, new) in area.rows(pixels, 480).enumerate() {
            let start = (usize::from(area.y) + row) * 480 + usize::from(area.x);
            arrived.picture[start..start + new.len()].copy_from_slice(new);
        }
        arrived.areas.push(area);
        Ok(())
    }
}

fn help() -> Help {
    let desk = Desk { kk: "№ 1 терезе".into(), ru: "окно № 1".into(), en: "window 1".into() };
    Help::new(desk, None).unwrap()
}

fn start(pulled: bool) -> (Display, Arc<Mutex<Arrived>>, Receiver<Event>) {
    let arrived = Arc::new(Mutex::new(Arrived { pulled, ..Arrived::default() }));
    let (events, heard) = channel(8);
    let display = Display::start(Box::new(MemoryScreen(arrived.clone())), help(), events).unwrap();
    (display, arrived, heard)
}

/// What a screen should show, drawn directly.
fn drawn(view: &View) -> Vec<u16> {
    let mut canvas = Canvas::new(480, 320).unwrap();
    Painter::new().draw(view, Language::En, &help(), None, &mut canvas).unwrap();
    canvas.pixels().to_vec()
}

/// Waits, for seconds if need be, until the thread has come so far.
fn until(arrived: &Mutex<Arrived>, so_far: impl Fn(&Arrived) -> bool) {
    for _ in 0..3_000 {
        if so_far(&arrived.lock().unwrap()) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the screen's thread did not come so far");
}

const POSITIONING: View = View::Positioning { hint: Hint::Closer };

#[test]
fn the_last_view_is_on_the_screen_when_the_thread_ends() {
    let (display, arrived, _heard) = start(false);
    for progress in 0..100 {
        display.show(View::HoldStill { progress }, Language::En);
    }
    let last = View::Result { outcome: Outcome::Deny, reason: Reason::NotSamePerson };
    display.show(last.clone(), Language::En);
    drop(display);
    assert_eq!(arrived.lock().unwrap().picture, drawn(&last));
}

#[test]
fn only_what_changed_is_sent_and_a_picture_of_the_camera_changes_the_oval_alone() {
    let (display, arrived, _heard) = start(false);
    display.show(POSITIONING, Language::En);
    let finder = display.viewfinder();
    until(&arrived, |_| finder.is_watched());
    let mut snapshot = Snapshot::default();
    for shade in [0x1111, 0x7777] {
        (snapshot.width, snapshot.height) = (3, 4);
        snapshot.pixels.resize(12, shade);
        finder.put(&mut snapshot);
        until(&arrived, |arrived| arrived.picture.contains(&shade));
    }
    let mut areas = std::mem::take(&mut arrived.lock().unwrap().areas);
    assert_eq!(areas.remove(0), Area { x: 0, y: 0, width: 480, height: 320 });
    assert!(areas.iter().all(|area| area.x + area.width <= 240 && area.height < 300), "{areas:?}");

    display.show(View::Checking, Language::En);
    until(&arrived, |_| !finder.is_watched());
    drop(display);
    assert_eq!(arrived.lock().unwrap().picture, drawn(&View::Checking), "nothing of the camera is left");
}

#[test]
fn a_screen_that_fails_is_told_once_and_shows_everything_when_it_is_back() {
    let (display, arrived, mut heard) = start(true);
    display.show(View::Checking, Language::En);
    assert!(matches!(heard.blocking_recv(), Some(Event::Fault(Reason::ScreenFault))));
    display.show(POSITIONING, Language::En);
    arrived.lock().unwrap().pulled = false;
    // Nothing else is asked of it: it comes back by itself.
    assert!(matches!(heard.blocking_recv(), Some(Event::Mended(Reason::ScreenFault))));
    drop(display);
    let arrived = arrived.lock().unwrap();
    assert_eq!((arrived.picture.clone(), arrived.areas.len()), (drawn(&POSITIONING), 1));
    assert!(heard.blocking_recv().is_none(), "told once");
}

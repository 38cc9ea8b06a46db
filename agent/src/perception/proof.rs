//! One proof: samples of every frame while the code plays, then the judgement, then, for a live face, the template.
//!
//! Everything here lives as long as the attempt and is wiped with it.

use std::time::Duration;

use didar_liveness::transcript::Exposure;
use didar_liveness::{Answer, Live, Policy, TranscriptBuilder};
use didar_protocol::id::AttemptId;
use didar_protocol::light_code::{CodeShape, Light};
use didar_protocol::message::{Motion, PassiveSummary, Picture, Quality, Template};
use didar_protocol::reason::Reason;
use didar_protocol::transcript::{CameraFacts, LightTranscript, Spectrum};
use didar_vision::{
    AlignedFace, LightGrid, LiveFace, LivenessProof, PassiveCrop, Perceiver, Portrait, VisionError, align, eyes_open,
    light_grid, passive_crop, portrait, quality,
};

use super::beside::Shown;
use super::sample::{centre, sample};
use crate::attempt::event::{Event, Finding, Findings, Proof, ProofOrder, Refutation};
use crate::edge::Switching;
use crate::time::Moment;

/// Frames in a row without a face that end the proof: one may be lost to a lamp's glare.
const MISSED_MAX: u32 = 3;
/// Faces kept as candidates for the template: one for each of the darkest code's slots, and one in reserve.
const CANDIDATES_MAX: usize = 4;
/// Frames that the passive network judges: spread over the code, and cheap enough to wait for.
const CROPS_MAX: usize = 4;
/// Other faces of the sequence that are compared with the embedded one: the first, the last, and where the track broke.
const WITNESSES_MAX: usize = 4;
/// The lids count as closed below the first and as open above the second figure; 0 to 100.
const BLINK: (u8, u8) = (25, 60);

/// The liveness judgement's proof, as the vision crate wants it. Only a `Live` answer becomes one.
struct Proved(Live);

impl LivenessProof for Proved {}

/// A face that may become the template.
struct Candidate {
    at_us: u32,
    exposure: Exposure,
    face: AlignedFace,
    picture: Option<Portrait>,
    quality: Quality,
    worth: i32,
}

/// Collects one proof.
pub(super) struct Collector {
    order: ProofOrder,
    camera: CameraFacts,
    builder: TranscriptBuilder,
    /// The last switch was obeyed by then.
    switched_us: u32,
    grid: LightGrid,
    candidates: Vec<Candidate>,
    crops: Vec<PassiveCrop>,
    context_missing: u16,
    witnesses: Vec<AlignedFace>,
    last: Option<AlignedFace>,
    /// The followed face of either sensor.
    tracks: [Option<u64>; 2],
    breaks: u8,
    last_at_us: Option<u32>,
    place: Option<[f32; 2]>,
    print: Option<[u8; 8]>,
    lids: (bool, bool),
    motion: Motion,
    path_px: f32,
    missed: u32,
    faces: usize,
    over: bool,
}

impl Collector {
    pub(super) fn new(order: ProofOrder, shape: CodeShape, camera: CameraFacts) -> Self {
        let builder = TranscriptBuilder::new(shape, &order.code, camera.clone());
        Self {
            order,
            camera,
            builder,
            switched_us: 0,
            grid: LightGrid::default(),
            candidates: Vec::new(),
            crops: Vec::new(),
            context_missing: 0,
            witnesses: Vec::new(),
            last: None,
            tracks: [None; 2],
            breaks: 0,
            last_at_us: None,
            place: None,
            print: None,
            lids: (false, false),
            motion: Motion::default(),
            path_px: 0.0,
            missed: 0,
            faces: 0,
            over: false,
        }
    }

    pub(super) fn switched(&mut self, at: Switching, light: Light) {
        let [ordered_us, at_us] = [at.ordered, at.done].map(|moment| self.since_start(moment));
        self.builder.switched([ordered_us, at_us], light);
        self.switched_us = at_us;
        // A face that began in the wanted light and ended in another one must not stand in a better one's place.
        let wanted = wanted(self.camera.spectrum);
        self.candidates.retain(|candidate| self.builder.shows(candidate.exposure, wanted));
    }

    pub(super) fn code_is_over(&mut self, attempt: AttemptId) {
        self.over = self.over || attempt == self.order.attempt;
    }

    /// Whether the code is over and its last frame has been seen; `seen` is the last frame's time, `None` when none came
    /// for a while.
    pub(super) fn is_complete(&self, seen: Option<Moment>) -> bool {
        let end = self.switched_us.saturating_add(self.camera.delay_us);
        self.over && seen.is_none_or(|seen| self.since_start(seen) >= end)
    }

    pub(super) fn has_lost_the_face(&self) -> bool {
        self.missed >= MISSED_MAX && !self.over
    }

    /// Takes one frame; cheap, because the next one is waiting.
    /// `code` is the face that the lamps' light is judged on, `template` the same face in the light that the template wants:
    /// the same frame's where the board has one sensor.
    pub(super) fn see(
        &mut self,
        faces: usize,
        code: Option<Shown<'_>>,
        template: Option<Shown<'_>>,
        captured_at: Moment,
    ) {
        self.faces = self.faces.max(faces);
        self.missed = if code.is_some() && template.is_some() { 0 } else { self.missed + 1 };
        let Some(Shown { view, face }) = code else { return };
        // A frame that was exposed before the code is no part of it, nor is one that a camera stamps twice.
        let at_us = self.since_start(captured_at);
        if captured_at < self.order.start || self.last_at_us.is_some_and(|last| at_us <= last) {
            return;
        }
        self.last_at_us = Some(at_us);
        light_grid(view, face, &mut self.grid);
        self.note_motion(centre(face));
        let tracks = [Some(face.track), template.map(|shown| shown.face.track)];
        let broke =
            self.tracks.iter().zip(tracks).any(|(last, now)| last.zip(now).is_some_and(|(last, now)| last != now));
        self.breaks = self.breaks.saturating_add(u8::from(broke));
        let open = eyes_open(&face.landmarks);
        self.lids.0 |= open < BLINK.0;
        self.lids.1 |= open > BLINK.1;
        let sample = sample(face, &self.grid, at_us, self.breaks);
        let exposure = self.builder.exposure(&sample);
        self.builder.frame(sample);
        if let Some(shown) = template {
            if self.builder.shows(exposure, wanted(self.camera.spectrum)) {
                self.keep(shown, at_us, exposure);
            }
            self.witness(shown);
        }
        self.tracks = [0, 1].map(|sensor| tracks[sensor].or(self.tracks[sensor]));
    }

    fn note_motion(&mut self, centre: [f32; 2]) {
        self.motion.frames = self.motion.frames.saturating_add(1);
        if self.print == Some(self.grid.print) {
            self.motion.still_pairs = self.motion.still_pairs.saturating_add(1);
        }
        self.print = Some(self.grid.print);
        if let Some(place) = self.place {
            self.path_px += (centre[0] - place[0]).hypot(centre[1] - place[1]);
        }
        self.place = Some(centre);
    }

    /// Keeps a face in the wanted light, as far as the switches known so far tell.
    fn keep(&mut self, Shown { view, face }: Shown<'_>, at_us: u32, exposure: Exposure) {
        let measured = quality(view, face);
        match passive_crop(view, face) {
            Ok(crop) if self.crops.len() < CROPS_MAX => self.crops.push(crop),
            Ok(_) => {}
            Err(_) => self.context_missing = self.context_missing.saturating_add(1),
        }
        let turned = (face.pose.yaw.abs() + face.pose.pitch.abs()) as i32;
        let worth = i32::from(measured.sharpness) + i32::from(measured.exposure) + i32::from(measured.eyes_open) / 2
            - 2 * turned;
        let quality = self.quality(&measured);
        let picture = self.order.picture.then(|| portrait(view, face));
        self.candidates.push(Candidate { at_us, exposure, face: align(view, face), picture, quality, worth });
        if self.candidates.len() > CANDIDATES_MAX {
            let worst = (0..self.candidates.len()).min_by_key(|&n| self.candidates[n].worth);
            worst.map(|n| self.candidates.remove(n));
        }
    }

    /// Keeps the first face, the last, and the first after each break of the track.
    fn witness(&mut self, Shown { view, face }: Shown<'_>) {
        let aligned = align(view, face);
        if self.tracks[1] != Some(face.track) && self.witnesses.len() < WITNESSES_MAX {
            self.witnesses.push(aligned);
        } else {
            self.last = Some(aligned);
        }
    }

    fn quality(&self, measured: &didar_vision::Quality) -> Quality {
        let degrees = |angle: f32| angle.round().clamp(-90.0, 90.0) as i8;
        Quality {
            sharpness: measured.sharpness,
            exposure: measured.exposure,
            illumination_uniformity: measured.illumination_uniformity,
            pose_deg: [measured.pose.yaw, measured.pose.pitch, measured.pose.roll].map(degrees),
            interocular_px: measured.interocular_px.round() as u16,
            // Vision tells how much it suspects a covering; the message tells how free the face is.
            occlusion: 100u8.saturating_sub(measured.occlusion),
            faces: u8::try_from(self.faces).unwrap_or(u8::MAX),
        }
    }

    /// Judges what was collected; a live face becomes a template.
    ///
    /// # Errors
    /// A network failed.
    pub(super) fn judge(mut self, perceiver: &mut Perceiver, policy: &Policy) -> Result<Event, VisionError> {
        let attempt = self.order.attempt;
        let mut transcript = self.builder.finish();
        self.tell_slots(&transcript);
        let chosen = self.choose(&transcript);
        transcript.embedded_at_us = chosen.as_ref().map(|chosen| chosen.at_us);
        let mut findings = self.findings(perceiver)?;
        findings.quality = chosen.as_ref().map(|chosen| chosen.quality).unwrap_or_default();
        if let Some(chosen) = &chosen {
            findings.continuity_milli = self.continuity_milli(perceiver, &chosen.face)?;
        }
        findings.transcript = Some(transcript);
        let Some(evidence) = findings.judge(&self.order.code, policy) else {
            return Ok(Event::Fault(Reason::ModelFault));
        };
        for line in evidence.to_string().lines() {
            tracing::debug!(%attempt, "{line}");
        }
        let refuted =
            |finding, reason, findings| Ok(Event::Refuted(Box::new(Refutation { attempt, finding, reason, findings })));
        match (evidence.into_answer(), chosen) {
            (Answer::Live(live), Some(chosen)) => {
                let picture = chosen.picture.as_ref().and_then(encode);
                if self.order.picture && picture.is_none() {
                    return refuted(Finding::Inconclusive, Reason::PoorQuality, findings);
                }
                let template = perceiver.embed(LiveFace::admit(chosen.face, &Proved(live)))?;
                let (scale, values) = template.quantised();
                let template = Template::new(scale, values);
                Ok(Event::Proven(Box::new(Proof { attempt, findings, template, picture })))
            }
            // A live face, but no frame in the light that the template wants.
            (Answer::Live(_), None) => refuted(Finding::Inconclusive, Reason::TooFewFrames, findings),
            (Answer::Spoof(reason), _) => refuted(Finding::Spoof, reason, findings),
            (Answer::Inconclusive(reason), _) => refuted(Finding::Inconclusive, reason, findings),
        }
    }

    /// Which frame was taken for which slot, by the camera's clock: who knows what the light truly was can compare.
    fn tell_slots(&self, transcript: &LightTranscript) {
        for frame in &transcript.frames {
            let Some(light) = transcript.code.get(usize::from(frame.slot)) else { continue };
            let at = self.order.start.after(Duration::from_micros(frame.at_us.into()));
            tracing::debug!("slot {} {light} frame {} us", frame.slot, at.as_nanos().div_ceil(1000));
        }
    }

    /// The best face that was truly and wholly in the wanted light, now that every switch is known.
    fn choose(&mut self, transcript: &LightTranscript) -> Option<Candidate> {
        let light = wanted(self.camera.spectrum);
        let shows = |slot: u8| transcript.code.get(usize::from(slot)) == Some(&light);
        let lit = |at_us| transcript.frames.iter().any(|frame| frame.at_us == at_us && shows(frame.slot));
        let best = (0..self.candidates.len())
            .filter(|&n| lit(self.candidates[n].at_us))
            .max_by_key(|&n| self.candidates[n].worth)?;
        Some(self.candidates.swap_remove(best))
    }

    fn findings(&mut self, perceiver: &mut Perceiver) -> Result<Findings, VisionError> {
        let mut llrs = Vec::with_capacity(CROPS_MAX);
        for crop in self.crops.drain(..) {
            llrs.push((perceiver.passive(&crop)?.llr.clamp(-1_000.0, 1_000.0) * 1_000.0).round() as i32);
        }
        let frames = u16::try_from(llrs.len()).unwrap_or(u16::MAX);
        let mean = llrs.iter().sum::<i32>() / i32::from(frames.max(1));
        let passive = PassiveSummary {
            frames,
            mean_llr_milli: mean,
            worst_llr_milli: llrs.iter().copied().min().unwrap_or(0),
            context_missing: self.context_missing,
        };
        let path_px10 = (self.path_px * 10.0).round() as u32;
        let motion = Motion { path_px10, blink: self.lids.0 && self.lids.1, ..self.motion };
        Ok(Findings { passive, motion, ..Findings::default() })
    }

    /// The worst likeness between the embedded face and the others of the sequence, x 1000.
    fn continuity_milli(&self, perceiver: &mut Perceiver, chosen: &AlignedFace) -> Result<i16, VisionError> {
        let embedded = perceiver.mark(chosen)?;
        let mut worst = 1.0_f32;
        let others = self.candidates.iter().map(|candidate| &candidate.face);
        for face in others.chain(&self.witnesses).chain(&self.last) {
            worst = worst.min(perceiver.mark(face)?.similarity(&embedded));
        }
        Ok((worst.clamp(-1.0, 1.0) * 1_000.0).round() as i16)
    }

    fn since_start(&self, at: Moment) -> u32 {
        u32::try_from(at.since(self.order.start).as_micros()).unwrap_or(u32::MAX)
    }
}

/// The light in which this sensor sees what the embedding was trained on.
const fn wanted(spectrum: Spectrum) -> Light {
    match spectrum {
        Spectrum::ColourNoFilter | Spectrum::ColourAndInfrared => Light::Off,
        Spectrum::Infrared => Light::Both,
    }
}

fn encode(portrait: &Portrait) -> Option<Picture> {
    match portrait.to_jpeg(Picture::BYTES_MAX) {
        Ok(bytes) => Some(Picture::from_jpeg(bytes)),
        Err(error) => {
            tracing::warn!("the face's picture is not sent: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests;

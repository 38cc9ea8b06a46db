//! Why an attempt ended: numbers with stable meanings. The kiosk shows them in the person's language.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $number:literal $name:ident $text:literal;)+) => {
        /// Why an attempt ended as it did. A number never changes its meaning and is never used again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason's stable short name for logs, metrics and the local API, e.g. `not-same-person`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                self as u16
            }
        }

        impl TryFrom<u16> for Reason {
            type Error = UnknownReason;
            fn try_from(number: u16) -> Result<Self, UnknownReason> {
                match number {
                    $($number => Ok(Self::$name),)+
                    other => Err(UnknownReason(other)),
                }
            }
        }
    };
}

/// A number that means no reason in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no reason of protocol version 1")]
pub struct UnknownReason(
    /// The number found.
    pub u16,
);

reasons! {
    /// Nothing to explain: the person was recognised.
    0 None "none";
    /// The request came without a consent.
    100 ConsentMissing "consent-missing";
    /// The consent's time is over.
    101 ConsentExpired "consent-expired";
    /// The person withdrew the consent.
    102 ConsentWithdrawn "consent-withdrawn";
    /// The consent is for another purpose.
    103 ConsentPurpose "consent-purpose";
    /// The matcher holds no reference for this IIN.
    110 SubjectUnknown "subject-unknown";
    /// This device may not serve this initiator.
    111 InitiatorNotServed "initiator-not-served";
    /// Too many failures of this person or device; wait.
    112 TooManyFailures "too-many-failures";
    /// The device is revoked, quarantined or not enrolled.
    113 DeviceRefused "device-refused";
    /// The message was not understood, or its parts contradict each other.
    114 RequestMalformed "request-malformed";
    /// The attempt came after its challenge's expiry.
    115 ChallengeExpired "challenge-expired";
    /// The challenge was already spent by another attempt.
    116 ChallengeSpent "challenge-spent";
    /// The face is not the claimed person's.
    200 NotSamePerson "not-same-person";
    /// The frames do not show the ordered light code.
    300 LightCodeWrong "light-code-wrong";
    /// The light falls as on a flat or bent sheet.
    301 NoRelief "no-relief";
    /// The face does not answer the lamps at all.
    302 NoResponse "no-response";
    /// The answer to the lamps came late: a relay.
    303 TooLate "too-late";
    /// Identical or looped frames.
    304 StillOrLooped "still-or-looped";
    /// Another face during or after the proof.
    305 FaceChanged "face-changed";
    /// The passive network sees a fake.
    306 LooksFalse "looks-false";
    /// Sunlight or heaters drown the lamps.
    400 TooMuchInfrared "too-much-infrared";
    /// The person moved too much.
    401 HoldStill "hold-still";
    /// The left lamp gives no light.
    402 LeftLampDark "left-lamp-dark";
    /// The right lamp gives no light.
    403 RightLampDark "right-lamp-dark";
    /// The face is too dark to judge.
    404 TooDark "too-dark";
    /// The face is too bright to judge.
    405 TooBright "too-bright";
    /// Too few usable frames.
    406 TooFewFrames "too-few-frames";
    /// The face fills the picture: step back.
    407 ContextMissing "context-missing";
    /// Blur, pose or occlusion: the template would be poor.
    408 PoorQuality "poor-quality";
    /// Nobody came in front of the camera in time.
    500 NoFaceInTime "no-face-in-time";
    /// The matcher did not answer in time.
    501 NoAnswerInTime "no-answer-in-time";
    /// No connection to the matcher.
    510 NoConnection "no-connection";
    /// The camera failed.
    520 CameraFault "camera-fault";
    /// The lamps failed.
    521 LampFault "lamp-fault";
    /// A model failed.
    522 ModelFault "model-fault";
    /// The device's store failed.
    523 StorageFault "storage-fault";
    /// The device's clock cannot be trusted.
    524 ClockFault "clock-fault";
    /// The screen failed; everything else serves on.
    525 ScreenFault "screen-fault";
    /// The agent ended again and again, and is not started any more.
    526 ProgramFault "program-fault";
    /// The kiosk's application cancelled.
    530 CancelledByApplication "cancelled-by-application";
    /// The agent is stopping.
    531 Stopping "stopping";
    /// Something came on the device's topics, or a server showed a certificate, that the pinned authority does not vouch
    /// for.
    540 PeerNotTrusted "peer-not-trusted";
}

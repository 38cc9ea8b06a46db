//! MQTT topics: `didar/1/ENV/…`, from value to text and back.

use std::fmt;
use std::str::FromStr;

use crate::id::{DeviceId, Env, IdError};
use crate::message::Kind;

/// A device's own topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// `up/challenge-request`
    ChallengeRequest,
    /// `down/challenge`
    Challenge,
    /// `up/attempt`
    Attempt,
    /// `down/verdict`
    Verdict,
    /// `up/audit`
    Audit,
    /// `down/receipt`
    Receipt,
    /// `up/state`, retained
    State,
}

/// One topic of one environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `didar/1/ENV/device/ID/LANE`
    Device {
        /// The environment.
        env: Env,
        /// The device.
        device: DeviceId,
        /// Which of its topics.
        lane: Lane,
    },
    /// `didar/1/ENV/matcher/keys`, retained.
    MatcherKeys {
        /// The environment.
        env: Env,
    },
    /// `didar/1/ENV/operator/events`
    OperatorEvents {
        /// The environment.
        env: Env,
    },
    /// `didar/1/ENV/operator/alarms`
    OperatorAlarms {
        /// The environment.
        env: Env,
    },
}

/// Why a text is no topic of ours. Never quotes it: whoever may publish may write anything into it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Another first level, or another version.
    #[error("a topic of this protocol begins with `didar/1/`")]
    Root,
    /// The third level.
    #[error(transparent)]
    Env(IdError),
    /// The device's level.
    #[error(transparent)]
    Device(IdError),
    /// The rest.
    #[error("version 1 has no such topic")]
    Unknown,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 7] = [
        Self::ChallengeRequest,
        Self::Challenge,
        Self::Attempt,
        Self::Verdict,
        Self::Audit,
        Self::Receipt,
        Self::State,
    ];

    /// The last two levels of the topic, e.g. `up/attempt`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChallengeRequest => "up/challenge-request",
            Self::Challenge => "down/challenge",
            Self::Attempt => "up/attempt",
            Self::Verdict => "down/verdict",
            Self::Audit => "up/audit",
            Self::Receipt => "down/receipt",
            Self::State => "up/state",
        }
    }

    /// Which message travels here.
    pub const fn kind(self) -> Kind {
        match self {
            Self::ChallengeRequest => Kind::ChallengeRequest,
            Self::Challenge => Kind::Challenge,
            Self::Attempt => Kind::Attempt,
            Self::Verdict => Kind::Verdict,
            Self::Audit => Kind::AuditRecord,
            Self::Receipt => Kind::Receipt,
            Self::State => Kind::State,
        }
    }

    /// The filter for this lane of every device, e.g. `didar/1/test/device/+/up/attempt`.
    pub fn filter(self, env: Env) -> String {
        format!("didar/1/{env}/device/+/{}", self.path())
    }

    /// The same as a subscription that the matchers share: `$share/matchers/…` (MQTT 5.0, 4.8.2).
    pub fn shared_filter(self, env: Env) -> String {
        format!("$share/matchers/{}", self.filter(env))
    }
}

impl Topic {
    /// Which message travels here.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Device { lane, .. } => lane.kind(),
            Self::MatcherKeys { .. } => Kind::MatcherKeys,
            Self::OperatorEvents { .. } | Self::OperatorAlarms { .. } => Kind::Event,
        }
    }

    /// The environment.
    pub const fn env(&self) -> Env {
        match self {
            Self::Device { env, .. }
            | Self::MatcherKeys { env }
            | Self::OperatorEvents { env }
            | Self::OperatorAlarms { env } => *env,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { env, device, lane } => {
                write!(f, "didar/1/{env}/device/{device}/{}", lane.path())
            }
            Self::MatcherKeys { env } => write!(f, "didar/1/{env}/matcher/keys"),
            Self::OperatorEvents { env } => write!(f, "didar/1/{env}/operator/events"),
            Self::OperatorAlarms { env } => write!(f, "didar/1/{env}/operator/alarms"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let (env, rest) =
            text.strip_prefix("didar/1/").and_then(|rest| rest.split_once('/')).ok_or(TopicError::Root)?;
        let env = env.parse().map_err(TopicError::Env)?;
        match rest {
            "matcher/keys" => return Ok(Self::MatcherKeys { env }),
            "operator/events" => return Ok(Self::OperatorEvents { env }),
            "operator/alarms" => return Ok(Self::OperatorAlarms { env }),
            _ => {}
        }
        let (device, path) =
            rest.strip_prefix("device/").and_then(|rest| rest.split_once('/')).ok_or(TopicError::Unknown)?;
        let device = device.parse().map_err(TopicError::Device)?;
        let lane = Lane::ALL.into_iter().find(|lane| lane.path() == path).ok_or(TopicError::Unknown)?;
        Ok(Self::Device { env, device, lane })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_reads_as_it_is_written() {
        for env in [Env::Test, Env::Production] {
            let device = |lane| Topic::Device { env, device: "kiosk-1".parse().unwrap(), lane };
            let fixed = [Topic::MatcherKeys { env }, Topic::OperatorEvents { env }, Topic::OperatorAlarms { env }];
            for topic in Lane::ALL.map(device).into_iter().chain(fixed) {
                assert_eq!(topic.to_string().parse(), Ok(topic.clone()));
                assert_eq!(topic.env(), env);
            }
        }
        let verdict = Topic::Device { env: Env::Test, device: "kiosk-1".parse().unwrap(), lane: Lane::Verdict };
        assert_eq!(verdict.to_string(), "didar/1/test/device/kiosk-1/down/verdict");
        assert_eq!(verdict.kind(), Kind::Verdict);
        assert_eq!(
            Lane::Attempt.shared_filter(Env::Production),
            "$share/matchers/didar/1/production/device/+/up/attempt"
        );
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in [
            "",
            "didar",
            "didar/1/test",
            "didar/2/test/matcher/keys",
            "didar/1/prod/matcher/keys",
            "/didar/1/test/matcher/keys",
            "didar/1/test/matcher/keys/",
            "didar/1/test/device/+/up/attempt",
            "didar/1/test/device/kiosk-1/up/verdict",
            "didar/1/test/device/kiosk-1",
            "didar/1/test/device//up/attempt",
            "didar/1/test/device/kiosk-1/up/attempt/x",
        ] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }
}

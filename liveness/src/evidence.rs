//! What the judge found: an answer and every figure that led to it.

use std::fmt;

use didar_protocol::reason::Reason;

/// The judgement of one attempt. The same inputs give the same bytes on every machine.
#[derive(Debug)]
pub struct Evidence {
    policy_version: u32,
    answer: Answer,
    figures: Vec<(&'static str, i64)>,
}

/// The three answers.
#[derive(Debug)]
pub enum Answer {
    /// A living face answered the code.
    Live(Live),
    /// Not a living face, or not here and now.
    Spoof(Reason),
    /// The picture was too poor to tell: the person may try again.
    Inconclusive(Reason),
}

/// Proof that the judge said live. Only [`judge`](crate::judge()) makes one, so whatever asks for it cannot exist
/// without a judgement.
#[derive(Debug)]
pub struct Live(());

impl Live {
    pub(crate) fn proved() -> Self {
        Self(())
    }
}

/// Version of the evidence's bytes.
const VERSION: u8 = 1;

impl Evidence {
    pub(crate) fn new(policy_version: u32, answer: Answer, figures: Vec<(&'static str, i64)>) -> Self {
        Self { policy_version, answer, figures }
    }

    /// The answer.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Takes the answer out, with its proof where it is live.
    pub fn into_answer(self) -> Answer {
        self.answer
    }

    /// Every figure, thousandths of its unit, in the order in which the judge found them.
    pub fn figures(&self) -> &[(&'static str, i64)] {
        &self.figures
    }

    /// One figure by its name, thousandths of its unit; `None` where the judge did not come so far.
    pub fn figure(&self, name: &str) -> Option<i64> {
        self.figures.iter().find(|(found, _)| *found == name).map(|&(_, value)| value)
    }

    /// The policy that was applied.
    pub fn policy_version(&self) -> u32 {
        self.policy_version
    }

    /// Deterministic CBOR: `[version, policy version, answer (0 live, 1 spoof, 2 inconclusive), reason, [[name,
    /// milli], …]]`. Equal bytes mean equal judgements.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (answer, reason) = self.answer.numbers();
        let value = (VERSION, self.policy_version, answer, reason, &self.figures);
        serde_cbor::to_vec(&value).expect("integers and short texts always have CBOR")
    }
}

impl Answer {
    /// Whether it is [`Answer::Live`].
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// The reason; [`Reason::None`] for live.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Live(_) => Reason::None,
            Self::Spoof(reason) | Self::Inconclusive(reason) => *reason,
        }
    }

    fn numbers(&self) -> (u8, u16) {
        let answer = match self {
            Self::Live(_) => 0,
            Self::Spoof(_) => 1,
            Self::Inconclusive(_) => 2,
        };
        (answer, self.reason().number())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live(_) => f.write_str("live"),
            Self::Spoof(reason) => write!(f, "spoof: {}", reason.name()),
            Self::Inconclusive(reason) => write!(f, "inconclusive: {}", reason.name()),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<28}{}", "answer", self.answer)?;
        writeln!(f, "{:<28}{}", "policy version", self.policy_version)?;
        for (name, milli) in &self.figures {
            let sign = if *milli < 0 { "-" } else { "" };
            let size = milli.unsigned_abs();
            writeln!(f, "{name:<28}{sign}{}.{:03}", size / 1000, size % 1000)?;
        }
        Ok(())
    }
}

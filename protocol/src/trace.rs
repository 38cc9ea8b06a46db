//! What belongs together: W3C Trace Context (Level 1, `traceparent` of version 00) as MQTT's user property.
//!
//! The trace of everything that is said about a request is the request's name, so whoever knows one knows the other, and
//! the ledger needs no second column. Unsigned, as every property is: it helps to find, and proves nothing.

use std::fmt;
use std::str::FromStr;

use crate::id::RequestId;

/// The user property's name.
pub const PROPERTY: &str = "traceparent";

/// A place in a trace: which trace, and which step of it said this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

/// Why a text is no `traceparent`. Never quotes it: whoever may publish may write anything into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is `00-TRACE-SPAN-FLAGS` in lower-case hexadecimal, neither trace nor span zero")]
pub struct TraceError;

impl TraceParent {
    /// The step `span` of the trace of `request`, to be recorded. `None` where a name is all zeros, which the standard
    /// keeps for "none".
    pub fn of(request: RequestId, span: [u8; 8]) -> Option<Self> {
        let trace = *request.as_bytes();
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: true })
    }

    /// Another step of the same trace; `None` for a step of zeros.
    pub fn step(self, span: [u8; 8]) -> Option<Self> {
        (span != [0; 8]).then_some(Self { span, ..self })
    }

    /// The trace: the request that it is about, when a device of ours began it.
    pub fn request(self) -> RequestId {
        RequestId::from_bytes(self.trace)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (u128::from_be_bytes(self.trace), u64::from_be_bytes(self.span));
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = TraceError;

    fn from_str(text: &str) -> Result<Self, TraceError> {
        // Version 00 has these lengths and nothing behind them.
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let &["00", trace, span, flags] = parts.as_slice() else { return Err(TraceError) };
        let (trace, span) = (hexadecimal(trace, 32)?, hexadecimal(span, 16)?);
        let flags = hexadecimal(flags, 2)?;
        let span = u64::try_from(span).map_err(|_| TraceError)?;
        if trace == 0 || span == 0 {
            return Err(TraceError);
        }
        Ok(Self { trace: trace.to_be_bytes(), span: span.to_be_bytes(), sampled: flags & 1 == 1 })
    }
}

/// A number of exactly so many digits; the standard knows no capitals.
fn hexadecimal(text: &str, digits: usize) -> Result<u128, TraceError> {
    let lawful = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if lawful { u128::from_str_radix(text, 16).map_err(|_| TraceError) } else { Err(TraceError) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of W3C Trace Context, 3.2.3.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_is_read_and_said_again() {
        let parent: TraceParent = EXAMPLE.parse().unwrap();
        assert_eq!(parent.to_string(), EXAMPLE);
        assert_eq!(parent.request().to_string(), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736");
        let step = parent.step([0, 0, 0, 0, 0, 0, 1, 2]).unwrap();
        assert_eq!(step.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000102-01");
        assert_eq!(TraceParent::of(parent.request(), [0, 0, 0, 0, 0, 0, 1, 2]), Some(step));
    }

    #[test]
    fn a_name_of_zeros_is_none() {
        assert_eq!(TraceParent::of(RequestId::from_bytes([0; 16]), [1; 8]), None);
        assert_eq!(TraceParent::of(RequestId::from_bytes([1; 16]), [0; 8]), None);
        assert_eq!(EXAMPLE.parse::<TraceParent>().unwrap().step([0; 8]), None);
    }

    #[test]
    fn whatever_else_is_refused() {
        let bad = [
            String::new(),
            EXAMPLE.to_uppercase(),
            EXAMPLE.replacen("00", "ff", 1),
            EXAMPLE.replacen("4bf", "+bf", 1),
            format!("{EXAMPLE}-00"),
            EXAMPLE[..54].to_owned(),
            EXAMPLE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            EXAMPLE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            EXAMPLE.replace('a', "ä"),
        ];
        for text in bad {
            assert_eq!(text.parse::<TraceParent>(), Err(TraceError), "{text}");
        }
    }
}

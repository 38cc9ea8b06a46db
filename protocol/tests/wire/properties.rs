//! Properties: what is encoded decodes to itself, and no bytes make a decoder panic or agree to another encoding.
//!
//! A failure prints its seed and leaves a line in `proptest-regressions/`, which replays it.

use didar_protocol::message::*;
use didar_protocol::seal::{Sealed, Signed};
use didar_protocol::topic::Topic;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::golden::folder;
use crate::samples as s;
use crate::strategies::*;

fn comes_back<M: Message + PartialEq + std::fmt::Debug>(message: M) {
    let bytes = message.encode().unwrap();
    assert_eq!(M::decode(&bytes).unwrap(), message);
}

/// Whatever is accepted as a message has these bytes and no others.
fn has_one_encoding<M: Message>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert_eq!(message.encode().unwrap().as_slice(), bytes);
    }
}

/// Every decoder of this crate, on any bytes.
fn survives(bytes: &[u8]) {
    has_one_encoding::<ChallengeRequest>(bytes);
    has_one_encoding::<Challenge>(bytes);
    has_one_encoding::<Attempt>(bytes);
    has_one_encoding::<Verdict>(bytes);
    has_one_encoding::<AuditRecord>(bytes);
    has_one_encoding::<Receipt>(bytes);
    has_one_encoding::<State>(bytes);
    has_one_encoding::<Event>(bytes);
    has_one_encoding::<MatcherKeys>(bytes);
    for kind in [Kind::Attempt, Kind::Verdict] {
        let _ = Sealed::parse(kind, bytes).map(|sealed| sealed.open(&s::seal_pair()).err());
        let _ = Signed::parse(kind, bytes).map(|signed| signed.verify(&s::signer().verifying_key()).err());
    }
}

/// A golden vector, good or bad.
fn vector() -> impl Strategy<Value = Vec<u8>> {
    let files = |folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cbor =
        files(folder()).chain(files(folder().join("bad"))).filter(|path| path.extension().is_some_and(|e| e == "cbor"));
    select(cbor.map(|path| std::fs::read(path).unwrap()).filter(|bytes| !bytes.is_empty()).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_come_back(
        request in challenge_request(), challenge in challenge(), attempt in attempt(), verdict in verdict(),
        record in audit_record(), receipt in receipt(), state in state(), event in event(), keys in matcher_keys(),
    ) {
        comes_back(request);
        comes_back(challenge);
        comes_back(attempt);
        comes_back(verdict);
        comes_back(record);
        comes_back(receipt);
        comes_back(state);
        comes_back(event);
        comes_back(keys);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }

    #[test]
    fn bent_vectors_are_survived(
        mut bytes in vector(),
        bends in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in of(any::<prop::sample::Index>()),
    ) {
        for (at, byte) in bends {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survives(&bytes);
    }

    #[test]
    fn any_topic_is_survived(text in "(didar/[12]/)?(test|production|x)?/?(device/)?[a-z0-9+#/-]{0,40}(/up/state)?") {
        if let Ok(topic) = text.parse::<Topic>() {
            prop_assert_eq!(topic.to_string(), text);
        }
    }
}

//! The chain of the ledger's lines, wherever they stand.
//!
//! `hash = SHA-256(previous || number, 8 bytes big endian || text)`, the first `previous` is zeros. Knows no database and
//! no file. **Start** with [`Chain::link`].

use std::fmt;
use std::str::FromStr;

use didar_protocol::id::Hash;
use sha2::{Digest as _, Sha256};

/// An entry in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// The previous line's hash.
    pub previous: Hash,
    /// This line's hash.
    pub hash: Hash,
    /// The entry's text.
    pub text: String,
}

/// A line by its number and hash, written `NUMBER:HASH`. Whoever keeps one knows everything up to that line again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The line's number; 0 before the first.
    pub number: u64,
    /// The line's hash; zeros before the first.
    pub hash: Hash,
}

impl Head {
    /// Before the first line.
    pub const NONE: Self = Self { number: 0, hash: [0; 32] };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, hex::encode(self.hash))
    }
}

/// A text is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is a line's number, a colon and its hash of 64 hexadecimal digits, as `ledger verify` prints it")]
pub struct NoHead;

impl FromStr for Head {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let (number, digits) = text.split_once(':').ok_or(NoHead)?;
        let mut hash = [0; 32];
        hex::decode_to_slice(digits, &mut hash).map_err(|_| NoHead)?;
        Ok(Self { number: number.parse().map_err(|_| NoHead)?, hash })
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// How many lines hold.
    pub lines: u64,
    /// The last of them: keep it elsewhere, and a cut end or another ledger is seen too.
    pub head: Head,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, head } = self;
        write!(f, "{lines} lines hold")?;
        match head.number - lines {
            0 if *lines == 0 => {}
            0 => write!(f, " (1 to {}, from the ledger's beginning)", head.number)?,
            gone => {
                let first = gone + 1;
                write!(f, " ({first} to {}; those before {first} were not there to be checked)", head.number)?;
            }
        }
        write!(f, "; head {head}")
    }
}

/// Where a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// Another number than the next one.
    Gap {
        /// The next number.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The line with this number does not follow, or its hash is not its text's.
    Changed(u64),
    /// The line that was seen is another one now.
    Unseen(Unseen),
}

/// Why a line that was seen earlier is not in a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// Another line has its number.
    #[error(
        "line {} has the hash {} now, not {} as it was seen: the ledger was written anew up to there, or it is another \
         site's; keep it as it is, and compare it with your last backup or export",
        seen.number, hex::encode(found), hex::encode(seen.hash)
    )]
    Other {
        /// What was seen.
        seen: Head,
        /// What is there.
        found: Hash,
    },
    /// The chain ends before it.
    #[error(
        "line {} was seen, but the last one now is line {last}: the end was cut off, or this is another site's ledger or \
         an older copy; keep it as it is, and compare it with your last backup or export",
        seen.number
    )]
    Cut {
        /// What was seen.
        seen: Head,
        /// The last line's number.
        last: u64,
    },
    /// The chain begins after it.
    #[error(
        "line {} was seen, but what is checked begins with line {first}: add the lines from {} on",
        seen.number, seen.number + 1
    )]
    Before {
        /// What was seen.
        seen: Head,
        /// The first line's number.
        first: u64,
    },
}

/// Lines that are checked one after another.
#[derive(Clone, Debug)]
pub struct Chain {
    before: Head,
    head: Head,
    seen: Option<Head>,
}

impl Chain {
    /// A chain whose first line must follow `before`.
    pub fn after(before: Head) -> Self {
        Self { before, head: before, seen: None }
    }

    /// A chain that must hold `seen` too, or follow it.
    ///
    /// # Errors
    /// It begins after `seen`, or follows another line of that number.
    pub fn with_seen(before: Head, seen: Head) -> Result<Self, Unseen> {
        if before.number > seen.number {
            return Err(Unseen::Before { seen, first: before.number + 1 });
        }
        same(seen, before)?;
        Ok(Self { before, head: before, seen: Some(seen) })
    }

    /// Takes the next line.
    ///
    /// # Errors
    /// It is not the next one, or not what was written.
    pub fn link(&mut self, line: &Line) -> Result<(), Break> {
        let expected = self.head.number + 1;
        if line.number != expected {
            return Err(Break::Gap { expected, found: line.number });
        }
        if line.previous != self.head.hash || line.hash != line_hash(&line.previous, line.number, &line.text) {
            return Err(Break::Changed(line.number));
        }
        self.head = Head { number: line.number, hash: line.hash };
        self.seen.map_or(Ok(()), |seen| same(seen, self.head)).map_err(Break::Unseen)
    }

    /// What was checked, after the last line.
    ///
    /// # Errors
    /// The line that was seen did not come.
    pub fn end(self) -> Result<Checked, Unseen> {
        let Self { before, head, seen } = self;
        match seen.filter(|seen| seen.number > head.number) {
            Some(seen) => Err(Unseen::Cut { seen, last: head.number }),
            None => Ok(Checked { lines: head.number - before.number, head }),
        }
    }
}

fn same(seen: Head, found: Head) -> Result<(), Unseen> {
    if seen.number == found.number && seen.hash != found.hash {
        return Err(Unseen::Other { seen, found: found.hash });
    }
    Ok(())
}

/// The hash of a line.
pub fn line_hash(previous: &Hash, number: u64, text: &str) -> Hash {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(number.to_be_bytes());
    hash.update(text.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of lines with these texts.
    fn lines(texts: &[&str]) -> Vec<Line> {
        let mut previous = [0; 32];
        let made = texts.iter().zip(1..).map(|(text, number)| {
            let hash = line_hash(&previous, number, text);
            Line { number, previous: std::mem::replace(&mut previous, hash), hash, text: (*text).to_owned() }
        });
        made.collect()
    }

    fn head(line: &Line) -> Head {
        Head { number: line.number, hash: line.hash }
    }

    /// Checks these lines, which follow `before`, against `seen`.
    fn check(before: Head, lines: &[Line], seen: Head) -> Result<Checked, Unseen> {
        let mut chain = Chain::with_seen(before, seen)?;
        for line in lines {
            chain.link(line).map_err(|found| match found {
                Break::Unseen(why) => why,
                other => panic!("{other:?}"),
            })?;
        }
        chain.end()
    }

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let [line] = lines(&["a"]).try_into().unwrap();
        assert_eq!(head(&line).to_string().parse(), Ok(head(&line)));
        for wrong in ["", "1", "1:", "1:ab", ":", "x:00", &format!("-1:{}", "0".repeat(64)), &"0".repeat(64)] {
            assert_eq!(wrong.parse::<Head>(), Err(NoHead), "{wrong}");
        }
    }

    #[test]
    fn what_was_seen_must_be_there_again() {
        let all = lines(&["a", "b", "c", "d"]);
        for seen in std::iter::once(Head::NONE).chain(all.iter().map(head)) {
            let checked = check(Head::NONE, &all, seen).unwrap();
            assert_eq!(checked, Checked { lines: 4, head: head(&all[3]) });
        }
        let anew = lines(&["a", "b", "x", "d"]);
        for line in &all[2..] {
            let found = anew[line.number as usize - 1].hash;
            assert_eq!(check(Head::NONE, &anew, head(line)), Err(Unseen::Other { seen: head(line), found }));
        }
        let seen = head(&all[3]);
        assert_eq!(check(Head::NONE, &all[..3], seen), Err(Unseen::Cut { seen, last: 3 }));
        assert_eq!(check(Head::NONE, &[], seen), Err(Unseen::Cut { seen, last: 0 }));
    }

    #[test]
    fn a_part_must_hold_what_was_seen_or_follow_it() {
        let all = lines(&["a", "b", "c", "d"]);
        let (before, part) = (head(&all[1]), &all[2..]);
        for seen in &all[1..] {
            assert_eq!(check(before, part, head(seen)).unwrap().lines, 2);
        }
        assert_eq!(check(before, part, head(&all[0])), Err(Unseen::Before { seen: head(&all[0]), first: 3 }));
        let other = Head { hash: [9; 32], ..before };
        assert_eq!(check(before, part, other), Err(Unseen::Other { seen: other, found: before.hash }));
    }

    #[test]
    fn lines_of_another_chain_do_not_follow() {
        let (ours, theirs) = (lines(&["a", "b"]), lines(&["x", "b"]));
        let mut chain = Chain::after(Head::NONE);
        chain.link(&ours[0]).unwrap();
        assert_eq!(chain.clone().link(&theirs[1]), Err(Break::Changed(2)));
        assert_eq!(chain.link(&ours[1]), Ok(()));
    }

    #[test]
    fn the_words_say_which_lines_were_checked() {
        let all = lines(&["a", "b", "c"]);
        let said = |before, lines: &[Line]| check(before, lines, before).unwrap().to_string();
        assert_eq!(said(Head::NONE, &[]), format!("0 lines hold; head {}", Head::NONE));
        let end = head(&all[2]);
        assert_eq!(said(Head::NONE, &all), format!("3 lines hold (1 to 3, from the ledger's beginning); head {end}"));
        assert_eq!(
            said(head(&all[0]), &all[1..]),
            format!("2 lines hold (2 to 3; those before 2 were not there to be checked); head {end}")
        );
    }
}

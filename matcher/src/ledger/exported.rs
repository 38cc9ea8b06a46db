//! The ledger as a file: one line of JSON an entry, which anybody can check without the database and without keys.
//!
//! `{"number":1,"previous":"HEX","hash":"HEX","entry":{…}}`. The hash covers the entry's bytes as they stand in the line.
//! **Start** with [`verify`].

use std::io::{self, BufRead, Read as _, Write};

use didar_protocol::id::Hash;
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::chain::{Break, Chain, Checked, Head, Line, Unseen};

/// Longest line that is read, bytes. The longest entry that can be made has 768 KiB: an argument of 128 KiB, escaped.
pub const LINE_MAX: usize = 1024 * 1024;
/// Largest number of a line: the database's integers end here.
const NUMBER_MAX: u64 = i64::MAX as u64;

/// A line as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    number: u64,
    previous: &'a str,
    hash: &'a str,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// Why a line was not written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// Its text would not be found again in the file.
    #[error(
        "line {0} is not one object of JSON on one line: the database was changed; see didar-matcher ledger verify"
    )]
    Text(u64),
    /// The output failed.
    #[error("cannot write the export: what is there is not whole; remove the cause and export again")]
    Output(#[source] io::Error),
}

/// Why bytes are no line of an export. Says nothing of what they hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not text.
    #[error("it is not UTF-8")]
    Encoding,
    /// Not JSON, or not with these fields.
    #[error("{kind}, column {column}")]
    Json {
        /// What is wrong.
        kind: &'static str,
        /// Where, from 1.
        column: usize,
    },
    /// A number that no line has.
    #[error("`number` is none of a line: 1 to {NUMBER_MAX}")]
    Number,
    /// The field of this name is no hash.
    #[error("`{0}` is not of 64 hexadecimal digits")]
    Hash(&'static str),
    /// The entry is not what entries are.
    #[error("`entry` is not one object on one line")]
    Entry,
}

/// Why an exported file does not hold. Lines of the file count from 1, whatever number stands in them.
#[derive(Debug, thiserror::Error)]
pub enum ExportedError {
    /// The system refused.
    #[error("line {at} of the file cannot be read")]
    Read {
        /// Which line of the file.
        at: u64,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty: the ledger had no line yet, or the export failed; export again")]
    Empty,
    /// Far longer than a line is.
    #[error(
        "line {at} of the file is longer than {LINE_MAX} bytes: it is no export, or its line breaks are lost; export again"
    )]
    TooLong {
        /// Which line of the file.
        at: u64,
    },
    /// The last line has no end.
    #[error("line {at}, the last of the file, is cut off: the export or a copy of it did not end; make it again")]
    Cut {
        /// Which line of the file.
        at: u64,
    },
    /// No line of an export.
    #[error(
        "line {at} of the file is no line of an export: {why}; give the file unpacked and unchanged, as `didar-matcher \
         ledger export` wrote it"
    )]
    Line {
        /// Which line of the file.
        at: u64,
        /// What is wrong.
        why: Unreadable,
    },
    /// A number is missing, or comes twice.
    #[error(
        "line {at} of the file has the number {found} and must have {expected}: lines are missing, doubled or out of \
         order; export again, and if it is so again, see didar-matcher ledger verify at the site"
    )]
    Gap {
        /// Which line of the file.
        at: u64,
        /// The next number.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// Changed.
    #[error(
        "line {at} of the file, line {number} of the ledger, was changed, or the line before it: the hash is another; \
         keep the file, export again, and if it is so again, see didar-matcher ledger verify at the site"
    )]
    Changed {
        /// Which line of the file.
        at: u64,
        /// Which line of the ledger.
        number: u64,
    },
    /// What was seen is not there.
    #[error(transparent)]
    Unseen(#[from] Unseen),
}

/// Writes a line with its end.
///
/// # Errors
/// The text is none of an entry, or the output fails.
pub fn write(line: &Line, out: &mut impl Write) -> Result<(), Unwritable> {
    let Line { number, previous, hash, text } = line;
    // Otherwise what is read again would not be the text, or a line of somebody's choice.
    let whole = serde_json::from_str::<&RawValue>(text).is_ok_and(|found| found.get().len() == text.len());
    if !whole || !is_entry(text) {
        return Err(Unwritable::Text(*number));
    }
    let (previous, hash) = (hex::encode(previous), hex::encode(hash));
    writeln!(out, r#"{{"number":{number},"previous":"{previous}","hash":"{hash}","entry":{text}}}"#)
        .map_err(Unwritable::Output)
}

/// Reads a line, with or without its end. Whether it is true is for [`Chain`] to say.
///
/// # Errors
/// It is no line of an export.
pub fn read(bytes: &[u8]) -> Result<Line, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Encoding)?;
    let Written { number, previous, hash, entry } = serde_json::from_str(text).map_err(|error| Unreadable::Json {
        kind: match error.classify() {
            Category::Io | Category::Eof => "its JSON ends too early",
            Category::Syntax => "it is not JSON",
            Category::Data => "its fields are not number, previous, hash and entry",
        },
        column: error.column(),
    })?;
    if !(1..=NUMBER_MAX).contains(&number) {
        return Err(Unreadable::Number);
    }
    if !is_entry(entry.get()) {
        return Err(Unreadable::Entry);
    }
    let (previous, hash) = (digits("previous", previous)?, digits("hash", hash)?);
    Ok(Line { number, previous, hash, text: entry.get().to_owned() })
}

/// Checks the numbers and hashes of an exported file, or of its end, from the first line that is there to the last. Holds
/// one line in memory.
///
/// # Errors
/// Names the first line of the file that does not hold, and the cure.
pub fn verify(mut source: impl BufRead, seen: Option<Head>) -> Result<Checked, ExportedError> {
    let mut bytes = Vec::new();
    let mut chain = None;
    for at in 1.. {
        bytes.clear();
        let limit = LINE_MAX as u64 + 1;
        source.by_ref().take(limit).read_until(b'\n', &mut bytes).map_err(|cause| ExportedError::Read { at, cause })?;
        if bytes.is_empty() {
            break;
        }
        if bytes.len() > LINE_MAX {
            return Err(ExportedError::TooLong { at });
        }
        let line = read(&bytes).map_err(|why| match bytes.last() {
            Some(b'\n') => ExportedError::Line { at, why },
            _ => ExportedError::Cut { at },
        })?;
        let chain = match &mut chain {
            Some(chain) => chain,
            None => chain.insert(begin(&line, seen)?),
        };
        chain.link(&line).map_err(|found| match found {
            Break::Gap { expected, found } => ExportedError::Gap { at, expected, found },
            Break::Changed(number) => ExportedError::Changed { at, number },
            Break::Unseen(why) => why.into(),
        })?;
    }
    Ok(chain.ok_or(ExportedError::Empty)?.end()?)
}

/// The chain that begins with this line, which says itself what it follows.
fn begin(first: &Line, seen: Option<Head>) -> Result<Chain, Unseen> {
    let before = match first.number {
        1 => Head::NONE,
        number => Head { number: number - 1, hash: first.previous },
    };
    seen.map_or_else(|| Ok(Chain::after(before)), |seen| Chain::with_seen(before, seen))
}

/// JSON that begins so and is on one line; that it is JSON is known.
fn is_entry(json: &str) -> bool {
    json.starts_with('{') && !json.contains('\n')
}

fn digits(field: &'static str, text: &str) -> Result<Hash, Unreadable> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).map_err(|_| Unreadable::Hash(field))?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::super::chain::line_hash;
    use super::*;

    /// An export of `count` lines; every text keeps its odd spaces, escapes and numbers.
    fn export(count: u64) -> Vec<String> {
        let mut previous = [0; 32];
        let made = (1..=count).map(|number| {
            let text = format!(r#"{{"b": 1.50e1,"a":"\u0041ш","at_ms":{number}, "b":1}}"#);
            let hash = line_hash(&previous, number, &text);
            let line = Line { number, previous: std::mem::replace(&mut previous, hash), hash, text };
            let mut out = Vec::new();
            write(&line, &mut out).unwrap();
            assert_eq!(read(&out).unwrap(), line);
            String::from_utf8(out).unwrap()
        });
        made.collect()
    }

    fn check(text: impl AsRef<[u8]>) -> Result<Checked, String> {
        verify(text.as_ref(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn an_export_holds_whole_and_from_any_line_on() {
        let lines = export(5);
        let whole = check(lines.concat()).unwrap();
        assert_eq!((whole.lines, whole.head.number), (5, 5));
        let end = check(lines[2..].concat()).unwrap();
        assert_eq!((end.lines, end.head), (3, whole.head));
        assert_eq!(check(lines.concat().trim_end()).unwrap(), whole, "an editor took the last line's end");
        assert_eq!(check(lines.concat().replace('\n', "\r\n")).unwrap(), whole);
    }

    #[test]
    fn what_was_seen_is_looked_for_in_a_file_too() {
        let lines = export(5);
        let seen = check(lines[..3].concat()).unwrap().head;
        for part in [&lines[..3], &lines[..], &lines[2..], &lines[3..]] {
            assert!(verify(part.concat().as_bytes(), Some(seen)).is_ok());
        }
        for part in [&lines[..2], &lines[4..]] {
            let error = verify(part.concat().as_bytes(), Some(seen)).unwrap_err().to_string();
            assert!(error.starts_with("line 3 was seen, but "), "{error}");
        }
    }

    #[test]
    fn whatever_is_changed_in_a_file_is_named_by_its_line_with_the_cure() {
        let lines = export(5);
        let edited = |edit: &dyn Fn(&mut Vec<String>)| {
            let mut lines = lines.clone();
            edit(&mut lines);
            check(lines.concat()).unwrap_err()
        };
        let changed = "line 3 of the file, line 3 of the ledger, was changed";
        let gap = "line 3 of the file has the number 4 and must have 3";
        for (error, words) in [
            (edited(&|lines| lines[2] = lines[2].replace("at_ms\":3", "at_ms\":4")), changed),
            (edited(&|lines| lines[2] = lines[2].replace("3, ", "3,")), changed),
            (edited(&|lines| lines[2] = lines[2].replace(r"\u0041", "A")), changed),
            (edited(&|lines| lines[2] = lines[2].replace("1.50e1", "15")), changed),
            (
                edited(&|lines| lines[0] = lines[0].replacen("00", "01", 1)),
                "line 1 of the file, line 1 of the ledger, was",
            ),
            (edited(&|lines| drop(lines.remove(2))), gap),
            (edited(&|lines| lines.swap(2, 3)), gap),
            (edited(&|lines| lines.insert(2, lines[1].clone())), "line 3 of the file has the number 2 and must have 3"),
        ] {
            assert!(error.starts_with(words) && error.contains("export again"), "{error}");
        }
        // The file's lines and the ledger's are not the same ones.
        let mut part = lines[2..].to_vec();
        part[1] = part[1].replace("at_ms\":4", "at_ms\":5");
        assert!(check(part.concat()).unwrap_err().starts_with("line 2 of the file, line 4 of the ledger, was changed"));
    }

    #[test]
    fn what_is_no_export_is_named_so() {
        let line = export(1).concat();
        let second = |bytes: &[u8]| check([line.as_bytes(), bytes, b"\n"].concat()).unwrap_err();
        let with = |field: &str, value: &str| second(format!(r#"{{"{field}":{value}}}"#).as_bytes());
        assert!(check("").unwrap_err().starts_with("the file is empty"));
        assert!(check(&line[..line.len() - 2]).unwrap_err().starts_with("line 1, the last of the file, is cut off"));
        let cut_letter = line.find('ш').unwrap() + 1;
        assert!(check(&line.as_bytes()[..cut_letter]).unwrap_err().contains("is cut off"));
        for (error, words) in [
            (second(b""), "ends too early, column"),
            (second(b"hello"), "it is not JSON, column 1"),
            (second(b"\x1f\x8b\x08"), "it is not UTF-8; give the file unpacked"),
            (second(b"[1]"), "its fields are not number, previous, hash and entry"),
            (with("secret", "\"900101300017\""), "its fields are not"),
            (second(format!("{}{}", line.trim_end(), line.trim_end()).as_bytes()), "it is not JSON"),
            (second(line.trim_end().replace("\"number\":1", "\"number\":0").as_bytes()), "`number` is none of a line"),
            (
                second(line.trim_end().replace("\"number\":1", "\"number\":18446744073709551615").as_bytes()),
                "`number` is",
            ),
            (second(line.trim_end().replacen("00", "0", 1).as_bytes()), "`previous` is not of 64"),
            (second(line.trim_end().replace(r#"hash":""#, r#"hash":"g"#).as_bytes()), "`hash` is not of 64"),
            (second(br#"{"number":2,"previous":"","hash":"","entry":[1]}"#), "`entry` is not one object"),
        ] {
            assert!(error.starts_with("line 2 of the file is no line of an export: "), "{error}");
            assert!(error.contains(words) && !error.contains("900101300017"), "{error}");
        }
    }

    #[test]
    fn nothing_comes_before_line_one() {
        let (previous, text) = ([1; 32], "{}".to_owned());
        let line = Line { number: 1, previous, hash: line_hash(&previous, 1, &text), text };
        let mut out = Vec::new();
        write(&line, &mut out).unwrap();
        assert!(check(&out).unwrap_err().starts_with("line 1 of the file, line 1 of the ledger, was changed"));
    }

    #[test]
    fn a_line_without_end_fills_no_memory() {
        let endless = io::BufReader::new(io::repeat(b'{'));
        assert!(verify(endless, None).unwrap_err().to_string().starts_with("line 1 of the file is longer than"));
    }

    #[test]
    fn a_text_that_would_be_another_line_is_not_written() {
        for text in ["", "{}}\n{\"number\":2", "{\n}", " {}", "{} ", "[]", "{}{}"] {
            let line = Line { number: 7, previous: [0; 32], hash: [0; 32], text: text.into() };
            let mut out = Vec::new();
            assert!(
                write(&line, &mut out).unwrap_err().to_string().starts_with("line 7 is not one object"),
                "{text:?}"
            );
            assert!(out.is_empty());
        }
    }
}

//! Any bytes as an exported ledger: a line that is read is written again with the same text, and a file that holds from its
//! first line holds from every other one.

#![no_main]

use didar_fuzz::exported::{read, verify, write};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let lines = || bytes.split_inclusive(|byte| *byte == b'\n');
    for line in lines().filter_map(|line| read(line).ok()) {
        let mut again = Vec::new();
        write(&line, &mut again).expect("what was read can be written");
        assert_eq!(read(&again).expect("what was written can be read"), line);
    }
    let Ok(whole) = verify(bytes, None) else {
        return;
    };
    assert_eq!(whole.lines, lines().count() as u64);
    assert!(verify(bytes, Some(whole.head)).is_ok());
    let first = lines().next().map_or(0, <[u8]>::len);
    if first < bytes.len() {
        let rest = verify(&bytes[first..], None).expect("a part of what holds");
        assert_eq!((rest.lines, rest.head), (whole.lines - 1, whole.head));
    }
});

//! Nothing is dropped silently: every line read is used or rejected, and every reject is written.

use std::collections::BTreeSet;

use super::{Folder, HEADER};
use crate::seeded::Seeded;

/// Bits of lines, good and bad, that garbage is put together from.
const BITS: &[&[u8]] = &[
    b"536365,85123A,LANTERN,6,d,2.55,17850.0,UK\n",
    b"536366,85123A,LANTERN,6,d,2.55,,UK\r\n",
    b"C536367,D,DISCOUNT,-1,d,27.50,14527,UK\n",
    b"\"536368\",\"A\",\"B\",\"1\",\"\",\"1\",\"\",\"\"\n",
    b"536365,",
    b"C1,",
    b"A563185,",
    b"\"",
    b"\"\"",
    b",",
    b",,,,,,,",
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
    b"-",
    b"1",
    b"0",
    b".",
    b"9999999999999999999999",
    b"\xC9\xFF",
    "£é…".as_bytes(),
    b"\x00",
    b"text",
];

/// Reads the file and proves that nothing was lost; returns how many lines were used and rejected.
fn check_conserved(file: &[u8], seed: u64) -> (u64, u64) {
    let folder = Folder::with(&[HEADER.as_bytes(), file].concat());
    // By another way than the reader's: only line feeds end lines.
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let lines = lines.count() as u64;
    if lines == 0 {
        assert!(folder.read().is_err(), "seed {seed}");
        return (0, 0);
    }
    let day = folder.read().unwrap();
    let used: usize = day.invoices.iter().map(|invoice| invoice.lines.len()).sum();
    let (used, rejected) = (used as u64, day.rejects.lines);
    assert_eq!(day.lines_read, lines, "seed {seed}");
    assert_eq!(used + rejected, lines, "seed {seed}");
    assert_eq!(day.rejects.by_reason.values().sum::<u64>(), rejected, "seed {seed}");
    assert!(day.invoices.iter().all(|invoice| invoice.total_pence() > 0), "seed {seed}");

    let rows = if day.rejects.file.is_some() { folder.rejects() } else { Vec::new() };
    assert_eq!(rows.len() as u64, rejected + day.rejects.unusable_invoices, "seed {seed}");
    let numbers: BTreeSet<&str> =
        rows[..rejected as usize].iter().map(|row| row[0].as_str()).collect();
    assert_eq!(numbers.len() as u64, rejected, "each line is rejected once; seed {seed}");
    (used, rejected)
}

#[test]
fn every_line_of_garbage_is_used_or_rejected() {
    let (mut used, mut rejected) = (0, 0);
    for seed in 0..300 {
        let mut random = Seeded::new(seed);
        let mut file = Vec::new();
        for _ in 0..random.within(0, 120) {
            file.extend_from_slice(BITS[random.below(BITS.len())]);
        }
        let counts = check_conserved(&file, seed);
        used += counts.0;
        rejected += counts.1;
    }
    assert!(used > 500 && rejected > 2000, "both happen: {used} used, {rejected} rejected");
}

#[test]
fn every_line_of_random_bytes_is_used_or_rejected() {
    for seed in 0..100 {
        let mut random = Seeded::new(seed);
        let file: Vec<u8> = (0..2000).map(|_| random.draw() as u8).collect();
        check_conserved(&file, seed);
    }
}

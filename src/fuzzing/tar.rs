//! Reading a tar.

use crate::digest::Digest;
use crate::format::toc::Entry as Said;
use crate::limits;
use crate::tar::fault::Fault;
use crate::tar::header::Entry;
use crate::tar::pax::{self, Records};
use crate::tar::scan::{Event, Scanner};
use crate::unpack::name::{Inside, Meaning};

use super::pieces::{Cut, cuts, pieces};
use super::toc;

/// Everything a scanner tells, whatever pieces it came in.
#[derive(Debug, Default, PartialEq)]
pub struct Reading {
    parts: Vec<Part>,
    /// What was taken in and told in no event.
    pending: Vec<u8>,
    fault: Option<Fault>,
}

#[derive(Debug, PartialEq)]
enum Part {
    Entry { entry: Box<Entry>, segment: Vec<u8>, padding: usize },
    Payload(Vec<u8>),
    PayloadEnd,
    Trailer(Vec<u8>),
}

impl Reading {
    /// Reads `data` to its end, or up to its fault.
    pub fn new(mut scanner: Scanner, data: &[u8], cut: Cut) -> Self {
        let mut reading = Self::default();
        for mut piece in pieces(data, cut) {
            loop {
                match scanner.next(&mut piece) {
                    Ok(Some(event)) => reading.take(event),
                    Ok(None) => break assert!(piece.is_empty(), "input is left although more is asked for"),
                    Err(fault) => return reading.end(scanner, Some(fault)),
                }
            }
        }
        match scanner.finish() {
            Ok(rest) => {
                rest.into_iter().for_each(|rest| reading.take(Event::Trailer(rest)));
                reading.end(scanner, None)
            }
            Err(fault) => reading.end(scanner, Some(fault)),
        }
    }

    fn end(mut self, scanner: Scanner, fault: Option<Fault>) -> Self {
        self.pending = scanner.into_pending();
        self.fault = fault;
        self
    }

    fn take(&mut self, event: Event<'_>) {
        let part = match (event, self.parts.last_mut()) {
            (Event::Payload(more), Some(Part::Payload(payload))) => return payload.extend_from_slice(more),
            (Event::Trailer(more), Some(Part::Trailer(trailer))) => return trailer.extend_from_slice(&more),
            (Event::Payload(payload), _) => Part::Payload(payload.to_vec()),
            (Event::Trailer(trailer), _) => Part::Trailer(trailer),
            (Event::PayloadEnd, _) => Part::PayloadEnd,
            (Event::Entry { entry, segment, padding }, _) => Part::Entry { entry, segment, padding },
        };
        self.parts.push(part);
    }

    /// The members, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.parts.iter().filter_map(|part| match part {
            Part::Entry { entry, .. } => Some(&**entry),
            _ => None,
        })
    }

    /// Whether it was read to its end.
    pub fn is_whole(&self) -> bool {
        self.fault.is_none()
    }

    /// Every byte that came out, in order.
    fn bytes(&self) -> Vec<u8> {
        let told = self.parts.iter().flat_map(|part| match part {
            Part::Entry { segment: bytes, .. } | Part::Payload(bytes) | Part::Trailer(bytes) => &bytes[..],
            Part::PayloadEnd => &[],
        });
        told.chain(&self.pending).copied().collect()
    }

    /// Payloads are as long as their entries say, and paddings are zero to 511 of the segment's first bytes.
    fn is_consistent(&self) {
        let mut left = 0;
        for part in &self.parts {
            match part {
                Part::Entry { entry, segment, padding } => {
                    assert_eq!(left, 0, "an entry inside a payload");
                    assert!(*padding < 512 && *padding <= segment.len());
                    assert!(segment.len() <= 9 << 20, "headers of {} bytes", segment.len());
                    assert!(entry.size >= 0);
                    left = entry.size;
                }
                Part::Payload(bytes) => left -= i64::try_from(bytes.len()).unwrap(),
                Part::PayloadEnd => assert_eq!(left, 0, "a payload ends early"),
                Part::Trailer(_) => assert_eq!(left, 0, "a trailer inside a payload"),
            }
        }
        assert!(!self.is_whole() || left == 0, "the tar is whole and a payload is not");
    }
}

/// What comes out is what went in; pieces make no difference; what a strict scanner takes, a lenient one reads the same; and what can
/// be said of an entry in a table of contents reads back as the same.
pub fn scan(data: &[u8]) {
    let strict = in_any_pieces(data, Scanner::new);
    let lenient = in_any_pieces(data, Scanner::lenient);
    if strict.is_whole() {
        assert_eq!(strict, lenient, "a lenient scanner reads another archive");
    }
    let said: Vec<_> = strict.entries().filter_map(|entry| Said::from_tar(entry).ok()).collect();
    let nothing = Digest::of(b"");
    assert_eq!(toc::read(&toc::write(&said, nothing)), Some((said, nothing)));
}

fn in_any_pieces(data: &[u8], scanner: fn() -> Scanner) -> Reading {
    let whole = Reading::new(scanner(), data, Cut::Whole);
    whole.is_consistent();
    let bytes = whole.bytes();
    assert!(data.starts_with(&bytes), "other bytes come out than went in");
    assert!(!whole.is_whole() || bytes.len() == data.len(), "bytes are lost");
    for &cut in cuts(data) {
        assert_eq!(whole, Reading::new(scanner(), data, cut), "in other pieces it reads otherwise");
    }
    whole
}

/// What reads as records is written as records, and reads as the same.
pub fn pax(data: &[u8]) {
    let Ok(records) = pax::records(data) else { return };
    let bytes: usize = records.iter().map(|(key, value)| key.len() + value.len()).sum();
    assert!(bytes <= data.len() + "GNU.sparse.map".len(), "more comes out than went in");
    let written: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
    assert!(data.len() as u64 > limits::TAR_SPECIAL || pax::records(&written).as_ref() == Ok(&records));
    // Records that are there twice count as they come.
    let twice = [data, &written].concat();
    if !records.contains_key(&b"GNU.sparse.map"[..]) {
        assert_eq!(pax::records(&twice).as_ref(), Ok(&records));
    }
    let _: (bool, Records) = (pax::is_sparse(&records), records);
}

/// A name leads to a place inside, however it is written: no element leads up, none is empty, what is read reads as the same; and what
/// is made of a whiteout is a name of one element.
pub fn name(data: &[u8]) {
    let Ok(inside) = Inside::new(data) else { return };
    let path = inside.as_bytes();
    assert!(path.len() < limits::PATH);
    assert!(path.is_empty() || path.split(|&byte| byte == b'/').all(|element| !matches!(element, b"" | b"." | b"..")));
    assert_eq!(Inside::new(path).as_ref(), Ok(&inside));
    let (folder, base) = match inside.meaning() {
        Ok(Meaning::Object { folder, base } | Meaning::Whiteout { folder, base }) => (folder, base),
        Ok(Meaning::Opaque { folder }) => (folder, &b"x"[..]),
        Ok(Meaning::Root) => return assert!(path.is_empty()),
        Ok(Meaning::Reserved) | Err(_) => return,
    };
    assert!(path.starts_with(folder));
    assert!(!base.is_empty() && !base.contains(&b'/') && !matches!(base, b"." | b".."), "a base that is no name");
}

/// `length key=value\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..20).map(|digits| rest + digits).find(|len| len.to_string().len() + rest == *len).expect("a length");
    [format!("{len} ").as_bytes(), key, b"=", value, b"\n"].concat()
}

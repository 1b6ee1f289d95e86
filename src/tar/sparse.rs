//! Sparse files: GNU tar's old form and its three PAX forms, as Go reads them.
//!
//! An archive has only the data of such a file; a map says where in the file they lie. No table of contents can name one, so only
//! those who unpack look here.

use crate::limits;

use super::header::BLOCK;
use super::number;
use super::pax::Records;

/// A sparse file as its headers describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparse {
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Where its data lie.
    pub map: Map,
}

/// Where the map of a sparse file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Map {
    /// In the headers.
    Regions(Vec<Region>),
    /// In front of the data (PAX form 1.0).
    InPayload,
}

/// A piece of a file that has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub len: u64,
}

/// A map that Go's reader would refuse, or one that the payload does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SparseError {
    /// A number is malformed.
    #[error("malformed number in the map of a sparse file")]
    Number,
    /// The old form in an archive that is not GNU tar's.
    #[error("a sparse file of GNU tar's old form in an archive of another format")]
    NotGnu,
    /// The number of regions is not what is stated, or one has half its numbers.
    #[error("the map of a sparse file is incomplete")]
    Incomplete,
    /// Above [`limits::TAR_SPECIAL`].
    #[error("the map of a sparse file has more than {limit} bytes", limit = limits::TAR_SPECIAL)]
    TooLong,
    /// Regions overlap, run backwards or end behind the file.
    #[error("the regions of a sparse file overlap or end behind it")]
    Regions,
    /// More or fewer bytes than the regions have.
    #[error("the data of a sparse file are not as long as its map says")]
    Data,
}

/// Where the numbers of GNU tar's old form begin in a header, and how many pairs of them there are.
const IN_HEADER: (usize, usize) = (386, 4);
/// The same in a block that continues the map.
const IN_EXTENSION: (usize, usize) = (0, 21);

/// Whether another block of the old form's map follows `block`.
pub fn old_form_goes_on(block: &[u8], is_header: bool) -> bool {
    let at = if is_header { 482 } else { 504 };
    block.get(at).is_some_and(|&byte| byte != 0)
}

/// The old form: `blocks` are the header and the blocks that continue its map.
///
/// # Errors
/// [`SparseError`].
pub fn old_form(blocks: &[u8]) -> Result<Sparse, SparseError> {
    // Other formats have the same flag with another layout behind it.
    if blocks.get(257..265) != Some(b"ustar  \0") {
        return Err(SparseError::NotGnu);
    }
    let size = blocks.get(483..495).and_then(number::numeric).ok_or(SparseError::Number)?;
    let mut regions = Vec::new();
    'blocks: for (nth, block) in blocks.chunks(BLOCK).enumerate() {
        let (from, pairs) = if nth == 0 { IN_HEADER } else { IN_EXTENSION };
        for pair in block.get(from..).unwrap_or_default().chunks_exact(24).take(pairs) {
            // An offset that begins with NUL ends the map.
            if pair.first() == Some(&0) {
                break 'blocks;
            }
            let (offset, len) = pair.split_at(12);
            regions.push(region(number::numeric(offset), number::numeric(len))?);
        }
    }
    let size = u64::try_from(size).map_err(|_| SparseError::Number)?;
    Ok(Sparse { size, map: Map::Regions(checked(regions, size)?) })
}

/// The PAX forms, by the records of the entry's extended header; the name that they give the file, if any.
///
/// # Errors
/// [`SparseError`].
pub fn pax_form(records: &Records) -> Result<(Sparse, Option<Vec<u8>>), SparseError> {
    let get = |key: &[u8]| records.get(key).filter(|value| !value.is_empty());
    let number = |text: &[u8]| number::decimal(text).ok_or(SparseError::Number);
    let size = get(b"GNU.sparse.size").or_else(|| get(b"GNU.sparse.realsize")).ok_or(SparseError::Incomplete)?;
    let size = u64::try_from(number(size)?).map_err(|_| SparseError::Number)?;
    let name = get(b"GNU.sparse.name").cloned();
    if get(b"GNU.sparse.major").is_some_and(|major| major == b"1") {
        return Ok((Sparse { size, map: Map::InPayload }, name));
    }
    let stated = number(get(b"GNU.sparse.numblocks").ok_or(SparseError::Incomplete)?)?;
    let numbers: Vec<&[u8]> = match get(b"GNU.sparse.map") {
        Some(map) => map.split(|&byte| byte == b',').collect(),
        None => Vec::new(),
    };
    if !numbers.len().is_multiple_of(2) || i64::try_from(numbers.len() / 2) != Ok(stated) {
        return Err(SparseError::Incomplete);
    }
    let pair = |pair: &[&[u8]]| region(number::decimal(pair[0]), number::decimal(pair[1]));
    let regions = numbers.chunks_exact(2).map(pair).collect::<Result<Vec<_>, _>>()?;
    Ok((Sparse { size, map: Map::Regions(checked(regions, size)?) }, name))
}

fn region(offset: Option<i64>, len: Option<i64>) -> Result<Region, SparseError> {
    let natural = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).ok_or(SparseError::Number);
    Ok(Region { offset: natural(offset)?, len: natural(len)? })
}

fn checked(regions: Vec<Region>, size: u64) -> Result<Vec<Region>, SparseError> {
    let mut end = 0;
    for region in &regions {
        if region.offset < end {
            return Err(SparseError::Regions);
        }
        end = region.offset.checked_add(region.len).filter(|end| *end <= size).ok_or(SparseError::Regions)?;
    }
    Ok(regions)
}

/// Turns the payload of a sparse file into pieces with their places. Holes are what no piece covers.
#[derive(Debug)]
pub struct Expander {
    size: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The map so far, as text.
    Map(Vec<u8>),
    /// The regions that are not filled, the next one last.
    Data(Vec<Region>),
}

impl Expander {
    /// For the payload of such a file.
    pub fn new(sparse: &Sparse) -> Self {
        let state = match &sparse.map {
            Map::InPayload => State::Map(Vec::new()),
            Map::Regions(regions) => State::Data(regions.iter().rev().copied().collect()),
        };
        Self { size: sparse.size, state }
    }

    /// The next piece of `payload` and its place in the file; `None` when all of it is used up.
    ///
    /// # Errors
    /// [`SparseError`].
    pub fn next<'a>(&mut self, payload: &mut &'a [u8]) -> Result<Option<(u64, &'a [u8])>, SparseError> {
        while !payload.is_empty() {
            match &mut self.state {
                State::Map(text) => {
                    let (block, rest) = payload.split_at(payload.len().min(BLOCK - text.len() % BLOCK));
                    text.extend_from_slice(block);
                    *payload = rest;
                    if !text.len().is_multiple_of(BLOCK) {
                        continue;
                    }
                    if let Some(regions) = map_text(text)? {
                        let regions = checked(regions, self.size)?;
                        self.state = State::Data(regions.into_iter().rev().collect());
                    }
                }
                State::Data(regions) => {
                    let Some(region) = regions.last_mut() else { return Err(SparseError::Data) };
                    if region.len == 0 {
                        regions.pop();
                        continue;
                    }
                    let now = usize::try_from(region.len).unwrap_or(usize::MAX).min(payload.len());
                    let (piece, rest) = payload.split_at(now);
                    *payload = rest;
                    let at = region.offset;
                    region.offset = at.saturating_add(now as u64);
                    region.len = region.len.saturating_sub(now as u64);
                    return Ok(Some((at, piece)));
                }
            }
        }
        Ok(None)
    }

    /// Whether the payload was all that the map says.
    ///
    /// # Errors
    /// [`SparseError`] when something is missing.
    pub fn finish(self) -> Result<(), SparseError> {
        match self.state {
            State::Map(_) => Err(SparseError::Incomplete),
            State::Data(regions) if regions.iter().any(|region| region.len > 0) => Err(SparseError::Data),
            State::Data(_) => Ok(()),
        }
    }
}

/// The map in front of the data, lines of decimal numbers, the first of which is the number of regions; `None` when more blocks follow.
fn map_text(text: &[u8]) -> Result<Option<Vec<Region>>, SparseError> {
    if text.len() as u64 > limits::TAR_SPECIAL {
        return Err(SparseError::TooLong);
    }
    let lines = text.iter().filter(|&&byte| byte == b'\n').count();
    let mut numbers = text.split(|&byte| byte == b'\n');
    if lines == 0 {
        return Ok(None);
    }
    let count = numbers.next().and_then(number::decimal).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(SparseError::Number)?;
    if count > lines || lines - 1 < count.saturating_mul(2) {
        // Each number has at least one digit and a newline: a count that cannot fit ends here, not in an allocator.
        let fits = count.saturating_mul(4) as u64 <= limits::TAR_SPECIAL;
        return if fits { Ok(None) } else { Err(SparseError::TooLong) };
    }
    let mut regions = Vec::new();
    for _ in 0..count {
        let mut next = || numbers.next().and_then(number::decimal);
        regions.push(region(next(), next())?);
    }
    Ok(Some(regions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &str)]) -> Records {
        pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    fn pieces(sparse: &Sparse, payload: &[u8], at_once: usize) -> Result<Vec<(u64, Vec<u8>)>, SparseError> {
        let mut expander = Expander::new(sparse);
        let mut out: Vec<(u64, Vec<u8>)> = Vec::new();
        for mut part in payload.chunks(at_once) {
            while let Some((at, bytes)) = expander.next(&mut part)? {
                match out.last_mut() {
                    Some((from, held)) if *from + held.len() as u64 == at => held.extend(bytes),
                    _ => out.push((at, bytes.to_vec())),
                }
            }
        }
        expander.finish().map(|()| out)
    }

    #[test]
    fn maps_in_headers_place_the_data() {
        let form = [("GNU.sparse.size", "100"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", "10,3,50,2")];
        let (sparse, name) = pax_form(&records(&form)).unwrap();
        assert_eq!((sparse.size, name), (100, None));
        for at_once in [1, 2, 5] {
            let placed = pieces(&sparse, b"abcde", at_once).unwrap();
            assert_eq!(placed, [(10, b"abc".to_vec()), (50, b"de".to_vec())]);
        }
        assert_eq!(pieces(&sparse, b"abcd", 1), Err(SparseError::Data));
        assert_eq!(pieces(&sparse, b"abcdef", 1), Err(SparseError::Data));
    }

    #[test]
    fn maps_in_front_of_the_data_place_them() {
        let form = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "9"),
            ("GNU.sparse.name", "n"),
        ];
        let (sparse, name) = pax_form(&records(&form)).unwrap();
        assert_eq!(name.as_deref(), Some(&b"n"[..]));
        let mut payload = b"2\n1\n2\n5\n1\n".to_vec();
        payload.resize(BLOCK, 0);
        payload.extend(b"xyz");
        for at_once in [1, 511, 512, 600] {
            let placed = pieces(&sparse, &payload, at_once).unwrap();
            assert_eq!(placed, [(1, b"xy".to_vec()), (5, b"z".to_vec())]);
        }
        let mut endless = b"99999999999\n".to_vec();
        endless.resize(BLOCK, b'1');
        assert_eq!(pieces(&sparse, &endless, 512), Err(SparseError::TooLong));
    }

    #[test]
    fn maps_that_lie_are_refused() {
        for (map, count, expected) in [
            ("10,3,5,2", "2", SparseError::Regions),
            ("10,300", "1", SparseError::Regions),
            ("10,3", "2", SparseError::Incomplete),
            ("10,3,4", "2", SparseError::Incomplete),
            ("x,3", "1", SparseError::Number),
            ("-1,3", "1", SparseError::Number),
        ] {
            let form = [("GNU.sparse.size", "100"), ("GNU.sparse.numblocks", count), ("GNU.sparse.map", map)];
            assert_eq!(pax_form(&records(&form)), Err(expected), "{map}");
        }
    }
}

//! PAX extended headers: `length key=value\n` records.
//!
//! Records are cut by their length, never at newlines: a binary xattr may hold any byte.

use std::collections::BTreeMap;

use super::number;

/// A PAX record block that Go's reader would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed pax record")]
pub struct PaxError;

/// The records of one extended header; of two with the same key the later one counts.
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads all records of `block`.
///
/// # Errors
/// [`PaxError`] at the first record that Go's reader refuses.
pub fn records(mut block: &[u8]) -> Result<Records, PaxError> {
    let mut records = Records::new();
    let mut sparse_map: Vec<Vec<u8>> = Vec::new();
    while !block.is_empty() {
        let (key, value, rest) = record(block).ok_or(PaxError)?;
        block = rest;
        match key {
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let wanted: &[u8] =
                    if sparse_map.len().is_multiple_of(2) { b"GNU.sparse.offset" } else { b"GNU.sparse.numbytes" };
                if key != wanted || value.contains(&b',') {
                    return Err(PaxError);
                }
                sparse_map.push(value.to_vec());
            }
            _ => {
                records.insert(key.to_vec(), value.to_vec());
            }
        }
    }
    if !sparse_map.is_empty() {
        records.insert(b"GNU.sparse.map".to_vec(), sparse_map.join(&b','));
    }
    Ok(records)
}

/// The first record of `block` and what follows it.
fn record(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = block.iter().position(|&byte| byte == b' ')?;
    let length = usize::try_from(number::decimal(block.get(..space)?)?).ok()?;
    if length < 5 {
        return None;
    }
    let (record, rest) = block.split_at_checked(length)?;
    let body = record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    let (key, value) = (body.get(..equals)?, body.get(equals.checked_add(1)?..)?);
    let text_only = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let forbidden = if text_only { value.contains(&0) } else { key.contains(&0) };
    (!key.is_empty() && !forbidden).then_some((key, value, rest))
}

/// Whether the records describe a GNU sparse file in a version that Go's reader knows.
pub fn is_sparse(records: &Records) -> bool {
    let get = |key: &[u8]| records.get(key).map_or(&b""[..], Vec::as_slice);
    match (get(b"GNU.sparse.major"), get(b"GNU.sparse.minor")) {
        (b"0", b"0" | b"1") | (b"1", b"0") => true,
        (b"", b"") => !get(b"GNU.sparse.map").is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_length() {
        let block = b"28 SCHILY.xattr.user.a=1\n2\x00\n18 path=some/name\n";
        let records = records(block).unwrap();
        assert_eq!(records[&b"SCHILY.xattr.user.a"[..]], b"1\n2\0");
        assert_eq!(records[&b"path"[..]], b"some/name");
    }

    #[test]
    fn refuses_what_go_refuses() {
        for bad in [
            "",
            " ",
            "x path=a\n",
            "4 a=b\n",
            "10 path=abc",
            "11 path=a\0b\n",
            "6 =bcd\n",
            "99 path=a\n",
            "9 pathabc\n",
        ] {
            let parsed = records(bad.as_bytes());
            assert_eq!(parsed.is_err(), !bad.is_empty(), "{bad:?}: {parsed:?}");
        }
    }
}

//! The `Content-Range` header: the only word of a server about which bytes it sent.

use crate::span::Span;

/// `Content-Range: bytes a-b/total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes that follow.
    pub span: Span,
    /// The size of the whole blob, or `None` where the server wrote `*`.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads the header's value. `None` for anything that names no bytes, `bytes */total` included.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let unit = value.get(..5)?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = value.get(5..)?.trim_start_matches([' ', '\t', '=']).split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let span = Span::new(number(first)?, number(last)?.checked_add(1)?)?;
        let total = match total.trim() {
            "*" => None,
            total => Some(number(total)?),
        };
        if total.is_some_and(|total| span.end() > total) {
            return None;
        }
        Some(Self { span, total })
    }

    /// Whether this can be part of a blob of `size` bytes.
    pub fn fits(&self, size: u64) -> bool {
        self.span.end() <= size && self.total.is_none_or(|total| total == size)
    }
}

/// A decimal number without sign; `str::parse` alone would take `+5`.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bytes_and_nothing_else() {
        let range = |start, end, total| Some(ContentRange { span: Span::new(start, end)?, total });
        assert_eq!(ContentRange::parse("bytes 0-9/100"), range(0, 10, Some(100)));
        assert_eq!(ContentRange::parse("Bytes  5-5/* "), range(5, 6, None));
        for bad in [
            "",
            "bytes",
            "bytes */100",
            "bytes 9-0/100",
            "bytes 0-100/100",
            "bytes +1-2/9",
            "octets 0-9/100",
            "bytes 0-9",
            "bytes 0-18446744073709551615/*",
            "bytes -1-5/9",
            "bytes 1048576-1048575/1048576",
            "bytes 0-9/x",
            "bytés 0-9/10",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad:?}");
        }
        let some = ContentRange::parse("bytes 0-9/100").expect("a range");
        assert!(some.fits(100) && !some.fits(101));
        assert!(!ContentRange::parse("bytes 0-9/*").expect("a range").fits(9));
    }
}

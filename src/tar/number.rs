//! Numbers in tar headers and PAX records.

/// A field in octal or, where its first bit is set, base 256; `None` on junk or overflow. An empty field is zero.
pub fn numeric(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field, first & 0x40 != 0),
        _ => octal(field),
    }
}

/// Two's complement, big-endian, with the field's first bit as the marker.
fn base_256(field: &[u8], negative: bool) -> Option<i64> {
    let invert = if negative { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (position, byte) in field.iter().enumerate() {
        let mut byte = byte ^ invert;
        if position == 0 {
            byte &= 0x7f;
        }
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

/// Octal digits between any spaces and NULs; what follows an inner NUL is ignored.
pub fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !blank(byte)) else { return Some(0) };
    let end = field.iter().rposition(|byte| !blank(byte))?;
    let digits = field.get(start..=end)?.split(|&byte| byte == 0).next()?;
    let mut value: u64 = 0;
    for byte in digits {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value = value.checked_mul(8)?.checked_add(u64::from(digit))?;
    }
    #[expect(
        clippy::cast_possible_wrap,
        clippy::as_conversions,
        reason = "Go wraps here, and readers must agree with it"
    )]
    Some(value as i64)
}

/// A decimal number as Go's `strconv.ParseInt(text, 10, 64)` takes it: an optional sign and digits.
pub fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A moment: seconds since 1970 and nanoseconds after them (0 to 999,999,999).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`.
    pub nanos: u32,
}

impl Time {
    /// A whole second.
    pub const fn seconds(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }
}

/// A PAX time, `[-]seconds[.fraction]`, cut to nanoseconds.
pub fn pax_time(text: &[u8]) -> Option<Time> {
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (text.get(..dot)?, text.get(dot.checked_add(1)?..)?),
        None => (text, &[][..]),
    };
    let seconds = decimal(whole)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos: u32 = 0;
    for position in 0..9 {
        let digit = fraction.get(position).map_or(0, |byte| byte.saturating_sub(b'0'));
        nanos = nanos.checked_mul(10)?.checked_add(u32::from(digit))?;
    }
    if whole.first() == Some(&b'-') && nanos > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanos: 1_000_000_000_u32.checked_sub(nanos)? });
    }
    Some(Time { seconds, nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_go_reads_them() {
        let table: &[(&[u8], Option<i64>)] = &[
            (b"", Some(0)),
            (b"\0\0\0", Some(0)),
            (b"0000644\0", Some(0o644)),
            (b"  644 \0", Some(0o644)),
            (b"00000000123 ", Some(0o123)),
            (b"12\0 34", Some(0o12)),
            (b"12 \x0034", None),
            (b"12 34\0", None),
            (b"8", None),
            (b"\x80\0\0\0\0\0\0\x07", Some(7)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"1777777777777777777777", Some(-1)),
            (b"2000000000000000000000", None),
        ];
        for (field, expected) in table {
            assert_eq!(numeric(field), *expected, "{:?}", String::from_utf8_lossy(field));
        }
    }

    #[test]
    fn times_as_go_reads_them() {
        let table: &[(&str, Option<(i64, u32)>)] = &[
            ("0", Some((0, 0))),
            ("1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            ("1350244992.3", Some((1_350_244_992, 300_000_000))),
            ("1350244992.", Some((1_350_244_992, 0))),
            ("1.9999999999", Some((1, 999_999_999))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-1.0", Some((-1, 0))),
            ("-0.25", Some((-1, 750_000_000))),
            ("", None),
            (".5", None),
            ("1.5x", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(seconds, nanos)| Time { seconds, nanos });
            assert_eq!(pax_time(text.as_bytes()), expected, "{text}");
        }
    }
}

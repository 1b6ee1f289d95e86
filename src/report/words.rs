//! Numbers and errors in people's words.

use std::error::Error;
use std::fmt::Write as _;

/// A size in decimal units: `44.4 MB`. Nothing is a dash.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    if count == 0 {
        return "-".into();
    }
    if count < 1000 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "three digits for people")]
    let mut value = count as f64;
    let mut unit = 0;
    // 999,950 would be written as 1000.0 kB.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its thousands apart: `44,412,345`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things, in the singular where there is one.
pub fn count(number: usize, what: &str) -> String {
    let plural = match what {
        "index" if number != 1 => "indexes".into(),
        what if number == 1 => what.to_owned(),
        what => format!("{what}s"),
    };
    format!("{} {plural}", thousands(number as u64))
}

/// A part of a whole in percent, with one digit: `19.1 %`.
pub fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "three digits for people")]
    let percent = if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    format!("{percent:.1} %")
}

/// A time: `0.42 s`, `12.3 s`, `3 min 20 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round();
    format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0)
}

/// An error and what caused it, in one line, each cause once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let table = [
            (0, "-"),
            (1, "1 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (44_412_345, "44.4 MB"),
            (u64::MAX, "18446.7 PB"),
        ];
        for (count, expected) in table {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!([thousands(0), thousands(999), thousands(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!([percent(1, 8), percent(0, 0)], ["12.5 %", "0.0 %"]);
        assert_eq!([seconds(0.0), seconds(59.96), seconds(200.4)], ["0.00 s", "60.0 s", "3 min 20 s"]);
    }
}

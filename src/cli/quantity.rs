//! Sizes and times on the command line: `20GB`, `12h`.

use std::time::Duration;

/// A number and what it counts: `90s`, `20GB`.
fn number_of(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| name.to_ascii_lowercase() == unit).map(|(_, factor)| *factor);
    let number = digits.trim_end().parse::<u64>().ok().zip(factor);
    number.and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        let names: Vec<_> = units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        format!("{what}: a whole number and one of {}", names.join(", "))
    })
}

/// A time, such as `12h`.
pub fn age(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];
    Ok(Duration::from_secs(number_of(text, &units, "write a time")?))
}

/// A size, such as `20GB`.
pub fn size(text: &str) -> Result<u64, String> {
    const K: u64 = 1000;
    const KI: u64 = 1024;
    let decimal = [("", 1), ("B", 1), ("kB", K), ("MB", K * K), ("GB", K * K * K), ("TB", K * K * K * K)];
    let binary = [("KiB", KI), ("MiB", KI * KI), ("GiB", KI * KI * KI), ("TiB", KI * KI * KI * KI)];
    number_of(text, &[&decimal[..], &binary[..]].concat(), "write a size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, bytes) in
            [("0", 0), ("17", 17), ("20GB", 20_000_000_000), ("20gb", 20_000_000_000), ("1 MiB", 1 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "7", "d", "-1d", "1.5d", "7 y", "99999999999999999999d", "9999999999999999999w"] {
            assert!(age(text).is_err(), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "99999999999TB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

//! JSON as Go's `encoding/json` writes it, so that our metadata is the reference's, byte for byte.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// Compact, with `<`, `>`, `&` and the two JavaScript line separators escaped.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, character) in fragment.char_indices() {
            if matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[plain..at])?;
                write!(writer, "\\u{:04x}", u32::from(character))?;
                plain = at + character.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        CompactFormatter.write_char_escape(writer, escape)
    }
}

/// Appends `value` to `out`.
pub fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoFormatter);
    value.serialize(&mut serializer).expect("these values have a form in JSON and memory does not fail to be written");
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_as_go_does() {
        let mut out = Vec::new();
        super::append(&mut out, &"a<b>&\u{2028}\"\\\n\t\u{1}\u{7f}é");
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\n\\t\\u0001\u{7f}é\"");
    }
}

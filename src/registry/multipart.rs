//! A streaming reader of `multipart/byteranges` bodies that does no IO: bytes go in, parts come out.
//!
//! The length of a part is taken from its `Content-Range`, so that payload is never searched for boundaries and may contain them.
//! Everything that is not payload is framing.

use super::content_range::ContentRange;
use crate::limits;

/// What the reader found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part begins; as many bytes of [`Event::Data`] follow as its span has.
    Part(ContentRange),
    /// Payload of the current part, in order. Never empty.
    Data(&'a [u8]),
}

/// Why a body is no multipart body that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// A part's header lines are longer than [`limits::PART_HEADER`].
    #[error("part headers of a multipart answer are longer than {} bytes", limits::PART_HEADER)]
    Header,
    /// A part has no `Content-Range` that can be read.
    #[error("a part of a multipart answer has no usable Content-Range")]
    ContentRange,
    /// More than [`limits::PART_PREAMBLE`] bytes belong to no part.
    #[error("more than {} bytes of a multipart answer belong to no part", limits::PART_PREAMBLE)]
    Preamble,
    /// The `Content-Type` has no boundary, or one that is too long.
    #[error("content type of a multipart answer has no usable boundary")]
    Boundary,
}

/// The reader.
#[derive(Debug)]
pub struct Multipart {
    delimiter: Vec<u8>,
    state: State,
    line: Vec<u8>,
    /// Bytes of the current headers, or bytes outside of parts so far.
    header: usize,
    outside: usize,
    range: Option<ContentRange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before, between and after parts: lines until the delimiter.
    Outside,
    Headers,
    Data(u64),
    /// After the closing delimiter.
    Ended,
}

impl Multipart {
    /// A reader for a body with this `Content-Type`; `None` when the type is another one than `multipart/byteranges`.
    ///
    /// # Errors
    /// [`MultipartError::Boundary`] when the type names no boundary.
    pub fn for_content_type(value: &str) -> Result<Option<Self>, MultipartError> {
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/byteranges") {
            return Ok(None);
        }
        let boundary = boundary(parameters).ok_or(MultipartError::Boundary)?;
        if boundary.is_empty() || boundary.len() > limits::PART_BOUNDARY {
            return Err(MultipartError::Boundary);
        }
        let delimiter = [b"--", boundary.as_bytes()].concat();
        Ok(Some(Self { delimiter, state: State::Outside, line: Vec::new(), header: 0, outside: 0, range: None }))
    }

    /// Takes in the next bytes of the body and tells `on` what they hold, in order.
    ///
    /// # Errors
    /// What the body breaks, or what `on` returned; the reader is of no use after either.
    pub fn push<E: From<MultipartError>>(
        &mut self,
        mut input: &[u8],
        on: &mut dyn FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !input.is_empty() {
            let used = match self.state {
                State::Data(left) => self.data(left, input, on)?,
                State::Ended => self.epilogue(input)?,
                State::Outside | State::Headers => self.line(input, on)?,
            };
            input = input.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// Whether the closing delimiter was seen, with or without a line end: the body was not cut short.
    pub fn ended(&self) -> bool {
        self.state == State::Ended || (self.state == State::Outside && self.closes(&self.line))
    }

    fn data<E>(&mut self, left: u64, input: &[u8], on: &mut dyn FnMut(Event<'_>) -> Result<(), E>) -> Result<usize, E> {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (data, _) = input.split_at(len);
        on(Event::Data(data))?;
        let left = left.saturating_sub(len as u64);
        self.state = if left == 0 { State::Outside } else { State::Data(left) };
        Ok(len)
    }

    fn epilogue(&mut self, input: &[u8]) -> Result<usize, MultipartError> {
        self.count_outside(input.len())?;
        Ok(input.len())
    }

    /// Collects one line, of either kind of line end, and acts on it when it is whole.
    fn line<E: From<MultipartError>>(
        &mut self,
        input: &[u8],
        on: &mut dyn FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(input.len(), |end| end + 1);
        let (taken, _) = input.split_at(used);
        if self.state == State::Headers {
            self.header += used;
            if self.header > limits::PART_HEADER {
                return Err(MultipartError::Header.into());
            }
        } else {
            self.count_outside(used)?;
        }
        self.line.extend_from_slice(taken);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            match self.state {
                State::Headers => self.header_line(&line, on)?,
                _ => self.outside_line(&line),
            }
        }
        Ok(used)
    }

    fn outside_line(&mut self, line: &[u8]) {
        if self.closes(line) {
            self.state = State::Ended;
        } else if line.trim_ascii_end() == self.delimiter {
            self.state = State::Headers;
            (self.header, self.outside, self.range) = (0, 0, None);
        }
    }

    fn header_line<E: From<MultipartError>>(
        &mut self,
        line: &[u8],
        on: &mut dyn FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = line.trim_ascii();
        if line.is_empty() {
            let range = self.range.take().ok_or(MultipartError::ContentRange)?;
            self.state = State::Data(range.span.len());
            return on(Event::Part(range));
        }
        let line = String::from_utf8_lossy(line);
        if let Some((name, value)) = line.split_once(':')
            && name.trim().eq_ignore_ascii_case("content-range")
        {
            self.range = Some(ContentRange::parse(value).ok_or(MultipartError::ContentRange)?);
        }
        Ok(())
    }

    fn closes(&self, line: &[u8]) -> bool {
        line.trim_ascii_end().strip_suffix(b"--").is_some_and(|line| line == self.delimiter)
    }

    /// The line end after a payload counts as outside too, so the count starts anew with each part.
    fn count_outside(&mut self, bytes: usize) -> Result<(), MultipartError> {
        self.outside = self.outside.saturating_add(bytes);
        if self.outside > limits::PART_PREAMBLE { Err(MultipartError::Preamble) } else { Ok(()) }
    }
}

/// The boundary parameter, quoted or not. Some servers leave a `:` in it unquoted, so only `;` and quotes end it.
fn boundary(parameters: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => match value.split_once(';') {
                Some((value, after)) => (value.trim_end().to_owned(), after),
                None => (value.trim_end().to_owned(), ""),
            },
        };
        if name.trim().eq_ignore_ascii_case("boundary") {
            return Some(value);
        }
        rest = after;
    }
}

/// The text up to the closing quote, without backslashes, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, quoted.get(at + 1..)?)),
            '\\' => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts = Vec<(u64, Vec<u8>)>;

    fn read(content_type: &str, body: &[u8], step: usize) -> Result<(Parts, bool), MultipartError> {
        let mut reader = Multipart::for_content_type(content_type)?.expect("a multipart type");
        let mut parts: Parts = Vec::new();
        for piece in body.chunks(step) {
            reader.push::<MultipartError>(piece, &mut |event| {
                match event {
                    Event::Part(range) => parts.push((range.span.start(), Vec::new())),
                    Event::Data(data) => parts.last_mut().expect("a part before data").1.extend_from_slice(data),
                }
                Ok(())
            })?;
        }
        Ok((parts, reader.ended()))
    }

    #[test]
    fn reads_what_servers_send_at_any_cut() {
        let go = "\r\n--b\r\nContent-Range: bytes 0-4/100\r\nContent-Type: x\r\n\r\nhello\r\n--b\r\n\
                  content-range:bytes 10-15/100\r\n\r\n--b--\n\r\n--b--\r\n";
        let line_feeds = "preamble\nmore\n--b\nCONTENT-RANGE:  bytes 0-4/*\n\nhello\n--b\nContent-Range: bytes 10-15/100\n\n--b--\n\n--b--";
        let padded = "--b  \r\nContent-Range: bytes 0-4/100\r\n\r\nhello\r\n--b \r\nContent-Range: bytes 10-15/100\r\n\r\n--b--\n\r\n--b--\r\nepilogue";
        let expected = vec![(0, b"hello".to_vec()), (10, b"--b--\n".to_vec())];
        for body in [go, line_feeds, padded] {
            for step in [1, 2, 3, 7, 1000] {
                let read = read("multipart/byteranges; boundary=b", body.as_bytes(), step);
                assert_eq!(read, Ok((expected.clone(), true)), "{body:?} by {step}");
            }
        }
    }

    #[test]
    fn finds_the_boundary() {
        for (value, delimiter) in [
            ("multipart/byteranges; boundary=CloudFront:A1-b", "--CloudFront:A1-b"),
            ("Multipart/ByteRanges;charset=\"a;b\\\"c\"; Boundary=\"x y\"; z=1", "--x y"),
            ("multipart/byteranges;boundary=abc ;q=1", "--abc"),
        ] {
            let reader = Multipart::for_content_type(value).expect(value).expect(value);
            assert_eq!(reader.delimiter, delimiter.as_bytes());
        }
        assert!(matches!(Multipart::for_content_type("application/octet-stream"), Ok(None)));
        for bad in ["multipart/byteranges", "multipart/byteranges; boundary=", "multipart/byteranges; boundary=\"a"] {
            assert_eq!(Multipart::for_content_type(bad).err(), Some(MultipartError::Boundary), "{bad}");
        }
    }

    #[test]
    fn tells_a_body_that_was_cut() {
        let whole = "--b\r\nContent-Range: bytes 0-4/9\r\n\r\nhello\r\n--b--";
        for cut in 0..whole.len() {
            let (parts, ended) =
                read("multipart/byteranges; boundary=b", &whole.as_bytes()[..cut], 5).expect("no error");
            assert!(!ended, "cut at {cut}");
            assert!(parts.iter().all(|(_, data)| b"hello".starts_with(data)));
        }
    }

    #[test]
    fn refuses_bodies_without_end_or_sense() {
        let fault = |body: &[u8]| read("multipart/byteranges; boundary=b", body, 1000).err();
        assert_eq!(fault(&vec![b'x'; limits::PART_PREAMBLE]), None, "at the limit");
        let header = |len: usize| [b"--b\n".to_vec(), vec![b'x'; len]].concat();
        assert_eq!(fault(&header(limits::PART_HEADER)), None, "at the limit");
        assert_eq!(fault(&header(limits::PART_HEADER + 1)), Some(MultipartError::Header));
        let boundary = |len| format!("multipart/byteranges; boundary={}", "b".repeat(len));
        assert!(Multipart::for_content_type(&boundary(limits::PART_BOUNDARY)).is_ok(), "at the limit");
        let longer = Multipart::for_content_type(&boundary(limits::PART_BOUNDARY + 1));
        assert_eq!(longer.err(), Some(MultipartError::Boundary));
        assert_eq!(fault(&vec![b'x'; limits::PART_PREAMBLE + 1]), Some(MultipartError::Preamble));
        assert_eq!(fault(&b"\n".repeat(limits::PART_PREAMBLE + 1)), Some(MultipartError::Preamble));
        assert_eq!(fault(&[b"--b\n".to_vec(), b"a: b\n".repeat(2000)].concat()), Some(MultipartError::Header));
        assert_eq!(fault(b"--b\nContent-Type: x\n\n"), Some(MultipartError::ContentRange));
        assert_eq!(fault(b"--b\nContent-Range: bytes 9-1/3\n\n"), Some(MultipartError::ContentRange));
        assert_eq!(
            fault(&[b"--b--\n".to_vec(), vec![0; limits::PART_PREAMBLE]].concat()),
            Some(MultipartError::Preamble)
        );
    }
}

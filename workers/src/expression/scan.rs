//! Reading JSON where it lies: one pass that checks the whole text and tells where values begin and end.

use super::stops::Stops;

/// How deep arrays and objects may lie in each other.
pub const DEPTH_LIMIT: u32 = 128;

/// Bytes that are no JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// There is nothing.
    #[error("the value is empty, where JSON is expected")]
    Empty,
    /// A byte sequence that is no character.
    #[error("the value isn't UTF-8 (at byte {at})")]
    NotUtf8 {
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// Not JSON, or cut off.
    #[error("the value isn't JSON: {expected} expected at byte {at}")]
    NotJson {
        /// Offset where reading stopped.
        at: usize,
        /// What had to come.
        expected: &'static str,
    },
    /// Deeper than [`DEPTH_LIMIT`].
    #[error("the value nests deeper than {DEPTH_LIMIT} levels (at byte {at})")]
    TooDeep {
        /// Offset of the bracket that was too much.
        at: usize,
    },
}

/// Things JSON allows and databases don't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// An escape `\u0000`.
    pub nul: bool,
    /// An escape of half a character (a surrogate without its other half).
    pub half_character: bool,
    /// A number with an exponent or a length beyond what a `numeric` holds.
    pub huge_number: bool,
}

impl Oddities {
    /// What a checked JSON text holds of them.
    pub fn of(text: &str) -> Self {
        let mut scanner = Scanner::new(text);
        // It was checked before; what couldn't be read would have nothing odd in it.
        let _ = scanner.skip(0);
        scanner.oddities
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// The elements of a checked JSON array, each as its JSON text; none of what isn't an array.
pub fn elements(array: &str) -> Elements<'_> {
    let mut scanner = Scanner::new(array);
    let more = scanner.peek() == Some(b'[') && scanner.open(b']', 0).unwrap_or(false);
    Elements { array, scanner, more }
}

/// See [`elements`].
pub struct Elements<'a> {
    array: &'a str,
    scanner: Scanner<'a>,
    more: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if !self.more {
            return None;
        }
        self.scanner.peek();
        let start = self.scanner.at;
        self.scanner.skip(0).ok()?;
        let end = self.scanner.at;
        self.more = self.scanner.more(b']').unwrap_or(false);
        self.array.get(start..end)
    }
}

/// A place in a JSON text.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    pub at: usize,
    pub oddities: Oddities,
    stops: Stops,
}

type Scan<T> = Result<T, Undecodable>;

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, oddities: Oddities::default(), stops: Stops::default() }
    }

    /// The next byte that isn't white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            // Most texts have no white space, and everything else is above it.
            if *byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    #[cold]
    pub fn wrong<T>(&self, expected: &'static str) -> Scan<T> {
        Err(Undecodable::NotJson { at: self.at, expected })
    }

    /// Only white space may be left.
    pub fn end(&mut self) -> Scan<()> {
        if self.peek().is_none() { Ok(()) } else { self.wrong("the end of the text") }
    }

    /// A member's name and its colon. Its raw text without quotes, and whether it holds escapes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a fifth of the time of a whole document")]
    pub fn name(&mut self) -> Scan<(&'a [u8], bool)> {
        if self.peek() != Some(b'"') {
            return self.wrong("a member's name");
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let name = &self.bytes[start..self.at - 1];
        if self.peek() != Some(b':') {
            return self.wrong("`:`");
        }
        self.at += 1;
        Ok((name, escaped))
    }

    /// After a value: whether another one follows in the list that `close` ends.
    #[inline]
    pub fn more(&mut self, close: u8) -> Scan<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.wrong(if close == b'}' { "`,` or `}`" } else { "`,` or `]`" }),
        }
    }

    /// Passes over one value.
    pub fn skip(&mut self, depth: u32) -> Scan<()> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'{') => self.skip_object(depth),
            Some(b'[') => self.skip_array(depth),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.wrong("a value"),
        }
    }

    /// Passes over the opening bracket, unless it is one too deep. Whether something is between the brackets.
    #[inline]
    pub fn open(&mut self, close: u8, depth: u32) -> Scan<bool> {
        if depth >= DEPTH_LIMIT {
            return Err(Undecodable::TooDeep { at: self.at });
        }
        self.at += 1;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        Ok(true)
    }

    fn skip_object(&mut self, depth: u32) -> Scan<()> {
        let mut more = self.open(b'}', depth)?;
        while more {
            self.name()?;
            self.skip(depth + 1)?;
            more = self.more(b'}')?;
        }
        Ok(())
    }

    fn skip_array(&mut self, depth: u32) -> Scan<()> {
        let mut more = self.open(b']', depth)?;
        while more {
            self.skip(depth + 1)?;
            more = self.more(b']')?;
        }
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Scan<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.wrong("a value");
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Scan<()> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.wrong("a digit"),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            let exponent = self.at;
            self.digits()?;
            self.oddities.huge_number |= self.at - exponent > 4;
        }
        self.oddities.huge_number |= self.at - start > 4_000;
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        // Eight bytes at a time, as how many digits there are can't be foreseen.
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let digits = leading_digits(u64::from_le_bytes(*chunk));
            self.at += digits;
            if digits < 8 {
                return if self.at == start { self.wrong("a digit") } else { Ok(()) };
            }
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { self.wrong("a digit") } else { Ok(()) }
    }

    /// Passes over a text, from its opening to behind its closing quote. Whether it holds escapes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: a fifth of the time of a whole document")]
    fn string(&mut self) -> Scan<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at = self.stops.next(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.wrong("an escaped control character"),
                None => return self.wrong("the end of a text"),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        self.at += 1;
        match self.bytes.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => self.unicode(),
            _ => self.wrong("an escape"),
        }
    }

    fn unicode(&mut self) -> Scan<()> {
        let unit = self.code_unit()?;
        match unit {
            0 => self.oddities.nul = true,
            0xd800..0xdc00 => {
                if !self.bytes[self.at..].starts_with(b"\\u") {
                    self.oddities.half_character = true;
                    return Ok(());
                }
                let back = self.at;
                self.at += 1;
                if !(0xdc00..0xe000).contains(&self.code_unit()?) {
                    // Whatever it is, it is read again by itself.
                    self.oddities.half_character = true;
                    self.at = back;
                }
            }
            0xdc00..0xe000 => self.oddities.half_character = true,
            _ => {}
        }
        Ok(())
    }

    /// The four digits after the `u` at which it stands.
    fn code_unit(&mut self) -> Scan<u16> {
        self.at += 1;
        let digits = self.bytes.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let unit = digits.and_then(|digits| u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match unit {
            Some(unit) => {
                self.at += 4;
                Ok(unit)
            }
            None => self.wrong("four hexadecimal digits"),
        }
    }
}

/// How many of eight bytes are digits before the first that isn't.
#[inline]
fn leading_digits(word: u64) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A digit is 0 to 9 after the exclusive or; 0x76 more than that stays below 0x80. Nothing is carried from byte to
    // byte.
    let values = word ^ (ONES * 0x30);
    let others = (((values & (ONES * 0x7f)) + ONES * 0x76) | values) & (ONES * 0x80);
    (others.trailing_zeros() / 8) as usize
}

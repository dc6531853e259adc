//! The data of a message, for people and for programs.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;

use super::text;

/// How many bytes of binary data are shown to people.
const HEX_BYTES_MAX: usize = 256;
/// How deep JSON is indented at most: a message may be nested without end.
const INDENT_MAX: usize = 32;

/// What the bytes are.
#[derive(Debug)]
pub(crate) enum Data {
    /// There are none.
    Empty,
    /// A JSON value, as it came.
    Json(Box<RawValue>),
    /// Text in UTF-8.
    Text(String),
    /// Anything else.
    Binary(Vec<u8>),
}

/// Whether a message's content type lets its data be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It says so, or says nothing.
    Json,
    /// It says that it is something else.
    Other,
}

impl Data {
    /// Looks at what the bytes are.
    pub(crate) fn of(bytes: &[u8], claim: Claim) -> Self {
        let Ok(utf8) = std::str::from_utf8(bytes) else {
            return Self::Binary(bytes.to_vec());
        };
        match (claim, serde_json::from_str(utf8)) {
            _ if bytes.is_empty() => Self::Empty,
            (Claim::Json, Ok(value)) => Self::Json(value),
            _ => Self::Text(utf8.to_owned()),
        }
    }

    /// The stable name of this kind.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Empty => "none",
            Self::Json(_) => "json",
            Self::Text(_) => "text",
            Self::Binary(_) => "base64",
        }
    }

    /// The data as a JSON value; `None` where there is none.
    pub(crate) fn to_json(&self) -> serde_json::Result<Option<Box<RawValue>>> {
        match self {
            Self::Empty => Ok(None),
            Self::Json(value) => Ok(Some(value.clone())),
            Self::Text(text) => serde_json::value::to_raw_value(text).map(Some),
            Self::Binary(bytes) => serde_json::value::to_raw_value(&BASE64.encode(bytes)).map(Some),
        }
    }

    /// The data as lines for people.
    pub(crate) fn to_lines(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Json(value) => text::lines(&indent(value.get())),
            Self::Text(text) => text::lines(text),
            Self::Binary(bytes) => hex_dump(bytes),
        }
    }
}

/// Lays out JSON without touching a value: numbers keep their digits, members their order.
fn indent(json: &str) -> String {
    let mut layout = Layout { text: String::with_capacity(json.len() * 2), depth: 0 };
    let mut rest = json.chars().peekable();
    while let Some(character) = rest.next() {
        layout.push(character, &mut rest);
    }
    layout.text
}

/// Valid JSON that is being laid out.
struct Layout {
    text: String,
    depth: usize,
}

impl Layout {
    /// Appends a character, and what belongs to it.
    fn push(&mut self, character: char, rest: &mut Peekable<Chars<'_>>) {
        match character {
            '"' => self.push_string(rest),
            '{' | '[' => {
                self.text.push(character);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => self.text.push(end),
                    None => self.break_line(self.depth + 1),
                }
            }
            '}' | ']' => {
                self.break_line(self.depth.saturating_sub(1));
                self.text.push(character);
            }
            ',' => {
                self.text.push(',');
                self.break_line(self.depth);
            }
            ':' => self.text.push_str(": "),
            _ if character.is_ascii_whitespace() => {}
            _ => self.text.push(character),
        }
    }

    /// Appends a string whose opening quote was read.
    fn push_string(&mut self, rest: &mut Peekable<Chars<'_>>) {
        self.text.push('"');
        while let Some(character) = rest.next() {
            self.text.push(character);
            match character {
                '"' => return,
                '\\' => self.text.extend(rest.next()),
                _ => {}
            }
        }
    }

    fn break_line(&mut self, depth: usize) {
        self.depth = depth;
        self.text.push('\n');
        self.text.push_str(&"  ".repeat(depth.min(INDENT_MAX)));
    }
}

/// The first bytes, 16 on a line: position, hexadecimal, ASCII.
fn hex_dump(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(HEX_BYTES_MAX)];
    let mut dump = Vec::new();
    for (line, chunk) in shown.chunks(16).enumerate() {
        let mut hex = String::new();
        for byte in chunk {
            // Writing to a `String` does not fail.
            let _ = write!(hex, "{byte:02x} ");
        }
        let visible = |&byte: &u8| if matches!(byte, b' '..=b'~') { byte as char } else { '.' };
        let ascii: String = chunk.iter().map(visible).collect();
        dump.push(format!("{:08x}  {hex:<48} |{ascii}|", line * 16));
    }
    if shown.len() < bytes.len() {
        dump.push(format!("… {} bytes more: `--raw` writes them all", bytes.len() - shown.len()));
    }
    dump.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Claim, Data, indent};

    #[test]
    fn json_keeps_its_digits_and_the_order_of_its_members() {
        let laid_out = indent(r#"{"z": 12345678901234567890.10,"a":[ ],"q":["\"{,",{"b":null}]}"#);
        let expected = "{\n  \"z\": 12345678901234567890.10,\n  \"a\": [],\n  \"q\": [\n    \
                        \"\\\"{,\",\n    {\n      \"b\": null\n    }\n  ]\n}";
        assert_eq!(laid_out, expected);
    }

    #[test]
    fn deep_json_does_not_drown_in_its_indentation() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(indent(&deep).len() < 2_000_000);
    }

    #[test]
    fn data_is_what_its_bytes_and_its_content_type_say() {
        let check = |bytes: &[u8], claim, name| assert_eq!(Data::of(bytes, claim).name(), name);
        check(b"", Claim::Json, "none");
        check(b"{\"a\":1}", Claim::Json, "json");
        check(b"{\"a\":1}", Claim::Other, "text");
        check(b"{broken", Claim::Json, "text");
        check(b"\xff\x00", Claim::Json, "base64");
    }

    #[test]
    fn a_hex_dump_shows_the_head_and_says_how_much_is_left() {
        let mut bytes = b"once\x00".to_vec();
        bytes.resize(300, 0xff);
        let dump = Data::of(&bytes, Claim::Json).to_lines();
        assert!(dump.starts_with("00000000  6f 6e 63 65 00 ff"), "{dump}");
        assert!(dump.lines().next().is_some_and(|line| line.ends_with("|once............|")));
        assert!(dump.ends_with("… 44 bytes more: `--raw` writes them all"), "{dump}");
    }
}

//! Words that fit: measured, wrapped and freed of what would break a diagram.

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Terminals show East Asian letters and emoji two columns wide, and marks that join the letter
/// before not at all.
fn width_of(letter: char) -> usize {
    match letter as u32 {
        0x0300..=0x036f | 0x200b..=0x200d | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f000..=0x1faff
        | 0x2_0000..=0x3_fffd => 2,
        _ => 1,
    }
}

/// The text on one line: handlers and their data may hold letters that move the cursor, change the
/// colour or the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let harmless = |letter: char| match letter {
        letter if letter.is_whitespace() => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        letter if letter.is_control() => '\u{fffd}',
        letter => letter,
    };
    text.chars().map(harmless).collect()
}

/// The columns that the first line of a text has, and each of the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) first: usize,
    pub(super) rest: usize,
    /// What goes beyond so many lines is left out, and shown to be.
    pub(super) lines_max: usize,
}

impl Room {
    /// The same for every line.
    pub(super) fn new(columns: usize, lines_max: usize) -> Self {
        Self { first: columns, rest: columns, lines_max }
    }

    fn of(&self, line: usize) -> usize {
        if line == 0 { self.first } else { self.rest }
    }
}

/// The text in lines that fit, broken at spaces where possible.
pub(super) fn wrap(text: &str, room: Room) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in plain(text).split_whitespace() {
        for (at, piece) in pieces(word, room.first.min(room.rest)).into_iter().enumerate() {
            add(&mut lines, &piece, room, at == 0);
        }
    }
    if lines.len() > room.lines_max {
        lines.truncate(room.lines_max);
        let columns = room.of(room.lines_max - 1);
        if let Some(last) = lines.last_mut() {
            shorten(last, columns);
        }
    }
    lines
}

fn add(lines: &mut Vec<String>, piece: &str, room: Room, is_word: bool) {
    let columns = room.of(lines.len() - 1);
    let Some(last) = lines.last_mut() else { return };
    let space = usize::from(is_word && !last.is_empty());
    if width(last) + space + width(piece) <= columns {
        last.push_str(if space > 0 { " " } else { "" });
        last.push_str(piece);
    } else {
        lines.push(piece.to_owned());
    }
}

/// A word in pieces that fit: data without a space is one long word.
fn pieces(word: &str, columns: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for letter in word.chars() {
        let wide = width_of(letter);
        if used + wide > columns.max(2) {
            pieces.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(piece) = pieces.last_mut() {
            piece.push(letter);
        }
    }
    pieces
}

fn shorten(line: &mut String, columns: usize) {
    while width(line) + 1 > columns && line.pop().is_some() {}
    line.push('…');
}

//! Text that came from elsewhere, made safe for a terminal.

use std::fmt::Write as _;

/// `text` on one line, with whatever could steer a terminal written out: `\n`, `\u{1b}`.
pub(crate) fn one_line(text: &str) -> String {
    escape(text, |_| false)
}

/// `text` with its lines and tabs, and whatever else could steer a terminal written out.
pub(crate) fn lines(text: &str) -> String {
    escape(text, |character| matches!(character, '\n' | '\t'))
}

/// `text` with every line but the first moved right by `columns`.
pub(crate) fn hang(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(columns)))
}

/// `count` things: `1 dead letter`, `2 dead letters`.
pub(crate) fn count(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// `url` as a word of a shell's command line, or `URL` where it may hold a password.
pub(crate) fn shell_url(url: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:".contains(character);
    if url.contains(['@', '?']) {
        "URL".to_owned()
    } else if url.chars().all(plain) {
        url.to_owned()
    } else {
        format!("'{}'", one_line(url).replace('\'', r"'\''"))
    }
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if keep(character) || !steers(character) {
            safe.push(character);
        } else {
            // Writing to a `String` does not fail.
            let _ = write!(safe, "{}", character.escape_default());
        }
    }
    safe
}

/// Control characters, and those that turn the direction of writing.
fn steers(character: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    character.is_control() || turns.iter().any(|range| range.contains(&character))
}

#[cfg(test)]
mod tests {
    use super::{lines, one_line, shell_url};

    #[test]
    fn what_could_steer_a_terminal_is_written_out() {
        assert_eq!(one_line("a\nb\u{1b}[2J\u{202e}"), r"a\nb\u{1b}[2J\u{202e}");
        assert_eq!(lines("ä\n\tb\rc"), "ä\n\tb\\rc");
    }

    #[test]
    fn a_url_is_quoted_for_the_shell_and_loses_its_password() {
        assert_eq!(shell_url("sqlite:/var/shop.db"), "sqlite:/var/shop.db");
        assert_eq!(shell_url("sqlite:it's here.db"), r"'sqlite:it'\''s here.db'");
        assert_eq!(shell_url("postgres://me:secret@host/shop"), "URL");
    }
}

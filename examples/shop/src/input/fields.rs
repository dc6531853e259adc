//! One line of CSV into its fields.
//!
//! A record is one line. A quoted field that runs on over the line end is refused: were it allowed,
//! one forgotten quote would swallow every order up to the next quote, or to the end of the file.

use std::borrow::Cow;

/// The fields of one line.
pub(super) type Fields<'a> = Vec<Cow<'a, str>>;

/// A quoted field that is not closed on its line, or that is followed by more than a comma.
#[derive(Debug)]
pub(super) struct BrokenQuote<'a> {
    /// The fields before the broken one.
    pub(super) before: Fields<'a>,
}

/// Splits a line at its commas. A quote in the middle of a field is an ordinary character
/// (`6" RULER`); one at its start opens a quoted field, in which `""` stands for one quote.
pub(super) fn split(line: &str) -> Result<Fields<'_>, BrokenQuote<'_>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            None => plain(rest),
            Some(inside) => match quoted(inside) {
                Some(found) => found,
                None => return Err(BrokenQuote { before: fields }),
            },
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The field up to the next comma, and what follows.
fn plain(text: &str) -> (Cow<'_, str>, &str) {
    let (field, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    (Cow::Borrowed(field), after)
}

/// The field up to its closing quote, and what follows: nothing or a comma.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut searched = 0;
    loop {
        let quote = searched + text.get(searched..)?.find('"')?;
        let after = text.get(quote + 1..)?;
        if after.starts_with('"') {
            searched = quote + 2;
            continue;
        }
        let field = text.get(..quote)?;
        let field = if field.contains('"') {
            Cow::Owned(field.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(field)
        };
        return (after.is_empty() || after.starts_with(',')).then_some((field, after));
    }
}

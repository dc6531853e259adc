//! The tables inside a page that someone wrote, between two marks.

use std::path::Path;

use semel_check::compare::{Compared, Size};

use super::markdown::{self, Notes};
use crate::args::CompareArgs;
use crate::failure::{Exit, Failure};
use crate::output::Output;

/// What stands before the tables, on a line of its own.
const BEGIN: &str = "<!-- tables begin -->\n";
/// What stands after them.
const END: &str = "<!-- tables end -->\n";

/// Puts the tables into the page, or says whether they are in it.
pub(super) fn write(
    path: &Path,
    all: &[Compared],
    args: &CompareArgs,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let page = std::fs::read_to_string(path).map_err(|error| {
        let reason = format!("the page `{}` cannot be read: {error}", path.display());
        Failure::new(Exit::Output, reason, "Name a Markdown page that is there.")
    })?;
    let size = Size { faults: args.faults, ..Size::default() };
    let Some(new) = with_tables(&page, &markdown::tables(all, size, Notes::Left)) else {
        return Err(Failure::new(
            Exit::Usage,
            format!("`{}` has no place for the tables", path.display()),
            format!("Write these two lines where they shall be:\n{BEGIN}{END}"),
        ));
    };
    let is_same = new == page;
    if args.dry_run && !is_same {
        output.line(&format!("The tables in `{}` are out of date.", path.display()))?;
        return Ok(Exit::NotAll);
    }
    if !is_same {
        super::write(path, &new)?;
    }
    let what = if is_same { "are as they were" } else { "are new" };
    output.line(&format!("The tables in `{}` {what}.", path.display()))?;
    Ok(Exit::Fine)
}

/// The page with other tables; nothing if it has no place for them.
fn with_tables(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n\n{END}{after}", tables.trim()))
}

#[cfg(test)]
mod tests {
    use super::with_tables;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = "a\n<!-- tables begin -->\nold\n<!-- tables end -->\nb\n";
        let new = with_tables(page, "new\n").unwrap();
        assert_eq!(new, "a\n<!-- tables begin -->\n\nnew\n\n<!-- tables end -->\nb\n");
        assert_eq!(with_tables(&new, "new").as_deref(), Some(&*new));
        assert_eq!(with_tables("a\n", "new"), None);
    }
}

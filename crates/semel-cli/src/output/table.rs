//! Tables on the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Row, Table as Grid, TableComponent};

use super::text;

/// A column: its heading, and the side on which its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text.
    Text(&'static str),
    /// Numbers, which line up on the right.
    Number(&'static str),
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table(Grid);

impl Table {
    /// A table without rows. Given a width, cells that do not fit are shortened.
    pub(crate) fn new(columns: &[Column], width: Option<u16>) -> Self {
        let mut grid = Grid::new();
        grid.load_preset(NOTHING)
            .set_style(TableComponent::HeaderLines, '─')
            .set_style(TableComponent::MiddleHeaderIntersections, '─')
            .set_truncation_indicator("…")
            .set_header(columns.iter().map(|column| match column {
                Column::Text(heading) | Column::Number(heading) => Cell::new(heading),
            }));
        if let Some(width) = width {
            grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (shape, column) in grid.column_iter_mut().zip(columns) {
            shape.set_padding((0, 1));
            if let Column::Number(_) = column {
                shape.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(grid)
    }

    /// Adds a row. What could steer the terminal is written out.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row = Row::from(cells.into_iter().map(|cell| text::one_line(&cell)));
        row.max_height(1);
        self.0.add_row(row);
    }

    /// The table as lines.
    pub(crate) fn render(&self) -> String {
        self.0.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::{Column, Table};

    fn table(width: Option<u16>) -> String {
        let mut table = Table::new(&[Column::Number("number"), Column::Text("failure")], width);
        table.row(["7".to_owned(), "the card\nwas refused, and refused again".to_owned()]);
        table.render()
    }

    #[test]
    fn a_cell_that_does_not_fit_is_shortened() {
        let shown = table(Some(30));
        assert!(shown.lines().all(|line| line.chars().count() <= 30), "{shown}");
        assert!(shown.ends_with('…'), "{shown}");
    }

    #[test]
    fn a_table_that_goes_to_a_file_is_whole() {
        assert!(table(None).ends_with(r"the card\nwas refused, and refused again"));
    }
}

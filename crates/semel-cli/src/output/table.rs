//! Tables on the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table as Grid, TableComponent,
    Width,
};

use super::text;

/// A column: its heading, and the side on which its cells stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text.
    Text(&'static str),
    /// Text that is never shortened.
    Name(&'static str),
    /// Text that matters most: it is shortened last.
    Story(&'static str),
    /// Numbers, which line up on the right and are never shortened.
    Number(&'static str),
}

impl Column {
    const fn heading(self) -> &'static str {
        match self {
            Self::Text(heading)
            | Self::Name(heading)
            | Self::Story(heading)
            | Self::Number(heading) => heading,
        }
    }
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
            .set_header(columns.iter().map(|column| Cell::new(column.heading())));
        if let Some(width) = width {
            grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (shape, column) in grid.column_iter_mut().zip(columns) {
            shape.set_padding((0, 1));
            match (column, width) {
                (Column::Number(_), _) => {
                    shape.set_cell_alignment(CellAlignment::Right);
                    shape.set_constraint(ColumnConstraint::ContentWidth);
                }
                (Column::Name(_), _) => {
                    shape.set_constraint(ColumnConstraint::ContentWidth);
                }
                (Column::Story(_), Some(_)) => {
                    shape.set_constraint(ColumnConstraint::LowerBoundary(Width::Percentage(30)));
                }
                (Column::Text(_) | Column::Story(_), _) => {}
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
        let columns = [Column::Number("number"), Column::Text("type"), Column::Story("failure")];
        let mut table = Table::new(&columns, width);
        let kind = "payment.charge.confirmed".to_owned();
        table.row([
            "1234567".to_owned(),
            kind,
            "the card\nwas refused, and refused again".to_owned(),
        ]);
        table.render()
    }

    #[test]
    fn text_that_does_not_fit_is_shortened_and_numbers_are_not() {
        let shown = table(Some(40));
        assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
        assert!(shown.ends_with('…'), "{shown}");
        assert!(shown.contains("1234567"), "{shown}");
        assert!(!table(Some(5)).is_empty());
    }

    #[test]
    fn a_table_that_goes_to_a_file_is_whole() {
        assert!(table(None).ends_with(r"the card\nwas refused, and refused again"));
    }
}

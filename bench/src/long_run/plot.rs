//! A line chart as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 590.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 330.0;
/// Told apart by people who see few colours, too (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#000000", "#e69f00", "#56b4e9", "#009e73", "#b8a500", "#0072b2", "#d55e00", "#cc79a7"];

/// A line with its name.
type Series<'a> = (&'a str, Vec<(f64, f64)>);

/// Draws lines over a common ground; the values begin at zero.
pub(super) fn draw(title: &str, series: &[Series<'_>]) -> String {
    let points = || series.iter().flat_map(|(_, line)| line.iter());
    let x_max = points().map(|(x, _)| *x).fold(0.0, f64::max).max(1.0);
    let y_step = step(points().map(|(_, y)| *y).fold(0.0, f64::max));
    let y_max = y_step * 4.0;
    let x_at = |x: f64| LEFT + (RIGHT - LEFT) * x / x_max;
    let y_at = |y: f64| BOTTOM - (BOTTOM - TOP) * y / y_max;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n"
    );
    text(&mut svg, [LEFT, 24.0], "start", title);
    for tick in 0..=4 {
        let (x, y) = (x_max * f64::from(tick) / 4.0, y_step * f64::from(tick));
        line(&mut svg, ("#cccccc", 1.0), &[(LEFT, y_at(y)), (RIGHT, y_at(y))]);
        text(&mut svg, [LEFT - 8.0, y_at(y) + 4.0], "end", &label(y));
        text(&mut svg, [x_at(x), BOTTOM + 18.0], "middle", &label(x));
    }
    text(&mut svg, [(LEFT + RIGHT) / 2.0, BOTTOM + 38.0], "middle", "messages");
    for ((number, (name, values)), colour) in series.iter().enumerate().zip(COLOURS) {
        // Of lines that lie upon each other, the lower ones show at the edges.
        let pen = (colour, 1.5 + 1.3 * (series.len() - 1 - number) as f64);
        let places: Vec<_> = values.iter().map(|(x, y)| (x_at(*x), y_at(*y))).collect();
        line(&mut svg, pen, &places);
        let y = TOP + 20.0 * number as f64;
        line(&mut svg, pen, &[(RIGHT + 16.0, y), (RIGHT + 40.0, y)]);
        text(&mut svg, [RIGHT + 46.0, y + 4.0], "start", name);
    }
    svg + "</svg>\n"
}

/// A round number, four times which is at least this.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf((most / 4.0).log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * power);
    rounds.into_iter().find(|step| step * 4.0 >= most).unwrap_or(most)
}

fn label(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{}", (value * 1e3).round() / 1e3),
    }
}

fn line(svg: &mut String, (colour, width): (&str, f64), places: &[(f64, f64)]) {
    let places: String = places.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
    let places = places.trim_end();
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width:.1}\"/>"
    );
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::{draw, step};

    #[test]
    fn four_steps_hold_everything_and_are_round() {
        for (most, expected) in [(0.0, 1.0), (4.0, 1.0), (4.1, 2.0), (99.0, 25.0), (0.9, 0.25)] {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
    }

    #[test]
    fn each_series_is_a_line_and_a_name() {
        let series = [("a", vec![(0.0, 0.0), (10.0, 4.0)]), ("<b>", vec![(0.0, 2.0)])];
        let svg = draw("title", &series);
        // From the lower left corner to the upper right one.
        assert!(svg.contains("points=\"70.0,330.0 590.0,44.0\""), "{svg}");
        assert!(svg.contains(">a</text>") && svg.contains(">&lt;b></text>"), "{svg}");
    }
}

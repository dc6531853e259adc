//! One page with everything: tables, and the shortest runs as pictures. It needs nothing from
//! elsewhere, and is readable in the light and in the dark.

use semel_check::Property;
use semel_check::compare::{Compared, FaultClass, Kind, Size, Summary, faults};

use super::words;
use crate::output::text::count;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#ffffff;--ink:#1e293b;--soft:#64748b;--edge:#cbd5e1;\
--head:#f1f5f9;--yes:#dcfce7;--no:#fee2e2;--open:#fef9c3}\
@media (prefers-color-scheme:dark){:root{--page:#0f172a;--ink:#e2e8f0;--soft:#94a3b8;\
--edge:#475569;--head:#1e293b;--yes:#14532d;--no:#7f1d1d;--open:#713f12}}\
body{margin:2rem auto;max-width:88rem;padding:0 1rem;background:var(--page);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
div.wide{overflow-x:auto}table{border-collapse:collapse;margin:1rem 0}\
th,td{border:1px solid var(--edge);padding:.35rem .6rem;text-align:left;white-space:nowrap}\
th{background:var(--head)}td.yes{background:var(--yes)}td.no{background:var(--no)}\
td.open{background:var(--open)}.soft{color:var(--soft)}a{color:inherit}\
details{border:1px solid var(--edge);border-radius:.4rem;margin:.6rem 0;padding:.4rem .8rem}\
summary{cursor:pointer}svg{max-width:100%;height:auto}code{overflow-wrap:anywhere}";

/// The page.
pub(super) fn of(all: &[Compared], size: Size) -> String {
    let parts = [
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>Protocols compared</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>Protocols compared</h1>\n<p>{}</p>\n",
            escape(&words::size(size))
        ),
        properties(all),
        format!("<p>{}</p>\n", escape(&words::assumptions(all))),
        list(words::MEANING.iter().map(|line| (*line).to_owned())),
        list(FaultClass::ALL.map(words::class)),
        numbers(all),
        list(words::MEANING_OF_NUMBERS.iter().map(|line| (*line).to_owned())),
        format!("<p>{}</p>\n", escape(&words::blocking(all))),
        all.iter().map(runs).collect(),
        "</body>\n</html>\n".to_owned(),
    ];
    parts.concat()
}

fn properties(all: &[Compared]) -> String {
    let headings = Property::ALL.map(|property| {
        let says = escape(property.says());
        format!("<th title=\"{says}\">{}</th>", escape(property.name()))
    });
    let mut out =
        format!("<div class=\"wide\"><table>\n<tr><th>protocol</th>{}</tr>\n", headings.concat());
    for compared in all {
        let cells = Property::ALL.map(|property| cell(compared, property));
        out.push_str(&format!("<tr>{}{}</tr>\n", name(compared), cells.concat()));
    }
    out + "</table></div>\n"
}

fn name(compared: &Compared) -> String {
    let (name, about) = (escape(compared.row.name()), escape(compared.row.about()));
    let kind = words::kind(compared.row.kind());
    format!("<th title=\"{about}\">{name} <span class=\"soft\">{kind}</span></th>")
}

fn cell(compared: &Compared, property: Property) -> String {
    let summary = compared.summary(property);
    let text = escape(&words::summary(&summary));
    let class = class(&summary);
    match compared.shortest(property) {
        Some(_) => {
            let anchor = anchor(compared, property);
            format!("<td class=\"{class}\"><a href=\"#{anchor}\">{text}</a></td>")
        }
        None => format!("<td class=\"{class}\">{text}</td>"),
    }
}

fn class(summary: &Summary) -> &'static str {
    match (summary.is_yes(), summary.no.is_empty()) {
        (true, _) => "yes",
        (false, true) => "open",
        (false, false) => "no",
    }
}

fn anchor(compared: &Compared, property: Property) -> String {
    escape(&format!("{}-{}", compared.row.name(), property.name()))
}

fn numbers(all: &[Compared]) -> String {
    let headings: String =
        words::NUMBERS.iter().map(|heading| format!("<th>{}</th>", escape(heading))).collect();
    let mut out = format!("<div class=\"wide\"><table>\n<tr>{headings}</tr>\n");
    for compared in all {
        let cells = words::numbers(compared);
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
        out.push_str(&format!("<tr>{}{cells}</tr>\n", name(compared)));
    }
    out + "</table></div>\n"
}

fn list(lines: impl IntoIterator<Item = String>) -> String {
    let items = lines.into_iter().map(|line| format!("<li>{}</li>\n", escape(&line)));
    format!("<ul>\n{}</ul>\n", items.collect::<String>())
}

/// The shortest run for each property that a row violates.
fn runs(compared: &Compared) -> String {
    let row = &compared.row;
    let model = match row.kind() {
        Kind::Ships => "",
        Kind::Model => " A model, not for use.",
    };
    let mut out = format!(
        "<h2>{}</h2>\n<p>{}; on {}.{model}</p>\n",
        escape(row.name()),
        escape(row.about()),
        escape(row.place().says())
    );
    for property in Property::ALL {
        let Some((class, found)) = compared.shortest(property) else { continue };
        let (steps, faults) =
            (count(found.trace.steps.len(), "step"), count(faults(found), "fault"));
        out.push_str(&format!(
            "<details id=\"{}\"><summary>{} under {}, {steps}, {faults}</summary>\n<p>{}</p>\n\
             <p class=\"soft\"><code>semel compare --replay {}</code></p>\n{}\n</details>\n",
            anchor(compared, property),
            escape(property.name()),
            escape(class.name()),
            escape(&found.violation.detail),
            escape(&found.replay),
            found.trace.to_svg().trim()
        ));
    }
    out
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in a page, whatever is before it.
            letter if letter.is_control() && letter != '\n' => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_gets_out_of_its_text() {
        let text = "<script>&'\"\u{1b}";
        assert_eq!(escape(text), "&lt;script&gt;&amp;&#39;&quot;\u{fffd}");
    }
}

//! One page with everything: tables, and the shortest runs as pictures. It needs nothing from
//! elsewhere, and is readable in the light and in the dark.

use semel_check::compare::{Compared, FaultClass, Kind, Size, Summary, faults};
use semel_check::{Counterexample, Property};

use super::words;
use crate::output::text::count;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#ffffff;--ink:#1e293b;--soft:#475569;--edge:#cbd5e1;\
--head:#f1f5f9;--yes:#e3f7ea;--no:#fee2e2;--open:#fef9c3;--mark:#2563eb}\
@media (prefers-color-scheme:dark){:root{--page:#0f172a;--ink:#e2e8f0;--soft:#a3b1c6;\
--edge:#475569;--head:#1e293b;--yes:#12352a;--no:#6b1d24;--open:#5c4310;--mark:#60a5fa}}\
body{margin:2rem auto;max-width:88rem;padding:0 1rem;background:var(--page);color:var(--ink);\
font:15px/1.5 system-ui,sans-serif}\
p,ul{max-width:60rem}ul{padding-left:1.4rem}a{color:inherit}h2,h3{margin-top:2.2rem}\
.soft{color:var(--soft)}code{overflow-wrap:anywhere}\
.wide{overflow-x:auto;margin:1rem 0}table{border-collapse:separate;border-spacing:0;\
border:solid var(--edge);border-width:1px 0 0 1px}\
th,td{border:solid var(--edge);border-width:0 1px 1px 0;padding:.35rem .6rem;text-align:left;\
vertical-align:top}td,th.name{white-space:nowrap}th{background:var(--head)}\
th.name{position:sticky;left:0}th.group{padding-top:.8rem;color:var(--soft)}\
th.group span{position:sticky;left:.6rem}\
td.yes{background:var(--yes)}td.no{background:var(--no)}td.open{background:var(--open)}\
details{border:1px solid var(--edge);border-radius:.4rem;margin:.6rem 0;padding:.4rem .8rem}\
details:has(:target){border-color:var(--mark)}.run{scroll-margin-top:4rem}\
summary{cursor:pointer}svg{display:block;max-width:100%;min-width:56rem;height:auto}\
@media (max-width:40rem){body{margin:1rem auto;font-size:14px}th,td{padding:.3rem .4rem}}";

/// The page.
pub(super) fn of(all: &[Compared], size: Size) -> String {
    let parts = [
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>Protocols compared</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>Protocols compared</h1>\n"
        ),
        paragraph(
            "Each row is a protocol, each column a property that it should give. A cell that says \
             in which case the property is violated leads to the shortest run that shows it.",
        ),
        paragraph(&words::size(size)),
        "<h2>What holds</h2>\n".to_owned(),
        properties(all),
        paragraph(&words::assumptions(all)),
        "<h3>The cells</h3>\n".to_owned(),
        list(words::MEANING.iter().map(|line| (*line).to_owned())),
        "<h3>The letters: faults</h3>\n".to_owned(),
        list(FaultClass::ALL.map(words::class)),
        "<h3>The columns: properties</h3>\n".to_owned(),
        list(Property::ALL.map(|property| format!("{property}: {}", property.says()))),
        "<h2>What it costs</h2>\n".to_owned(),
        numbers(all),
        list(words::MEANING_OF_NUMBERS.iter().map(|line| (*line).to_owned())),
        paragraph(&words::blocking(all)),
        "<h2>The shortest runs</h2>\n".to_owned(),
        all.iter().map(runs).collect(),
        "</body>\n</html>\n".to_owned(),
    ];
    parts.concat()
}

fn properties(all: &[Compared]) -> String {
    let headings = Property::ALL.map(|property| {
        let says = escape(property.says());
        format!("<th scope=\"col\" title=\"{says}\">{}</th>", breakable(property.name()))
    });
    let cells =
        |compared: &Compared| Property::ALL.map(|property| cell(compared, property)).concat();
    table("What holds", &headings, all, cells)
}

fn numbers(all: &[Compared]) -> String {
    let headings = words::NUMBERS[1..].iter();
    let headings: Vec<String> =
        headings.map(|heading| format!("<th scope=\"col\">{}</th>", escape(heading))).collect();
    let cells = |compared: &Compared| {
        let cells = words::numbers(compared);
        cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect()
    };
    table("What it costs", &headings, all, cells)
}

/// A table that scrolls by itself where it is too wide. What ships comes apart from the models.
fn table(
    label: &str,
    headings: &[String],
    all: &[Compared],
    cells: impl Fn(&Compared) -> String,
) -> String {
    let mut out = format!(
        "<div class=\"wide\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\"><table>\n\
         <thead><tr><th class=\"name\" scope=\"col\">protocol</th>{}</tr></thead>\n",
        headings.concat()
    );
    for (kind, says) in [
        (Kind::Ships, "Protocols that ship"),
        (Kind::Model, "Models of what teams use today, not for use"),
    ] {
        let mut rows = all.iter().filter(|compared| compared.row.kind() == kind).peekable();
        if rows.peek().is_none() {
            continue;
        }
        out.push_str(&format!(
            "<tbody><tr><th class=\"group\" scope=\"rowgroup\" colspan=\"{}\"><span>{says}</span></th></tr>\n",
            headings.len() + 1
        ));
        for compared in rows {
            out.push_str(&format!("<tr>{}{}</tr>\n", name(compared), cells(compared)));
        }
        out.push_str("</tbody>\n");
    }
    out + "</table></div>\n"
}

fn name(compared: &Compared) -> String {
    let (name, about) = (escape(compared.row.name()), escape(compared.row.about()));
    format!(
        "<th class=\"name\" scope=\"row\" title=\"{about}\"><a href=\"#{name}\">{name}</a></th>"
    )
}

fn cell(compared: &Compared, property: Property) -> String {
    let summary = compared.summary(property);
    let text = escape(&words::summary(&summary));
    let class = class(&summary);
    match compared.shortest(property) {
        Some((under, found)) => {
            let (anchor, run) = (anchor(compared, property), escape(&run(under, found)));
            format!(
                "<td class=\"{class}\"><a href=\"#{anchor}\" title=\"The shortest run: {run}\">{text}</a></td>"
            )
        }
        None => format!("<td class=\"{class}\">{text}</td>"),
    }
}

/// `under writes, 5 steps, 1 fault`.
fn run(class: FaultClass, found: &Counterexample) -> String {
    let (steps, faults) = (count(found.trace.steps.len(), "step"), count(faults(found), "fault"));
    format!("under {} ({}), {steps}, {faults}", class.name(), class.letter())
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

/// A paragraph, if there is anything to say.
fn paragraph(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => format!("<p>{}</p>\n", prose(&sentence(text))),
    }
}

/// The same with a capital letter at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What each line explains stands before its first colon.
fn list(lines: impl IntoIterator<Item = String>) -> String {
    let item = |line: String| match line.split_once(": ") {
        Some((word, rest)) => format!("<li><b>{}</b>: {}</li>\n", prose(word), prose(rest)),
        None => format!("<li>{}</li>\n", prose(&line)),
    };
    format!("<ul>\n{}</ul>\n", lines.into_iter().map(item).collect::<String>())
}

/// The shortest run for each property that a row violates.
fn runs(compared: &Compared) -> String {
    let row = &compared.row;
    let model = match row.kind() {
        Kind::Ships => "",
        Kind::Model => " A model, not for use.",
    };
    let (name, about) = (escape(row.name()), row.about());
    let mut out = format!("<h3 id=\"{name}\">{name}</h3>\n");
    out.push_str(&paragraph(&format!("{about}; on {}.{model}", row.place().says())));
    let before = out.len();
    for property in Property::ALL {
        let Some((class, found)) = compared.shortest(property) else { continue };
        // Who follows a link to what lies inside finds it open; to the whole, closed.
        out.push_str(&format!(
            "<details><summary>{} {}</summary>\n<div class=\"run\" id=\"{}\">\n<p>{}</p>\n\
             <p class=\"soft\"><code>semel compare --replay {}</code></p>\n\
             <div class=\"wide\">{}</div>\n</div>\n</details>\n",
            escape(property.name()),
            escape(&run(class, found)),
            anchor(compared, property),
            escape(&sentence(&found.violation.detail)),
            escape(&found.replay),
            found.trace.to_svg().trim()
        ));
    }
    if out.len() == before {
        out.push_str("<p class=\"soft\">No run was found that violates anything.</p>\n");
    }
    out
}

/// A name that may be broken before each of its words: `AtMost` and `OneEffect`.
fn breakable(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            out.push_str("<wbr/>");
        }
        out.push_str(&escape(letter.encode_utf8(&mut [0; 4])));
    }
    out
}

/// Words in which code stands between backticks.
fn prose(text: &str) -> String {
    let part = |(at, part): (usize, &str)| match at % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    };
    text.split('`').enumerate().map(part).collect()
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
    use super::{breakable, escape, prose};

    #[test]
    fn nothing_gets_out_of_its_text() {
        let text = "<script>&'\"\u{1b}";
        assert_eq!(escape(text), "&lt;script&gt;&amp;&#39;&quot;\u{fffd}");
    }

    #[test]
    fn code_and_long_names_are_marked_up() {
        assert_eq!(prose("under `a<b` only"), "under <code>a&lt;b</code> only");
        assert_eq!(breakable("NoGarbage"), "No<wbr/>Garbage");
    }
}

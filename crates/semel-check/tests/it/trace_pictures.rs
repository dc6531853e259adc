//! The diagram for pages: nothing that a handler or its data holds can break it.

use semel_check::trace::Changed;

use crate::trace_text::{everything, hostile};

/// Reads XML as far as these pictures use it; tells what is wrong with it.
fn check_xml(xml: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        check_text(&rest[..at])?;
        let end = rest[at..].find('>').ok_or("a tag does not end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let expected: Option<&str> = open.pop();
            if expected != Some(name) {
                return Err(format!("</{name}> ends {expected:?}"));
            }
        } else {
            check_tag(tag.trim_end_matches('/'))?;
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
    }
    check_text(rest)?;
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} are not closed")) }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let quotes = tag.matches('"').count();
    let values = tag.matches("=\"").count();
    let is_sound = quotes == 2 * values && !tag.contains('&');
    if is_sound { Ok(()) } else { Err(format!("<{tag}>")) }
}

fn check_text(text: &str) -> Result<(), String> {
    const ENTITIES: [&str; 5] = ["amp;", "lt;", "gt;", "quot;", "#39;"];
    let is_char = |letter: char| {
        letter == '\n' || !letter.is_control() && letter < '\u{fffe}' || letter > '\u{ffff}'
    };
    if !text.chars().all(is_char) {
        return Err(format!("no XML has such letters: {text:?}"));
    }
    let mut ends = text.split('&').skip(1);
    match ends.find(|end| !ENTITIES.iter().any(|entity| end.starts_with(entity))) {
        None => Ok(()),
        Some(end) => Err(format!("a bare & before `{end}`")),
    }
}

#[test]
fn the_check_of_xml_finds_what_is_wrong() {
    check_xml("<a b=\"c\"><d/>&lt;e</a>").unwrap();
    for broken in ["<a>", "<a></b>", "<a b=\"></a>", "a & b", "<a/>\u{0}", "<a"] {
        assert!(check_xml(broken).is_err(), "{broken:?}");
    }
}

#[test]
fn pictures_are_well_formed_whatever_they_show() {
    check_xml(&everything().to_svg()).unwrap();
    for lanes in 1..=6 {
        check_xml(&hostile(lanes, 40).to_svg()).unwrap();
    }
}

#[test]
fn pictures_need_nothing_from_elsewhere() {
    let picture = hostile(5, 40).to_svg();
    let namespace = "http://www.w3.org/2000/svg";
    assert_eq!(picture.matches("http").count(), 1);
    assert!(picture.contains(namespace));
    for reference in ["href", "url(", "@import", "<script", "<image", "<foreignObject"] {
        assert!(!picture.contains(reference), "{reference}");
    }
}

/// The value of an attribute that is a whole number.
fn number(tag: &str, name: &str) -> Option<usize> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"')?.0.parse().ok()
}

#[test]
fn everything_lies_within_the_picture() {
    let picture = hostile(5, 40).to_svg();
    let tags: Vec<&str> = picture.split('<').collect();
    let root = tags.iter().find(|tag| tag.starts_with("svg ")).unwrap();
    let (width, height) = (number(root, "width").unwrap(), number(root, "height").unwrap());
    for tag in &tags {
        for (name, limit) in [("x", width), ("cx", width), ("y", height), ("cy", height)] {
            let at = number(tag, name).unwrap_or(0);
            assert!(at <= limit, "{name} is beyond {limit}: {tag}");
        }
    }
}

#[test]
fn a_step_that_violates_and_steps_at_fault_stand_out() {
    let picture = everything().to_svg();
    assert_eq!(picture.matches("class=\"numberlast\"").count(), 1);
    assert_eq!(picture.matches("class=\"warm\"").count(), 4);
    assert!(picture.contains("VIOLATED after step 9"));
}

#[test]
fn a_long_picture_names_its_lanes_again_and_again() {
    let names = |steps| hostile(2, steps).to_svg().matches("class=\"headactor\"").count();
    // At the top and at the bottom; between them only where more than a few steps follow.
    assert_eq!([names(15), names(18), names(19), names(40)], [2, 2, 3, 4]);
}

#[test]
fn a_change_is_marked_on_the_lane_of_its_place() {
    let change = |lane| Changed { lane, what: format!("+ {lane}") };
    let mut trace = everything();
    trace.steps.truncate(4);
    trace.steps[3].changes = vec![change(2), change(3)];
    let text = trace.to_string();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains('◆')).skip(1).collect();
    let column = |row: &str| row.chars().position(|letter| letter == '◆').unwrap();
    assert_eq!(column(rows[1]) - column(rows[0]), 10, "{text}");
    let diagram = trace.to_mermaid();
    assert!(diagram.contains("Note over L2: + 2\n    Note over L3: + 3"), "{diagram}");
    assert!(diagram.trim_end().contains("deactivate L0"), "{diagram}");
}

#[test]
fn a_mermaid_diagram_has_an_arrow_for_each_kind() {
    let diagram = everything().to_mermaid();
    let expected = [
        "actor L0 as worker 1",
        "participant L2 as store",
        "L3->>L0: 1. delivery 1 of d1",
        "L0->>L2: 2. LoadEntity#58; read alice",
        "L2-->>L0: nothing there",
        "L0-xL2: 3. ",
        "L2--xL0: FAULT#58; applied, but worker 1 never hears of it",
        "L0-)L2: 5. ",
        "L0--)L2: 6. ",
        "Note over L0: FAULT#58; 8. worker 1 crashes",
        "Note over L0,L3: VIOLATED after step 9<br/>AtMostOneStateChange#58; d1 changed",
    ];
    for part in expected {
        assert!(diagram.contains(part), "`{part}` is not in\n{diagram}");
    }
}

/// One line of a diagram without its text, which must be free of what Mermaid reads.
fn statement(line: &str) -> &str {
    let line = line.trim();
    let (statement, text) = match line.split_once(": ").or_else(|| line.split_once(" as ")) {
        Some(parts) => parts,
        None => return line,
    };
    let text = text.replace("<br/>", "");
    assert!(!text.contains(['<', '>', '"', '&', '%', ':', '\\', '`', '$', '~']), "{line}");
    let mut rest = text.as_str();
    while let Some((_, entity)) = rest.split_once('#') {
        let (code, after) = entity.split_once(';').unwrap_or(("none", ""));
        assert!(code.parse::<u32>().is_ok(), "{line}");
        rest = after;
    }
    assert!(!rest.contains(';'), "{line}");
    statement
}

#[test]
fn no_text_of_a_handler_is_read_by_mermaid() {
    let diagram = hostile(5, 40).to_mermaid();
    let (mut rects, mut ends) = (0, 0);
    let mut active = [0; 5];
    for line in diagram.lines() {
        let statement = statement(line);
        let mut words = statement.split(' ');
        match (words.next(), words.next()) {
            (Some("rect"), _) => rects += 1,
            (Some("end"), None) => ends += 1,
            (Some("activate"), Some(lane)) => active[lane_of(lane)] += 1,
            (Some("deactivate"), Some(lane)) => {
                active[lane_of(lane)] -= 1;
                assert!(active[lane_of(lane)] >= 0, "{line}");
            }
            (Some("sequenceDiagram" | "Note" | "actor" | "participant"), _) => {}
            (Some(arrow), None) => assert!(arrow.starts_with('L'), "{line}"),
            _ => panic!("no statement of a diagram: {line}"),
        }
    }
    assert_eq!((rects, ends), (10, 10));
    assert_eq!(active, [0; 5], "every bar ends");
}

fn lane_of(name: &str) -> usize {
    name.trim_start_matches('L').parse().unwrap_or(usize::MAX)
}

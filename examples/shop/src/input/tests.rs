//! What becomes of the lines of a file. Whole files, garbage, and made-up orders have files of
//! their own.

mod conservation;
mod made_up;
mod whole_files;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::day::DayInput;
use super::error::InputError;
use super::lines::LINE_BYTES_MAX;
use super::{Invoice, InvoiceKind, Line, read_orders};

const HEADER: &str =
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

/// A folder with a file of orders in it.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn with(orders: &[u8]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("orders.csv"), orders).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self) -> Result<DayInput, InputError> {
        read_orders(&self.path("orders.csv"), &self.path("rejects.csv"))
    }

    /// The rows of the rejects file, without its column names.
    fn rejects(&self) -> Vec<[String; 4]> {
        let mut rows = csv::Reader::from_path(self.path("rejects.csv")).unwrap();
        assert_eq!(rows.headers().unwrap(), vec!["line", "invoice", "reason", "text"]);
        rows.deserialize().collect::<Result<_, _>>().unwrap()
    }
}

/// An invoice in short: `536365 of 17850: 6 85123A at 255`.
fn in_short(invoice: &Invoice) -> String {
    let customer = invoice.customer.as_deref().unwrap_or("a guest");
    let line = |line: &Line| format!("{} {} at {}", line.quantity, line.sku, line.unit_price_pence);
    let lines: Vec<String> = invoice.lines.iter().map(line).collect();
    format!("{} of {customer}: {}", invoice.number, lines.join(", "))
}

/// The invoices that come of a whole file, after the first line's column names.
fn check_file(file: &[u8], expected: &[&str]) {
    let day = Folder::with(file).read().unwrap();
    let invoices: Vec<String> = day.invoices.iter().map(in_short).collect();
    assert_eq!(invoices, expected, "{}", file.escape_ascii());
}

/// The invoices that come of these lines, below the usual column names.
fn check(lines: &str, expected: &[&str]) {
    check_file(format!("{HEADER}{lines}").as_bytes(), expected);
}

/// The last of these lines is rejected for `reason`, and is found with its text in the file.
fn check_reject(lines: &str, reason: &str) {
    let folder = Folder::with(format!("{HEADER}{lines}").as_bytes());
    let day = folder.read().unwrap();
    let reasons = serde_json::to_value(&day.rejects.by_reason).unwrap();
    assert_eq!(reasons, serde_json::json!({ reason: 1 }), "{lines}");
    assert_eq!(day.rejects.file, Some(folder.path("rejects.csv")));

    let [number, _, _, text] = folder.rejects().remove(0);
    assert_eq!(number, (lines.lines().count() + 1).to_string());
    assert_eq!(Some(text.as_str()), lines.lines().last());
}

/// A line whose quantity, price and so on are put in at the places of `{}`.
fn line(number: &str, sku: &str, quantity: &str, price: &str, customer: &str) -> String {
    format!("{number},{sku},A GIFT,{quantity},2010-12-01 08:26:00,{price},{customer},France\n")
}

#[test]
fn an_order_and_a_credit_note_are_read() {
    let order = line("536365", "85123A", "6", "2.55", "17850.0");
    check(&order, &["536365 of 17850: 6 85123A at 255"]);
    let credit_note = line("C536379", "D", "-1", "27.50", "14527");
    check(&credit_note, &["C536379 of 14527: 1 D at 2750"]);

    let day = Folder::with(format!("{HEADER}{order}{credit_note}").as_bytes()).read().unwrap();
    let kinds: Vec<InvoiceKind> = day.invoices.iter().map(|invoice| invoice.kind).collect();
    assert_eq!(kinds, [InvoiceKind::Order, InvoiceKind::CreditNote]);
    let totals: Vec<i64> = day.invoices.iter().map(Invoice::total_pence).collect();
    assert_eq!(totals, [1530, 2750]);
    assert_eq!((day.lines_read, day.rejects.lines, day.rejects.file), (2, 0, None));
}

#[test]
fn lines_of_an_invoice_are_gathered_in_order_of_first_appearance() {
    let lines = [("2", "A"), ("1", "B"), ("2", "A"), ("2", "C"), ("1", "D")];
    let lines = lines.map(|(number, sku)| line(number, sku, "1", "1", "7"));
    let expected = ["2 of 7: 1 A at 100, 1 A at 100, 1 C at 100", "1 of 7: 1 B at 100, 1 D at 100"];
    check(&lines.concat(), &expected);
}

#[test]
fn an_invoice_has_the_customer_that_any_of_its_lines_names() {
    let guest = line("1", "A", "1", "1", "");
    check(&guest, &["1 of a guest: 1 A at 100"]);
    let named = line("1", "B", "1", "1", "7");
    check(&format!("{guest}{named}{guest}"), &["1 of 7: 1 A at 100, 1 B at 100, 1 A at 100"]);
    check_reject(&format!("{named}{}", line("1", "C", "1", "1", "8")), "other_customer");
}

#[test]
fn a_rejected_line_does_not_name_the_customer() {
    let lines = [line("1", "A", "0", "1", "7"), line("1", "B", "1", "1", "8")].concat();
    check(&lines, &["1 of 8: 1 B at 100"]);
}

#[test]
fn a_customer_number_loses_its_zero_fraction_and_nothing_else() {
    for (written, read) in
        [("17850.0", "17850"), (" 17850.00 ", "17850"), ("17850.5", "17850.5"), ("ann.0", "ann.0")]
    {
        let expected = format!("1 of {read}: 1 A at 100");
        check(&line("1", "A", "1", "1", written), &[&expected]);
    }
}

#[test]
fn prices_are_whole_pence() {
    for (written, pence) in
        [("2.55", 255), ("2.5", 250), ("2", 200), ("2.", 200), (".05", 5), ("+0.010", 1)]
    {
        let expected = format!("1 of 7: 1 A at {pence}");
        check(&line("1", "A", "1", written, "7"), &[&expected]);
    }
    check(&line("1", "A", "1", "1000000.00", "7"), &["1 of 7: 1 A at 100000000"]);
}

#[test]
fn a_bad_price_is_rejected() {
    for price in ["", "-", ".", "free", "1e3", "NaN", "£2", "0x10", "1.2.3", "--1", "2 55"] {
        check_reject(&line("1", "A", "1", price, "7"), "price_not_a_number");
    }
    for price in ["0", "0.00", "-0.01", "-11062.06", "-0.001"] {
        check_reject(&line("1", "A", "1", price, "7"), "price_not_above_zero");
    }
    for price in ["0.001", "2.555"] {
        check_reject(&line("1", "A", "1", price, "7"), "price_not_whole_pence");
    }
    for price in ["1000000.01", "99999999999999999999999", "92233720368547758.08"] {
        check_reject(&line("1", "A", "1", price, "7"), "price_too_large");
    }
}

#[test]
fn a_bad_quantity_is_rejected() {
    for quantity in ["", "-", "two", "1.5", "1e3", "0x1", "1 2", "."] {
        check_reject(&line("1", "A", quantity, "1", "7"), "quantity_not_whole");
    }
    for quantity in ["0", "-0", "0.0"] {
        check_reject(&line("1", "A", quantity, "1", "7"), "quantity_zero");
    }
    check_reject(&line("1", "A", "-1", "1", "7"), "quantity_sign");
    check_reject(&line("C1", "A", "1", "1", "7"), "quantity_sign");
    for quantity in ["1000001", "4294967297", "99999999999999999999999"] {
        check_reject(&line("1", "A", quantity, "1", "7"), "quantity_too_large");
    }
    check(&line("1", "A", "1000000.0", "1", "7"), &["1 of 7: 1000000 A at 100"]);
}

#[test]
fn an_invoice_that_comes_to_too_much_keeps_the_lines_before() {
    let dear = line("1", "A", "1000", "1000000", "7");
    check(&dear, &["1 of 7: 1000 A at 100000000"]);
    check_reject(&format!("{dear}{}", line("1", "B", "1", "0.01", "7")), "total_too_large");
    check_reject(&line("1", "A", "1000000", "1000000", "7"), "total_too_large");
}

#[test]
fn a_bad_invoice_number_or_stock_code_is_rejected() {
    for number in ["A563185", "", "C", "CC1", "1C", "-1", "1.0", "٣", "123456789012345678901"] {
        check_reject(&line(number, "A", "1", "1", "7"), "invoice_number");
    }
    check(&line(" c12 ", " A ", " -3 ", " 1 ", " 7 "), &["C12 of 7: 3 A at 100"]);
    check_reject(&line("1", " ", "1", "1", "7"), "stock_code_blank");
}

#[test]
fn a_broken_quote_costs_its_own_line_and_no_other() {
    let good = line("1", "A", "1", "1", "7");
    for broken in [
        "1,B,\"A LANTERN,1,d,1,7,UK\n",
        "1,B,\"A \"BIG\" LANTERN\",1,d,1,7,UK\n",
        "1,B,A LANTERN,1,d,1,7,\"\n",
        "\"1,B,A LANTERN,1,d,1,7,UK\n",
    ] {
        let lines = format!("{broken}{good}{good}");
        check(&lines, &["1 of 7: 1 A at 100, 1 A at 100"]);
        check_reject(broken, "broken_quote");
    }
}

#[test]
fn quotes_that_are_whole_are_understood() {
    let lines = "\"1\",\"A\",\"LANTERN, \"\"BIG\"\"\",\"1\",d,\"1\",\"7\",\"\"\n\
                 1,B,12\" RULER,1,d,1,7,UK\n";
    let day = Folder::with(format!("{HEADER}{lines}").as_bytes()).read().unwrap();
    let descriptions: Vec<&str> =
        day.invoices[0].lines.iter().map(|line| line.description.as_str()).collect();
    assert_eq!(descriptions, ["LANTERN, \"BIG\"", "12\" RULER"]);
}

#[test]
fn a_line_of_the_wrong_shape_is_rejected() {
    check_reject("1,A,A GIFT,1,d,1,7\n", "field_count");
    check_reject("1,A,A GIFT,WITH A COMMA,1,d,1,7,UK\n", "field_count");
    check_reject("some prose\n", "field_count");
    let long = "x".repeat(4097);
    check_reject(&format!("1,A,{long},1,d,1,7,UK\n"), "field_too_long");
    check(&format!("1,A,{},1,d,1,7,UK\n", &long[1..]), &["1 of 7: 1 A at 100"]);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_whole() {
    let good = line("1", "A", "1", "1", "7");
    for excess in [1, 2, 3, 10_000, 300_000] {
        let long = "1,".repeat(LINE_BYTES_MAX / 2) + &"x".repeat(excess);
        let folder = Folder::with(format!("{HEADER}{good}{long}\r\n{good}").as_bytes());
        let day = folder.read().unwrap();
        assert_eq!((day.lines_read, day.rejects.lines, day.invoices[0].lines.len()), (3, 1, 2));
        let [number, _, reason, text] = folder.rejects().remove(0);
        assert_eq!((number.as_str(), reason.as_str()), ("3", "the line is longer than 64 KiB"));
        assert!(text.ends_with(&format!("… [{} bytes in all]", long.len() + 2)), "{text}");
    }
}

#[test]
fn a_line_just_short_enough_is_judged_by_its_fields() {
    for end in ["", "\n", "\r\n"] {
        let folder =
            Folder::with(format!("{HEADER}{}{end}", "x".repeat(LINE_BYTES_MAX)).as_bytes());
        folder.read().unwrap();
        let [_, _, reason, text] = folder.rejects().remove(0);
        assert_eq!(
            (reason.as_str(), text.len()),
            ("more or fewer fields than columns", LINE_BYTES_MAX)
        );
    }
}

#[test]
fn an_invoice_without_a_usable_line_is_recorded_as_such() {
    let lines = [
        line("1", "A", "0", "1", "7"),
        line("2", "A", "1", "1", "7"),
        line("1", "B", "1", "0", "7"),
        line("A3", "B", "1", "1", "7"),
    ];
    let folder = Folder::with(format!("{HEADER}{}", lines.concat()).as_bytes());
    let day = folder.read().unwrap();
    assert_eq!((day.invoices.len(), day.rejects.lines, day.rejects.unusable_invoices), (1, 3, 2));
    let rows: Vec<[String; 4]> = folder.rejects().split_off(3);
    let text = "lines rejected: 1 × the quantity is zero; 1 × the price is zero or below";
    assert_eq!(rows[0], ["2", "1", "the invoice has no usable line", text]);
    assert_eq!(rows[1][1], "A3");
}

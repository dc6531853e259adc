//! What a whole file may look like, and what is said of one that cannot be used.

use std::fs;
use std::io;
use std::path::Path;

use super::super::error::InputError;
use super::super::read_orders;
use super::{Folder, HEADER, check_file, line};

const ORDER: &[&str] = &["1 of 7: 2 A at 150"];

/// The file is refused; the message names it and has all of these words.
fn check_refused(file: &[u8], words: &[&str]) {
    let folder = Folder::with(file);
    let error = folder.read().unwrap_err();
    check_message(&error, &folder.path("orders.csv"), words);
    assert!(!folder.path("rejects.csv").exists());
}

fn check_message(error: &InputError, path: &Path, words: &[&str]) {
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[test]
fn columns_are_found_by_name() {
    let others = [
        "quantity,UNITPRICE,customerid,stockcode,description,invoiceno\n2,1.50,7,A,x,1\n",
        "\u{feff}InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID\n1,A,x,2,1.50,7\n",
        "\u{feff}\"InvoiceNo\", StockCode ,Note,Description,Quantity,UnitPrice,CustomerID,\r\n\
         1,A,,x,2,1.50,7,\r\n",
        "\n\n InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID\n\n1,A,x,2,1.50,7\n \n",
        "InvoiceNo,StockCode,Description,Quantity,UnitPrice,CustomerID\n1,A,x,2,1.50,7",
    ];
    for file in others {
        check_file(file.as_bytes(), ORDER);
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_latin_1() {
    let mut file = HEADER.as_bytes().to_vec();
    file.extend_from_slice(b"1,A,CAF\xC9 \xA35,2,d,1.50,7,UK\n");
    file.extend_from_slice("1,A,CAFÉ £5,2,d,1.50,7,UK\n".as_bytes());
    let day = Folder::with(&file).read().unwrap();
    for line in &day.invoices[0].lines {
        assert_eq!(line.description, "CAFÉ £5");
    }
}

#[test]
fn blank_lines_count_for_numbers_alone() {
    let folder =
        Folder::with(format!("{HEADER}\n \r\n{}\n", line("1", "A", "0", "1", "7")).as_bytes());
    assert_eq!(folder.read().unwrap().lines_read, 1);
    assert_eq!(folder.rejects()[0][0], "4");
}

#[test]
fn a_file_without_orders_is_refused() {
    check_refused(b"", &["is empty", "give a CSV file"]);
    check_refused(b"\xEF\xBB\xBF", &["is empty"]);
    check_refused(b"\n\r\n  \n", &["is empty"]);
    check_refused(HEADER.as_bytes(), &["no orders", "add a line"]);
    check_refused(HEADER.trim_end().as_bytes(), &["no orders"]);
    check_refused(format!("{HEADER}\n\n").as_bytes(), &["no orders"]);
}

#[test]
fn a_file_with_other_columns_is_refused() {
    let words = ["no column Quantity, CustomerID", "found: InvoiceNo, StockCode, Price"];
    check_refused(b"InvoiceNo,StockCode,Price,UnitPrice,Description\n1,2,3,4,5\n", &words);
    check_refused(b"InvoiceNo;StockCode;Quantity\n1;2;3\n", &["no column", "separated by commas"]);
    check_refused(b"\x7FELF\x1B[31m\x00,1\n", &["no column", "\\u{1b}[31m"]);
    let twice = format!("quantity,{HEADER}");
    check_refused(twice.as_bytes(), &["the column Quantity twice", "rename or remove"]);
}

#[test]
fn a_first_line_that_is_none_is_refused() {
    check_refused(
        b"InvoiceNo,\"StockCode\n",
        &["a quote is not closed", "begin it with InvoiceNo,"],
    );
    check_refused(HEADER.repeat(1000).replace('\n', " ").as_bytes(), &["longer than 64 KiB"]);
    check_refused(HEADER.repeat(3).replace('\n', "\r").as_bytes(), &["CR alone"]);
    let utf_16: Vec<u8> = "\u{feff}InvoiceNo".encode_utf16().flat_map(u16::to_le_bytes).collect();
    check_refused(&utf_16, &["UTF-16", "save it as CSV in UTF-8"]);
}

#[test]
fn a_path_that_leads_to_no_file_is_refused() {
    let folder = Folder::with(b"");
    let refused =
        |name: &str| read_orders(&folder.path(name), &folder.path("rejects.csv")).unwrap_err();
    check_message(&refused("none.csv"), &folder.path("none.csv"), &["no file", "check the path"]);
    check_message(&refused(""), &folder.path(""), &["is a directory", "give the path"]);
    let denied = InputError::reading(Path::new("a.csv"), io::ErrorKind::PermissionDenied.into());
    check_message(&denied, Path::new("a.csv"), &["may not be read", "give this user"]);
}

#[test]
fn the_rejects_never_overwrite_the_orders() {
    let file = format!("{HEADER}junk\n");
    let folder = Folder::with(file.as_bytes());
    let orders = folder.path("orders.csv");
    let error = read_orders(&orders, &folder.path("./orders.csv")).unwrap_err();
    check_message(&error, &orders, &["overwrite the orders", "another path"]);
    assert_eq!(fs::read_to_string(&orders).unwrap(), file);
}

#[test]
fn rejects_that_cannot_be_written_are_an_error() {
    let folder = Folder::with(format!("{HEADER}junk\n").as_bytes());
    let nowhere = folder.path("none/rejects.csv");
    let error = read_orders(&folder.path("orders.csv"), &nowhere).unwrap_err();
    check_message(&error, &nowhere, &["cannot be written", "give a path"]);
}

#[test]
fn rejects_of_an_earlier_run_do_not_stay() {
    let folder = Folder::with(format!("{HEADER}{}", line("1", "A", "2", "1.50", "7")).as_bytes());
    fs::write(folder.path("rejects.csv"), "line,invoice,reason,text\n").unwrap();
    assert_eq!(folder.read().unwrap().rejects.file, None);
    assert!(!folder.path("rejects.csv").exists());
}

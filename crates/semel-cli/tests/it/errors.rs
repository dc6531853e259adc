//! What goes wrong, and what the program says about it.

use std::process::Stdio;

use semel::Envelope;

use crate::rig::{Bank, Run, Shop, command, fine, semel};

/// Checks that the store at `url` is refused with these words, for people and for programs.
fn check_refused(url: &str, reason: &str, help: &str) {
    let run = semel(&["inspect", url]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
    let run = semel(&["inspect", url, "--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
    let error = run.error_json();
    assert!(error["error"].as_str().unwrap().contains(reason), "{error}");
    assert!(error["help"].as_str().unwrap().contains(help), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let url = format!("sqlite:{}", path.display());
    check_refused(&url, "No such file", "Check the path");
    assert!(!path.exists());
}

#[test]
fn a_folder_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().display());
    check_refused(&url, "this is a folder", "Name a file in it");
}

#[test]
fn a_file_of_something_else_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    std::fs::write(&path, "Dear reader, ".repeat(500)).unwrap();
    let url = format!("sqlite:{}", path.display());
    check_refused(&url, "not a database", "Something else is in this file");
}

#[test]
fn an_empty_file_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.db");
    std::fs::write(&path, "").unwrap();
    check_refused(&format!("sqlite:{}", path.display()), "the file is empty", "Check the path");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn the_file_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE song (title TEXT)").unwrap();
    let url = format!("sqlite:{}", path.display());
    check_refused(&url, "belongs to another program", "Name another file");
}

#[test]
fn the_file_of_a_newer_version_is_left_alone() {
    let shop = Shop::new();
    shop.sql("PRAGMA user_version = 999");
    check_refused(&shop.url(), "version 999", "newer version of Semel");
}

#[test]
fn a_url_that_names_no_store_is_explained_without_its_secrets() {
    check_refused("shop.db", "which kind of store", "write `sqlite:shop.db`");
    check_refused("sqlite:", "names no file", "sqlite:shop.db");
    check_refused("mysql://me:secret@host/shop", "`mysql:`", "sqlite:shop.db");
    // Nobody listens on the first port.
    let far = "postgres://me:secret@127.0.0.1:1/shop?schema=till";
    check_refused(far, "127.0.0.1:1/shop/till", "server runs");
    for url in ["mysql://me:secret@host/shop", far] {
        for arguments in [&["--json"][..], &[]] {
            let run = semel(&[&["inspect", url], arguments].concat());
            assert!(!run.stderr.contains("secret"), "{run:?}");
        }
    }
}

/// Checks that the broker at `broker` is refused with these words.
fn check_broker_refused(broker: &str, reason: &str, help: &str) {
    let shop = Shop::new();
    let run = semel(&["inspect", &shop.url(), "--broker", broker, "--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
    let error = run.error_json();
    assert!(error["error"].as_str().unwrap().contains(reason), "{error}");
    assert!(error["help"].as_str().unwrap().contains(help), "{error}");
    assert!(!run.stderr.contains("secret"), "{run:?}");
}

#[test]
fn a_broker_that_cannot_be_asked_is_explained_without_its_secrets() {
    check_refused("nats://me:secret@h", "`nats:` is a broker", "--broker nats://…");
    check_broker_refused("kafka://me:secret@h", "`kafka:`", "nats://HOST:4222");
    check_broker_refused("sqlite:queue.db", "`sqlite:` is a store", "Leave out `--broker`");
    check_broker_refused("nats://me:secret@h?prefx=a", "`prefx`", "there are `prefix`");
    // Nobody listens on the first port.
    check_broker_refused("nats://me:secret@127.0.0.1:1", "nats:127.0.0.1:1", "server runs");
    check_broker_refused("amqp://me:secret@127.0.0.1:1/%2f", "rabbitmq:127.0.0.1:1", "server runs");
}

#[test]
fn a_command_line_that_makes_no_sense_has_its_own_code() {
    let check = |arguments: &[&str], said: &str| {
        let run = semel(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(run.stderr.contains(said), "{run:?}");
    };
    check(&[], "Usage: semel");
    check(&["inpect", "sqlite:shop.db"], "inspect");
    check(&["inspect", "sqlite:shop.db", "--watch=0"], "whole number of seconds");
    check(&["dead-letters", "list", "sqlite:shop.db", "--limit", "0"], "whole number");
    check(&["dead-letters", "replay", "sqlite:shop.db"], "<URL> --all");
    check(&["dead-letters", "replay", "sqlite:shop.db", "7", "--all"], "cannot be used with");
    check(&["dead-letters", "replay", "sqlite:x", "7", "--endpoint", "e"], "cannot be used with");
    check(&["dead-letters", "show", "sqlite:shop.db", "seven"], "invalid digit");
    let run = semel(&["dead-letters", "show", "sqlite:shop.db", "--json"]);
    assert_eq!(run.code, 2);
    assert!(run.error_json()["error"].as_str().unwrap().contains("<NUMBER>"), "{run:?}");
}

#[test]
fn the_help_names_every_exit_code() {
    let help = fine(&["--help"]);
    for line in ["0  all", "1  there is no such", "2  the command", "3  the store", "4  the answer"]
    {
        assert!(help.contains(line), "{help}");
    }
    assert!(fine(&["--version"]).starts_with("semel "));
}

/// A dead letter with more data than a pipe holds.
async fn long_letter() -> (Shop, String) {
    let shop = Shop::new();
    let mut envelope = Envelope::new("7", "/tills", "payment.note", "once ".repeat(100_000));
    envelope.content_type = Some("text/plain".to_owned());
    shop.send("payments", envelope).await;
    shop.work(Bank::Open).await;
    let number = shop.numbers()[0].to_string();
    (shop, number)
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_failure() {
    let (shop, number) = long_letter().await;
    for arguments in [&[][..], &["--json"], &["--raw"]] {
        let url = shop.url();
        let all = [&["dead-letters", "show", &url, &number], arguments].concat();
        let mut running =
            command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(running.stdout.take());
        let run = Run::of(running.wait_with_output().unwrap());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    }
}

#[tokio::test]
async fn a_reader_that_leaves_does_not_stop_a_repair_half_way() {
    let shop = Shop::new();
    shop.charge_all(1..=3).await;
    shop.work(Bank::Closed).await;
    let url = shop.url();
    let mut running =
        command(&["dead-letters", "replay", &url, "--all"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(running.stdout.take());
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert!(shop.numbers().is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_that_cannot_be_written_has_its_own_code() {
    let shop = Shop::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Run::of(command(&["inspect", &shop.url()]).stdout(full).output().unwrap());
    assert_eq!(run.code, 4);
    assert!(run.error_line().contains("the answer cannot be written"), "{run:?}");
}

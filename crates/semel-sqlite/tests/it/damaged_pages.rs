//! Files whose bytes were damaged: an answer that says so, never a panic.

use std::path::Path;

use semel_core::broker::{SendOutcome, SettleOutcome, Settlement};
use semel_core::operator::{DeadLetterFilter, Operator as _};
use semel_core::store::{Page, Space, Trouble, WriteOutcome};
use semel_core::{Broker, Store, StoreError};
use semel_sqlite::{Options, Sqlite};

use crate::rig::{
    Rig, applied, dead_letter, entity, inbox, message, put, queued, receive, send, take,
};

const PAGE: usize = 4_096;

/// A file with something in every table, closed.
async fn sound(rig: &Rig) -> Vec<u8> {
    let file = rig.open();
    for n in 0..60 {
        let text = format!("{n} {}", "x".repeat(n * 20));
        let changes =
            vec![put(entity(n.to_string()), text.clone()), put(inbox(n.to_string()), text)];
        applied(file.write(changes).await);
        send(&file, format!("m-{n}")).await;
    }
    for delivery in take(&file, 20).await {
        let outcome = file.settle(&delivery.receipt, dead_letter()).await;
        assert!(matches!(outcome, SettleOutcome::Settled));
    }
    drop(file);
    std::fs::read(rig.path()).unwrap()
}

/// Everything that can be asked of a file; what went wrong.
async fn use_all(path: &Path, options: Options) -> Vec<StoreError> {
    let file = match Sqlite::open_with(path, options) {
        Ok(file) => file,
        Err(error) => return vec![error],
    };
    let mut errors = Vec::new();
    let filter = DeadLetterFilter { limit: 100, ..DeadLetterFilter::default() };
    errors.extend(file.inspect().await.err());
    errors.extend(file.dead_letters(&filter).await.err());
    for space in Space::ALL {
        errors.extend(file.list(&Page { space, after: None, limit: 1_000 }).await.err());
    }
    for n in 0..60 {
        errors.extend(file.read(&entity(n.to_string())).await.err());
    }
    match file.receive(&receive(2)).await {
        Err(error) => errors.push(error),
        Ok(deliveries) => {
            for delivery in deliveries {
                match file.settle(&delivery.receipt, Settlement::Ack).await {
                    SettleOutcome::Unknown(error) => errors.push(error),
                    SettleOutcome::Settled | SettleOutcome::Stale => {}
                }
            }
        }
    }
    if let SendOutcome::Unknown(error) = file.send(vec![queued(message("new"))]).await.remove(0) {
        errors.push(error);
    }
    match file.write(vec![put(entity("new"), "1"), put(inbox("new"), "1")]).await {
        WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => errors.push(error),
        WriteOutcome::Applied(_) | WriteOutcome::Conflict(_) => {}
    }
    errors
}

#[tokio::test]
async fn damage_anywhere_is_told_by_a_person_readable_error() {
    let rig = Rig::new();
    let sound = sound(&rig).await;
    assert_eq!(use_all(&rig.path(), rig.options()).await.len(), 0);
    let pages = sound.len() / PAGE;
    assert!(pages > 25, "{pages}");
    let mut noticed = 0;
    for page in 0..pages {
        let start = page * PAGE;
        let mut cases = vec![("cut off", sound[..start + PAGE / 2].to_vec())];
        for (damage, bytes) in
            [("zeroes", 0..PAGE), ("a broken head", 0..24), ("a hole", 2_000..2_200)]
        {
            let mut damaged = sound.clone();
            for byte in &mut damaged[start + bytes.start..start + bytes.end] {
                *byte = if damage == "zeroes" { 0 } else { *byte ^ 0x5a };
            }
            cases.push((damage, damaged));
        }
        for (damage, bytes) in cases {
            let damaged = Rig::new();
            std::fs::write(damaged.path(), bytes).unwrap();
            let errors = use_all(&damaged.path(), damaged.options()).await;
            noticed += usize::from(!errors.is_empty());
            for error in errors {
                assert_eq!(error.trouble, Trouble::Broken, "page {page}, {damage}: {error}");
                assert!(!error.help.is_empty() && !error.reason.contains("thread"), "{error}");
            }
        }
    }
    assert!(noticed > 2 * pages, "{noticed} of {pages} pages");
}

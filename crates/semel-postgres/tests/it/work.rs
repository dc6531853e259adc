//! A little work, and its books.

use semel_core::store::{ItemKey, Space};
use semel_core::{Backend, Context, Endpoint, Host, Keyed, Message, StoreError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deposit {
    pub(crate) account: String,
    pub(crate) pence: i64,
}

impl Message for Deposit {
    const TYPE: &'static str = "deposit";
}

impl Keyed for Deposit {
    fn key(&self) -> String {
        self.account.clone()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noted {
    account: String,
}

impl Message for Noted {
    const TYPE: &'static str = "noted";
}

impl Keyed for Noted {
    fn key(&self) -> String {
        self.account.clone()
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) pence: i64,
    pub(crate) count: i64,
}

pub(crate) fn deposit_handler(account: &mut Account, message: Deposit, ctx: &mut Context) {
    account.pence += message.pence;
    account.count += 1;
    ctx.send("notes", Noted { account: message.account });
}

pub(crate) fn note_handler(account: &mut Account, _: Noted, _: &mut Context) {
    account.count += 1;
}

/// A host with both endpoints.
pub(crate) fn host(backend: Backend) -> Host {
    Host::new(backend)
        .endpoint(Endpoint::new("account").handle(deposit_handler))
        .endpoint(Endpoint::new("notes").handle(note_handler))
}

/// Sends one deposit of 5.
pub(crate) async fn deposit(backend: &Backend, id: &str) -> Result<(), StoreError> {
    let message = Deposit { account: "anna".to_owned(), pence: 5 };
    backend.send_as(id, "account", message).await
}

/// What an endpoint keeps of anna.
pub(crate) async fn account(backend: &Backend, endpoint: &str) -> Account {
    let key = ItemKey::new(Space::Entity, endpoint, "anna");
    let item = backend.store().read(&key).await.unwrap();
    item.map(|item| serde_json::from_slice(&item.value).unwrap()).unwrap_or_default()
}

/// Deposits twice, one of them doubled, and looks at the books.
pub(crate) async fn deposit_and_check(backend: Backend) {
    for id in ["a", "b", "a"] {
        deposit(&backend, id).await.unwrap();
    }
    host(backend.clone()).run_until_idle().await.unwrap();
    assert_eq!(account(&backend, "account").await.pence, 10);
    assert_eq!(account(&backend, "notes").await.count, 2);
}

//! Objects outside, for handlers that write something by themselves.

use bytes::Bytes;
use semel_core::StoreError;
use semel_core::store::Trouble;

use crate::task::call::{Answer, Call};
use crate::task::port;

/// An object store of the checked world: what a handler may misuse by writing to it at once,
/// instead of declaring an effect.
///
/// Every call is a choice point, as one on the store is: the request or the reply may be lost, the
/// write may land late. Works inside a handler that is being checked, and nowhere else.
///
/// ```
/// use semel_check::Objects;
/// use semel_core::{Context, Failure, Message};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Bill { order: String, pence: i64 }
/// # impl Message for Bill { const TYPE: &'static str = "bill"; }
/// # #[derive(Default, Serialize, Deserialize)] struct Invoices { count: u32 }
/// async fn bill(invoices: &mut Invoices, message: Bill, _: &mut Context) -> Result<(), Failure> {
///     invoices.count += 1;
///     let text = format!("invoice {} over {}", invoices.count, message.pence);
///     Objects.put(&format!("invoice of {}", message.order), text).await?;
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Objects;

impl Objects {
    /// Writes an object, over the one that was there.
    pub async fn put(&self, name: &str, value: impl Into<Bytes>) -> Result<(), StoreError> {
        let value = value.into();
        port::note_object(name, Some(&value));
        match port::call(Call::Put(name.to_owned(), Some(value))).await {
            Answer::Done => Ok(()),
            _ => Err(no_answer("put")),
        }
    }

    /// Removes an object, if it is there.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        port::note_object(name, None);
        match port::call(Call::Put(name.to_owned(), None)).await {
            Answer::Done => Ok(()),
            _ => Err(no_answer("delete")),
        }
    }

    /// Reads an object.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        match port::call(Call::Get(name.to_owned())).await {
            Answer::Object(object) => Ok(object),
            _ => Err(no_answer("get")),
        }
    }
}

fn no_answer(operation: &'static str) -> StoreError {
    StoreError {
        trouble: Trouble::Unavailable,
        store: "simulated objects".to_owned(),
        operation,
        reason: "no answer came".to_owned(),
        help: "Try again.".to_owned(),
    }
}

//! The Message derive of Semel.

#![warn(missing_docs)]

mod expansion;
mod options;

use proc_macro::TokenStream;

/// Makes a type a message.
///
/// `type` is its name on the wire: explicit and stable, whatever becomes of the Rust type.
///
/// ```
/// use semel_core::{Keyed, Message as _, Order};
/// use semel_derive::Message;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Message)]
/// #[message(type = "order.place", entity = order, ordered, crate = semel_core)]
/// struct PlaceOrder {
///     order: String,
///     total_pence: i64,
/// }
///
/// let message = PlaceOrder { order: "o-17".to_owned(), total_pence: 250 };
/// assert_eq!(PlaceOrder::TYPE, "order.place");
/// assert_eq!(PlaceOrder::ORDER, Order::PerSubject);
/// assert_eq!(message.key(), "o-17");
/// assert_eq!(message.subject(), Some("o-17".to_owned()));
/// ```
///
/// # Options
///
/// | option | means |
/// |---|---|
/// | `type = "order.place"` | the name on the wire; required |
/// | `entity = order` | the field with the key of the entity that the message is for, or a path to it such as `line.order`; its type implements `Display`. Gives the message `Keyed` and a subject |
/// | `ordered` | messages for the same entity keep their order; needs `entity` |
/// | `crate = semel_core` | where the traits are, for crates that do not depend on `semel` |
///
/// A message cannot be generic: one name on the wire means one type. Only a struct can name an
/// entity; a message with several forms is a struct with an enum inside.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let expanded = syn::parse(input).and_then(|input| expansion::expand(&input));
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}

//! The derive as its users meet it.

use semel_core::{Keyed, Message as _, Order};
use semel_derive::Message;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Message)]
#[message(type = "order.place", entity = line.order, ordered, crate = semel_core)]
struct PlaceOrder {
    line: Line,
}

#[derive(Serialize, Deserialize)]
struct Line {
    order: u64,
}

#[derive(Serialize, Deserialize, Message)]
#[message(type = "order.cancel", entity = 0, crate = ::semel_core)]
struct CancelOrder(String);

#[derive(Serialize, Deserialize, Message)]
#[message(type = "tick", crate = semel_core)]
enum Tick {
    Second,
}

/// A field whose name comes from another macro.
macro_rules! message {
    ($name:ident, $field:ident) => {
        #[derive(Serialize, Deserialize, Message)]
        #[message(type = "made", entity = $field, crate = semel_core)]
        struct $name {
            $field: String,
        }
    };
    ($name:ident) => {
        message!($name, order);
    };
}

message!(Made, order);
message!(MadeWhole);

#[test]
fn a_struct_names_its_entity_by_a_path() {
    let message = PlaceOrder { line: Line { order: 17 } };
    assert_eq!(PlaceOrder::TYPE, "order.place");
    assert_eq!(PlaceOrder::ORDER, Order::PerSubject);
    assert_eq!(message.key(), "17");
    assert_eq!(message.subject().as_deref(), Some("17"));
}

#[test]
fn a_tuple_names_its_entity_by_a_number() {
    let message = CancelOrder("o-17".to_owned());
    assert_eq!(CancelOrder::ORDER, Order::Free);
    assert_eq!(message.key(), "o-17");
    assert_eq!(message.subject().as_deref(), Some("o-17"));
}

#[test]
fn an_enum_has_a_name_and_no_subject() {
    assert_eq!(Tick::TYPE, "tick");
    assert_eq!(Tick::Second.subject(), None);
}

#[test]
fn a_message_may_come_from_another_macro() {
    assert_eq!(Made { order: "1".to_owned() }.key(), "1");
    assert_eq!(MadeWhole { order: "2".to_owned() }.key(), "2");
}

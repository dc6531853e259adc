//! Marketing: a coupon once a customer's paid total first passes a threshold.
//!
//! The decision depends on state: the same payment counted twice, or counted on a state that
//! another attempt has changed, gives a coupon too early, too late, or to the wrong order.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use super::MARKETING;
use crate::messages::PaymentTaken;

/// Who has paid this much gets a coupon.
pub(crate) const COUPON_FROM_PENCE: i64 = 20_000;

/// A coupon that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coupon {
    /// The order whose payment passed the threshold.
    pub(crate) order: String,
    pub(crate) at: String,
}

/// What Marketing knows of a customer. Credit notes do not count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Customer {
    pub(crate) paid_pence: i64,
    pub(crate) payments: u32,
    pub(crate) coupons: Vec<Coupon>,
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::new(MARKETING).subscribe_by(customer_of, payment_taken)
}

/// A guest is somebody else each time.
fn customer_of(message: &PaymentTaken) -> String {
    match &message.customer {
        Some(customer) => format!("customer {customer}"),
        None => format!("guest of order {}", message.order),
    }
}

fn payment_taken(customer: &mut Customer, message: PaymentTaken, ctx: &mut Context) {
    let before_pence = customer.paid_pence;
    customer.payments += 1;
    customer.paid_pence += message.pence;
    let passes = before_pence < COUPON_FROM_PENCE && customer.paid_pence >= COUPON_FROM_PENCE;
    if passes && message.customer.is_some() {
        customer.coupons.push(Coupon { order: message.order, at: ctx.now().to_string() });
    }
}

//! Marketing: a coupon once a customer's paid total first passes a threshold.
//!
//! The decision depends on state: the same payment counted twice, or counted on a state that
//! another attempt has changed, gives a coupon too early, too late, or to the wrong order.

use semel::{Context, Endpoint};
use serde::{Deserialize, Serialize};

use crate::MARKETING;
use crate::messages::PaymentTaken;

/// Who has paid this much gets a coupon.
pub const COUPON_FROM_PENCE: i64 = 20_000;

/// A coupon that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coupon {
    /// The order whose payment passed the threshold.
    pub order: String,
    /// When it was given.
    pub at: String,
}

/// What Marketing knows of a customer. Credit notes do not count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Customer {
    /// What they have paid.
    pub paid_pence: i64,
    /// In how many payments.
    pub payments: u32,
    /// What they were given for it.
    pub coupons: Vec<Coupon>,
}

/// The service.
pub fn endpoint() -> Endpoint {
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

//! What an order looks like from the ledgers of the services.

use semel::core::Store;
use semel::core::store::{ItemKey, Space};
use semel::http::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shop_services::marketing::Customer;
use shop_services::messages::PlaceOrder;
use shop_services::orders::{Order, Status};
use shop_services::payments::{Account, Booking};
use shop_services::shipping::Consignment;
use shop_services::{MARKETING, ORDERS, PAYMENTS, SHIPPING};

use crate::books::state;

/// How far an order has come, as customers see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Progress {
    /// Orders has not heard of it yet.
    #[default]
    Submitted,
    Placed,
    Charged,
    Shipped,
    Cancelled,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Amount {
    pence: i64,
}

/// An order as its ledgers have it: each says what it knows, in any order and any number of times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct OrderView {
    pub(super) order: String,
    pub(super) reference: String,
    pub(super) customer: Option<String>,
    pub(super) total_pence: i64,
    pub(super) status: Progress,
    pub(super) charges: Vec<Amount>,
    pub(super) refunds: Vec<Amount>,
    /// How many parcels were sent: once, if all is well.
    pub(super) shipments: usize,
    /// Whether it brought its customer a coupon.
    pub(super) coupon: bool,
}

/// An order as a row of the live floor.
#[derive(Debug, Serialize)]
pub(super) struct LiveRow<'a> {
    order: &'a str,
    reference: &'a str,
    customer: Option<&'a str>,
    status: Progress,
    total_pence: i64,
    charges: usize,
    charged_pence: i64,
    refunded_pence: i64,
    shipments: usize,
    coupon: bool,
}

/// Reads what became of an order that was submitted.
pub(super) async fn read(store: &dyn Store, placement: &PlaceOrder) -> Result<OrderView, Problem> {
    let id = &placement.order;
    let mut view = OrderView::new(id);
    view.take_placement(placement);
    // Orders first: what the others did before Orders heard of it is then seen as well, so that no
    // order appears to be shipped without a parcel.
    if let Some(order) = ledger::<Order>(store, ORDERS, id).await? {
        view.take_order(&order);
    }
    if let Some(account) = ledger::<Account>(store, PAYMENTS, id).await? {
        view.take_account(&account);
    }
    if let Some(consignment) = ledger::<Consignment>(store, SHIPPING, id).await? {
        view.take_consignment(&consignment);
    }
    if let Some(customer) = &placement.customer {
        let name = format!("customer {customer}");
        let regular = ledger::<Customer>(store, MARKETING, &name).await?.unwrap_or_default();
        view.coupon = regular.coupons.iter().any(|coupon| coupon.order == *id);
    }
    Ok(view)
}

/// Reads the state of one entity.
async fn ledger<S: DeserializeOwned>(
    store: &dyn Store,
    endpoint: &str,
    entity: &str,
) -> Result<Option<S>, Problem> {
    let key = ItemKey::new(Space::Entity, endpoint, entity);
    let Some(item) = store.read(&key).await? else { return Ok(None) };
    let unreadable =
        |error| Problem::internal(format!("{key} is not as the service wrote it: {error}"));
    state(&item.value).map_err(unreadable)
}

impl OrderView {
    /// An order of which nothing is known.
    pub(super) fn new(id: &str) -> Self {
        Self { order: id.to_owned(), ..Self::default() }
    }

    /// What was submitted.
    pub(super) fn take_placement(&mut self, placement: &PlaceOrder) {
        self.reference.clone_from(&placement.reference);
        self.customer.clone_from(&placement.customer);
        self.total_pence = placement.total_pence;
    }

    /// What Orders has.
    pub(super) fn take_order(&mut self, order: &Order) {
        if order.placements > 0 {
            self.reference.clone_from(&order.reference);
            self.customer.clone_from(&order.customer);
            self.total_pence = order.total_pence;
        }
        self.status = match order.status {
            // A message about it overtook the one that places it.
            Status::Unknown => Progress::Submitted,
            Status::Placed => Progress::Placed,
            Status::Charged => Progress::Charged,
            Status::Shipped => Progress::Shipped,
            Status::Cancelled => Progress::Cancelled,
        };
    }

    /// What Payments has.
    pub(super) fn take_account(&mut self, account: &Account) {
        self.charges = amounts(&account.charges);
        self.refunds = amounts(&account.refunds);
    }

    /// What Shipping has.
    pub(super) fn take_consignment(&mut self, consignment: &Consignment) {
        self.shipments = consignment.parcels.len();
    }

    /// Whether somebody was charged, or served, more than once.
    pub(super) fn is_damaged(&self) -> bool {
        self.charges.len() > 1 || self.shipments > 1
    }

    /// The money taken.
    pub(super) fn charged_pence(&self) -> i64 {
        sum(&self.charges)
    }

    /// The order as a row of the live floor.
    pub(super) fn row(&self) -> LiveRow<'_> {
        LiveRow {
            order: &self.order,
            reference: &self.reference,
            customer: self.customer.as_deref(),
            status: self.status,
            total_pence: self.total_pence,
            charges: self.charges.len(),
            charged_pence: self.charged_pence(),
            refunded_pence: sum(&self.refunds),
            shipments: self.shipments,
            coupon: self.coupon,
        }
    }
}

fn amounts(bookings: &[Booking]) -> Vec<Amount> {
    bookings.iter().map(|booking| Amount { pence: booking.pence }).collect()
}

/// Saturates: it is shown, not booked.
fn sum(amounts: &[Amount]) -> i64 {
    amounts.iter().fold(0, |sum, amount| sum.saturating_add(amount.pence))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use shop_services::shipping::Parcel;

    fn placement() -> PlaceOrder {
        PlaceOrder {
            order: "17".to_owned(),
            reference: "536365".to_owned(),
            customer: Some("holly".to_owned()),
            total_pence: 5_900,
            pieces: 1,
        }
    }

    fn booking(pence: i64) -> Booking {
        Booking { pence, at: "2026-12-24T18:00:00Z".to_owned() }
    }

    fn submitted() -> OrderView {
        let mut view = OrderView::new("17");
        view.take_placement(&placement());
        view
    }

    fn order(status: Status, placements: u32) -> Order {
        let PlaceOrder { reference, customer, total_pence, pieces, .. } = placement();
        match placements {
            0 => Order { status, ..Order::default() },
            _ => Order { reference, customer, total_pence, pieces, status, placements },
        }
    }

    #[test]
    fn an_order_that_nobody_heard_of_is_submitted() {
        let expected = json!({
            "order": "17", "reference": "536365", "customer": "holly", "total_pence": 5_900,
            "status": "submitted", "charges": [], "refunds": [], "shipments": 0, "coupon": false,
        });
        assert_eq!(serde_json::to_value(submitted()).unwrap(), expected);
    }

    #[test]
    fn the_status_is_what_orders_says() {
        for (status, shown) in [
            (Status::Unknown, "submitted"),
            (Status::Placed, "placed"),
            (Status::Charged, "charged"),
            (Status::Shipped, "shipped"),
            (Status::Cancelled, "cancelled"),
        ] {
            let mut view = submitted();
            view.take_order(&order(status, 1));
            assert_eq!(serde_json::to_value(view.row()).unwrap()["status"], shown);
        }
    }

    #[test]
    fn a_cancellation_that_overtook_the_order_does_not_hide_what_was_ordered() {
        let mut view = submitted();
        view.take_order(&order(Status::Cancelled, 0));
        assert_eq!((view.status, view.total_pence), (Progress::Cancelled, 5_900));
        assert_eq!(view.reference, "536365");
    }

    #[test]
    fn ledgers_may_be_read_in_any_order_and_again() {
        let account = Account {
            charges: vec![booking(5_900)],
            refunds: vec![booking(5_900)],
            ..Account::default()
        };
        let (mut one, mut other) = (submitted(), OrderView::new("17"));
        one.take_order(&order(Status::Cancelled, 1));
        one.take_account(&account);
        for _ in 0..2 {
            other.take_account(&account);
            other.take_order(&order(Status::Cancelled, 1));
        }
        assert_eq!(one, other);
    }

    #[test]
    fn a_second_charge_or_parcel_is_damage() {
        let mut view = submitted();
        view.take_account(&Account { charges: vec![booking(1)], ..Account::default() });
        assert!(!view.is_damaged());
        view.take_account(&Account { charges: vec![booking(1), booking(2)], ..Account::default() });
        assert!(view.is_damaged());
        let row = serde_json::to_value(view.row()).unwrap();
        assert_eq!((&row["charges"], &row["charged_pence"]), (&json!(2), &json!(3)));

        let parcel = Parcel { tracking: "t".to_owned(), pieces: 1, at: "now".to_owned() };
        let mut view = submitted();
        view.take_consignment(&Consignment { parcels: vec![parcel.clone(), parcel] });
        assert!(view.is_damaged());
    }
}

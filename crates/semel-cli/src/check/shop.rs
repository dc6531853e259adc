//! Worlds of the shop: its real handlers, from the order to the door.

use semel::core::store::StoreLimits;
use semel::{AtLeastOnce, Endpoint, Transactional};
use semel_check::worlds::{BuiltIn, Expected, Manner};
use semel_check::{Property, View, World, relational, relational_apart};
use shop_services::marketing::{COUPON_FROM_PENCE, Customer};
use shop_services::messages::{CancelOrder, PlaceOrder};
use shop_services::orders::{Order, Status};
use shop_services::payments::Account;
use shop_services::shipping::Consignment;
use shop_services::{MARKETING, ORDERS, PAYMENTS, SHIPPING};

/// The order that everything is about.
const FIRST: &str = "order-1";
/// Another one of the same customer.
const SECOND: &str = "order-2";

/// Every world of the shop.
pub(super) fn all() -> Vec<BuiltIn> {
    vec![
        BuiltIn::new("shop-order", "an order is charged, shipped and rewarded", |name| {
            order(shop(name, relational()))
        })
        .workers(2)
        .faults(1),
        BuiltIn::new("shop-cancel", "an order is cancelled while it is on its way", |name| {
            cancel(shop(name, relational()))
        })
        .workers(2)
        .faults(1),
        BuiltIn::new("shop-coupon", "two orders earn their customer one coupon", |name| {
            coupon(shop(name, relational()))
        })
        .workers(2)
        .explore(Manner::Random { seed: 1, runs: 2_000 })
        .faults(3),
        BuiltIn::new("shop-apart-order", "an order, with the queue elsewhere", |name| {
            order(shop(name, relational_apart()))
        }),
        BuiltIn::new("shop-apart-cancel", "a cancelled order, with the queue elsewhere", |name| {
            cancel(shop(name, relational_apart()))
        })
        .workers(2)
        .faults(3)
        .explore(Manner::Random { seed: 1, runs: 2_000 }),
        BuiltIn::new("shop-at-least-once", "the same services without protection", |name| {
            order(unprotected_shop(name))
        })
        .faults(1)
        .expect(Expected::Violated(Property::AtMostOneStateChange)),
    ]
}

fn shop(name: &str, store: StoreLimits) -> World {
    let dress = |endpoint: Endpoint| endpoint.protocol(Transactional::default());
    let world = World::new(name).store(store);
    shop_services::all().into_iter().map(dress).fold(world, World::endpoint)
}

fn unprotected_shop(name: &str) -> World {
    let dress = |endpoint: Endpoint| endpoint.protocol(AtLeastOnce);
    shop_services::all().into_iter().map(dress).fold(World::new(name), World::endpoint)
}

fn order(world: World) -> World {
    placed(world, FIRST, COUPON_FROM_PENCE)
        .sometimes("it is shipped", |view| Books::of(view, FIRST).order.status == Status::Shipped)
        .finally("it is shipped", |view| Books::of(view, FIRST).order.status == Status::Shipped)
        .finally("its customer has a coupon", |view| coupons(view) == 1)
}

fn cancel(world: World) -> World {
    placed(world, FIRST, COUPON_FROM_PENCE)
        .send("cancel-1", ORDERS, CancelOrder { order: FIRST.to_owned() })
        .sometimes("it is shipped all the same", |view| {
            Books::of(view, FIRST).order.status == Status::Shipped
        })
        .sometimes("it is cancelled before it is charged", |view| {
            let books = Books::of(view, FIRST);
            books.order.status == Status::Cancelled && books.charges() == 0
        })
        .sometimes("its money is returned", |view| Books::of(view, FIRST).refunds() == 1)
}

fn coupon(world: World) -> World {
    let world = placed(world, FIRST, COUPON_FROM_PENCE / 2);
    placed(world, SECOND, COUPON_FROM_PENCE / 2)
        .sometimes("the first is paid first", |view| {
            customer(view).payments == 1 && Books::of(view, SECOND).charges() == 0
        })
        .sometimes("the second is paid first", |view| {
            customer(view).payments == 1 && Books::of(view, FIRST).charges() == 0
        })
        .finally("its customer has a coupon", |view| coupons(view) == 1)
}

/// An order, and what the shop owes whoever placed it.
fn placed(world: World, id: &'static str, total_pence: i64) -> World {
    let place = PlaceOrder {
        order: id.to_owned(),
        reference: format!("invoice of {id}"),
        customer: Some("alice".to_owned()),
        total_pence,
        pieces: 3,
    };
    let always = |world: World, promise: &str, holds: fn(&Books) -> bool| {
        world.always(format!("{id}: {promise}"), move |view| holds(&Books::of(view, id)))
    };
    let world = world.send(&format!("place {id}"), ORDERS, place);
    let world = always(world, "it is placed once at most", |books| books.order.placements <= 1);
    let world = always(world, "it is charged once at most", |books| books.charges() <= 1);
    let world = always(world, "no more is refunded than was charged", |books| {
        books.refunds() <= books.charges()
    });
    let world = always(world, "one parcel is sent at most, and only when it is paid", |books| {
        books.parcels() <= books.charges()
    });
    let world = always(world, "it is not both shipped and refunded", |books| {
        books.parcels() == 0 || books.refunds() == 0
    });
    let world = always(world, "nothing that is cancelled is shipped", |books| {
        books.order.status != Status::Cancelled || books.parcels() == 0
    });
    world
        .always(format!("{id}: its customer gets one coupon at most"), |view| coupons(view) <= 1)
        .finally(format!("{id}: it is shipped and paid, or cancelled and not paid"), move |view| {
            Books::of(view, id).are_settled()
        })
}

/// What the services wrote down about one order.
struct Books {
    order: Order,
    account: Account,
    consignment: Consignment,
}

impl Books {
    fn of(view: &View<'_>, id: &str) -> Self {
        Self {
            order: view.entity(ORDERS, id).unwrap_or_default(),
            account: view.entity(PAYMENTS, id).unwrap_or_default(),
            consignment: view.entity(SHIPPING, id).unwrap_or_default(),
        }
    }

    fn charges(&self) -> usize {
        self.account.charges.len()
    }

    fn refunds(&self) -> usize {
        self.account.refunds.len()
    }

    fn parcels(&self) -> usize {
        self.consignment.parcels.len()
    }

    fn are_settled(&self) -> bool {
        match self.order.status {
            Status::Shipped => (self.charges(), self.refunds(), self.parcels()) == (1, 0, 1),
            Status::Cancelled => self.charges() == self.refunds() && self.parcels() == 0,
            Status::Unknown | Status::Placed | Status::Charged => false,
        }
    }
}

fn coupons(view: &View<'_>) -> usize {
    customer(view).coupons.len()
}

fn customer(view: &View<'_>) -> Customer {
    view.entity(MARKETING, "customer alice").unwrap_or_default()
}

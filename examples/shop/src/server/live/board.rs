//! What is known of the orders, and what of it a client has not been told.

use std::collections::{BTreeMap, BTreeSet};

use semel::core::operator::Report;
use serde::Serialize;

use super::faults::Counts;
use super::ledgers::Told;
use crate::server::view::{OrderView, Progress};

/// How many orders a client is told at first, beside all damaged ones.
const SNAPSHOT_ORDERS: usize = 500;
/// How many changed orders a client is told in one go.
const CHANGES_MAX: usize = 500;

/// The numbers above the orders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    orders: usize,
    cancelled: usize,
    /// How often money was taken, not from how many orders: a second time shall show.
    charged: usize,
    charged_pence: i64,
    /// How many parcels were sent.
    shipped: usize,
    coupons: usize,
    credit_notes: usize,
    #[serde(flatten)]
    queues: Queues,
}

/// Messages on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Queues {
    queued: u64,
    in_flight: u64,
    dead_letters: u64,
}

impl Queues {
    /// The sums over all endpoints.
    pub(super) fn of(report: &Report) -> Self {
        report.endpoints.values().fold(Self::default(), |sum, endpoint| Self {
            queued: sum.queued + endpoint.ready + endpoint.delayed,
            in_flight: sum.in_flight + endpoint.in_flight,
            dead_letters: sum.dead_letters + endpoint.dead_letters,
        })
    }
}

/// How far a client has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// It knows nothing.
    Start,
    /// It knows everything up to this revision.
    At(u64),
}

/// Something that a client does not know.
#[derive(Debug)]
pub(super) enum News<'a> {
    Order(&'a OrderView),
    Totals(&'a Totals),
    Faults(&'a Counts),
    /// What is wrong with the stream, or that nothing is any more.
    Trouble(Option<&'static str>),
}

/// A value, and the revision of the board that brought it; zero before it was ever told.
#[derive(Debug, Default)]
struct Dated<T> {
    value: T,
    revision: u64,
}

impl<T: PartialEq> Dated<T> {
    fn set(&mut self, value: T, revision: &mut u64) {
        if self.revision == 0 || self.value != value {
            *revision += 1;
            *self = Self { value, revision: *revision };
        }
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// Grows with every change of anything.
    revision: u64,
    orders: BTreeMap<String, Dated<OrderView>>,
    /// Orders as they were first seen; those seen at the same time as their ids sort, which is by
    /// the time that their carts were begun.
    sequence: Vec<String>,
    /// The orders by the revision of their last change.
    changes: BTreeMap<u64, String>,
    credit_notes: BTreeSet<String>,
    /// Coupons given, by customer.
    coupons: BTreeMap<String, usize>,
    queues: Queues,
    totals: Dated<Totals>,
    faults: Dated<Counts>,
    trouble: Dated<Option<&'static str>>,
}

impl Board {
    /// Takes down what a look brought; `queues` are missing where they could not be counted.
    pub(super) fn take(&mut self, told: Vec<Told>, queues: Option<Queues>) {
        let known = self.sequence.len();
        for told in told {
            self.take_one(told);
        }
        if let Some(fresh) = self.sequence.get_mut(known..) {
            fresh.sort();
        }
        self.queues = queues.unwrap_or(self.queues);
        let totals = self.count();
        self.totals.set(totals, &mut self.revision);
    }

    /// Takes down how often each fault has happened.
    pub(super) fn take_faults(&mut self, counts: Counts) {
        self.faults.set(counts, &mut self.revision);
    }

    /// Takes down what is wrong with the stream.
    pub(super) fn take_trouble(&mut self, trouble: Option<&'static str>) {
        self.trouble.set(trouble, &mut self.revision);
    }

    fn take_one(&mut self, told: Told) {
        match told {
            Told::Placement(message) => {
                self.change(&message.order, |order| order.take_placement(&message));
            }
            Told::Order(id, order) => self.change(&id, |view| view.take_order(&order)),
            Told::Account(id, account) if account.payouts.is_empty() => {
                self.change(&id, |order| order.take_account(&account));
            }
            Told::Account(id, _) => {
                self.credit_notes.insert(id);
            }
            Told::Consignment(id, parcels) => {
                self.change(&id, |order| order.take_consignment(&parcels));
            }
            Told::Customer(id, customer) => {
                for coupon in &customer.coupons {
                    self.change(&coupon.order, |order| order.coupon = true);
                }
                self.coupons.insert(id, customer.coupons.len());
            }
        }
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut OrderView)) {
        if !self.orders.contains_key(id) {
            self.sequence.push(id.to_owned());
            let value = OrderView::new(id);
            self.orders.insert(id.to_owned(), Dated { value, revision: 0 });
        }
        let Some(order) = self.orders.get_mut(id) else { return };
        let mut changed = order.value.clone();
        change(&mut changed);
        let before = order.revision;
        order.set(changed, &mut self.revision);
        if order.revision != before {
            self.changes.remove(&before);
            self.changes.insert(order.revision, id.to_owned());
        }
    }

    fn count(&self) -> Totals {
        let mut totals = Totals {
            orders: self.orders.len(),
            coupons: self.coupons.values().sum(),
            credit_notes: self.credit_notes.len(),
            queues: self.queues,
            ..Totals::default()
        };
        for Dated { value: order, .. } in self.orders.values() {
            totals.cancelled += usize::from(order.status == Progress::Cancelled);
            totals.charged += order.charges.len();
            totals.charged_pence = totals.charged_pence.saturating_add(order.charged_pence());
            totals.shipped += order.shipments;
        }
        totals
    }

    /// Whether a client with this cursor knows everything.
    pub(super) fn is_read(&self, cursor: Cursor) -> bool {
        cursor == Cursor::At(self.revision)
    }

    /// What a client with this cursor does not know, and moves the cursor behind it. After many
    /// changes it is not everything: see [`is_read`](Self::is_read).
    pub(super) fn news(&self, cursor: &mut Cursor) -> Vec<News<'_>> {
        let mut news: Vec<News<'_>> = Vec::new();
        let (since, until) = match *cursor {
            Cursor::Start => {
                news.extend(self.snapshot().map(News::Order));
                (0, self.revision)
            }
            Cursor::At(since) => {
                let mut changes = self.changes.range(since + 1..);
                let changed: Vec<_> = changes.by_ref().take(CHANGES_MAX).collect();
                let until = match (changes.next(), changed.last()) {
                    (Some(_), Some((revision, _))) => **revision,
                    _ => self.revision,
                };
                let orders = changed.into_iter().filter_map(|(_, id)| self.orders.get(id));
                news.extend(orders.map(|order| News::Order(&order.value)));
                (since, until)
            }
        };
        if self.totals.revision > since {
            news.push(News::Totals(&self.totals.value));
        }
        if self.faults.revision > since {
            news.push(News::Faults(&self.faults.value));
        }
        let is_silent = since == 0 && self.trouble.value.is_none();
        if self.trouble.revision > since && !is_silent {
            news.push(News::Trouble(self.trouble.value));
        }
        *cursor = Cursor::At(until);
        news
    }

    /// The newest orders, and before them all damaged ones: damage is never too old to be seen.
    fn snapshot(&self) -> impl Iterator<Item = &OrderView> {
        let old = self.sequence.len().saturating_sub(SNAPSHOT_ORDERS);
        let order = |id: &String| self.orders.get(id).map(|order| &order.value);
        let in_sequence = self.sequence.iter().filter_map(order).enumerate();
        in_sequence
            .filter(move |(at, order)| *at >= old || order.is_damaged())
            .map(|(_, order)| order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shop_services::marketing::{Coupon, Customer};
    use shop_services::messages::PlaceOrder;
    use shop_services::orders::{Order, Status};
    use shop_services::payments::{Account, Booking};

    fn placement(order: &str) -> Told {
        Told::Placement(PlaceOrder {
            order: order.to_owned(),
            reference: format!("number {order}"),
            customer: None,
            total_pence: 100,
            pieces: 1,
        })
    }

    fn bookings(count: usize) -> Vec<Booking> {
        vec![Booking { pence: 100, at: "now".to_owned() }; count]
    }

    fn charged(order: &str, times: usize) -> Told {
        let account = Account { charges: bookings(times), ..Account::default() };
        Told::Account(order.to_owned(), account)
    }

    fn many(count: usize) -> Board {
        let mut board = Board::default();
        board.take((0..count).map(|n| placement(&format!("{n:05}"))).collect(), None);
        board
    }

    /// The orders among the news by id, and whether there were totals.
    fn read(board: &Board, cursor: &mut Cursor) -> (Vec<String>, bool) {
        let news = board.news(cursor);
        let orders = news.iter().filter_map(|news| match news {
            News::Order(order) => Some(order.order.clone()),
            _ => None,
        });
        let has_totals = news.iter().any(|news| matches!(news, News::Totals(_)));
        (orders.collect(), has_totals)
    }

    #[test]
    fn a_client_is_told_all_orders_oldest_first_and_then_what_changes() {
        let mut board = Board::default();
        board.take(vec![placement("b"), placement("c"), placement("a")], None);
        let mut cursor = Cursor::Start;
        let sorted = ["a", "b", "c"].map(ToOwned::to_owned).to_vec();
        assert_eq!(read(&board, &mut cursor), (sorted, true));
        assert_eq!(read(&board, &mut cursor), (Vec::new(), false));

        board.take(vec![charged("b", 1), placement("0"), placement("a")], None);
        let changed = ["b", "0"].map(ToOwned::to_owned).to_vec();
        assert_eq!(read(&board, &mut cursor), (changed, true));
        // Who comes later finds it behind those that were there before.
        let sequence = ["a", "b", "c", "0"].map(ToOwned::to_owned).to_vec();
        assert_eq!(read(&board, &mut Cursor::Start).0, sequence);
    }

    #[test]
    fn the_snapshot_holds_the_newest_orders_and_all_damaged_ones() {
        let mut board = many(SNAPSHOT_ORDERS + 10);
        board.take(vec![charged("00003", 2), charged("00004", 1)], None);
        let (orders, _) = read(&board, &mut Cursor::Start);
        assert_eq!(orders.len(), SNAPSHOT_ORDERS + 1);
        assert_eq!((orders[0].as_str(), orders[1].as_str()), ("00003", "00010"));
    }

    #[test]
    fn a_slow_client_finds_each_order_once_and_misses_none() {
        let mut board = many(1);
        let mut cursor = Cursor::Start;
        read(&board, &mut cursor);
        let count = 2 * CHANGES_MAX + 1;
        for round in 1..4 {
            let orders = (0..count).map(|n| charged(&format!("{n:05}"), round)).collect();
            board.take(orders, None);
        }
        let mut seen = Vec::new();
        while !board.is_read(cursor) {
            let (orders, _) = read(&board, &mut cursor);
            assert!(orders.len() <= CHANGES_MAX);
            seen.extend(orders);
        }
        let distinct: BTreeSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (count, count));
    }

    #[test]
    fn the_totals_count_charges_coupons_and_credit_notes() {
        let mut board = many(3);
        let cancelled = Order { status: Status::Cancelled, ..Order::default() };
        let coupons = vec![Coupon { order: "00001".to_owned(), at: "now".to_owned() }];
        let customer = Customer { coupons, ..Customer::default() };
        let paid_out = Account { payouts: bookings(1), ..Account::default() };
        let told = vec![
            Told::Order("00002".to_owned(), cancelled),
            charged("00000", 2),
            Told::Customer("customer holly".to_owned(), customer),
            Told::Account("credit".to_owned(), paid_out),
        ];
        let queues = Queues { queued: 7, in_flight: 1, dead_letters: 2 };
        board.take(told, Some(queues));
        let expected = Totals {
            orders: 3,
            cancelled: 1,
            charged: 2,
            charged_pence: 200,
            shipped: 0,
            coupons: 1,
            credit_notes: 1,
            queues,
        };
        assert_eq!(board.totals.value, expected);
        assert!(board.orders["00001"].value.coupon);
    }

    #[test]
    fn trouble_is_told_when_it_comes_and_when_it_goes() {
        let mut board = many(0);
        board.take_trouble(None);
        let mut cursor = Cursor::Start;
        assert!(!board.news(&mut cursor).iter().any(|news| matches!(news, News::Trouble(_))));
        for trouble in [Some("broken"), None] {
            board.take_trouble(trouble);
            let news = board.news(&mut cursor);
            assert!(matches!(news[..], [News::Trouble(told)] if told == trouble));
        }
    }
}

//! The live stream.

use reqwest::{Method, Response};
use rusqlite::Connection;
use semel::core::protocols;
use serde_json::{Value, json};

use super::rig::{Shop, sledges};

/// One client of the stream.
struct Stream {
    response: Response,
    text: String,
}

/// An event: its name, or nothing for a comment, and its data.
type Event = (String, Value);

impl Stream {
    async fn open(shop: &Shop) -> Self {
        let response = shop.request(Method::GET, "/api/live").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(str::from_utf8(&chunk).unwrap());
        }
    }

    /// The data of the next event of this name for which `is_wanted` holds.
    async fn until(&mut self, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (found, data) = self.next().await.unwrap();
            if found == name && is_wanted(&data) {
                return data;
            }
        }
    }
}

fn parse(event: &str) -> Event {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    match (field("event: "), field("data: ")) {
        (Some(name), Some(data)) => (name.to_owned(), serde_json::from_str(data).unwrap()),
        _ => (String::new(), json!(event)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_to_its_end_under_every_protocol() {
    for protocol in protocols::all() {
        check_order(Shop::staffed_under(protocol).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_followed_in_a_store_that_is_no_file() {
    for protocol in protocols::all() {
        check_order(Shop::staffed_with(protocol, false).await).await;
    }
}

async fn check_order(shop: Shop) {
    let mut stream = Stream::open(&shop).await;
    let totals = stream.until("totals", |_| true).await;
    assert_eq!((&totals["orders"], &totals["dead_letters"]), (&json!(0), &json!(0)));

    let order = shop.order("holly", sledges(4)).await;
    let is_done = |row: &Value| row["status"] == "shipped" && row["coupon"] == true;
    let row = stream.until("order", is_done).await;
    let expected = json!({
        "order": order, "reference": order, "customer": "holly", "status": "shipped",
        "total_pence": 23_600, "charges": 1, "charged_pence": 23_600, "refunded_pence": 0,
        "shipments": 1, "coupon": true,
    });
    assert_eq!(row, expected);
    let is_quiet = |totals: &Value| {
        totals["queued"] == 0 && totals["in_flight"] == 0 && totals["coupons"] == 1
    };
    let totals = stream.until("totals", is_quiet).await;
    let expected = json!({
        "orders": 1, "cancelled": 0, "charged": 1, "charged_pence": 23_600, "shipped": 1,
        "coupons": 1, "credit_notes": 0, "queued": 0, "in_flight": 0, "dead_letters": 0,
    });
    assert_eq!(totals, expected);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_is_told_everything_oldest_first() {
    let shop = Shop::deserted().await;
    let first = shop.order("holly", sledges(1)).await;
    shop.work().await;
    let second = shop.order("ivy", sledges(2)).await;
    shop.note_faults("worker_killed\nworker_killed\nmessage_delayed\n");
    // Once one client has seen all this, the next cannot be told less.
    let mut earlier = Stream::open(&shop).await;
    earlier.until("order", |row| row["order"] == second.as_str()).await;
    earlier.until("faults", |counts| counts["worker_killed"] == 2).await;

    let mut stream = Stream::open(&shop).await;
    let mut orders = Vec::new();
    for _ in 0..2 {
        let (name, row) = stream.next().await.unwrap();
        orders.push((name, row["order"].clone(), row["status"].clone()));
    }
    let expected = [(&first, "shipped"), (&second, "submitted")]
        .map(|(id, status)| ("order".to_owned(), json!(id), json!(status)));
    assert_eq!(orders, expected);
    let (name, totals) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &totals["queued"]), ("totals", &json!(1)));
    let faults = json!({ "worker_killed": 2, "message_delayed": 1 });
    assert_eq!(stream.next().await.unwrap(), ("faults".to_owned(), faults));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_closes_though_somebody_watches() {
    let shop = Shop::staffed().await;
    let mut stream = Stream::open(&shop).await;
    stream.until("totals", |_| true).await;
    shop.close().await;
    while stream.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ledger_is_told_and_hides_no_other_order() {
    let shop = Shop::deserted().await;
    let mut stream = Stream::open(&shop).await;
    stream.until("totals", |_| true).await;
    let damage = "INSERT INTO entity VALUES ('orders', 'damaged', 'no JSON', 1, NULL)";
    Connection::open(shop.file("shop.db")).unwrap().execute(damage, ()).unwrap();
    let is_trouble =
        |comment: &Value| comment.as_str().is_some_and(|text| text.contains("cannot be read"));
    stream.until("", is_trouble).await;

    let order = shop.order("holly", sledges(1)).await;
    shop.work().await;
    stream.until("order", |row| row["order"] == order.as_str() && row["status"] == "shipped").await;
}

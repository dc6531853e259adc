//! Carts, orders and credit notes over HTTP.

use reqwest::Method;
use semel::core::protocols;
use semel::core::store::{ItemKey, Space};
use serde_json::{Value, json};
use shop_services::PAYMENTS;

use super::rig::{Answer, Shop, read, sledges};
use crate::books::Books;
use crate::input::CATALOGUE;

/// An id as the server mints them, which it never minted.
const NOBODYS_ID: &str = "01990000-0000-7000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_all_the_way_under_every_protocol() {
    for protocol in protocols::all() {
        check_order(Shop::staffed_under(protocol).await).await;
    }
}

async fn check_order(shop: Shop) {
    let cart = shop.cart("holly", sledges(4)).await;
    let shown = shop.get(&format!("/api/carts/{cart}")).await;
    let expected = json!({
        "cart": cart, "order": null, "customer": "holly", "reference": null,
        "lines": sledges(4), "total_pence": 23_600,
    });
    assert_eq!((shown.status, &shown.body), (200, &expected));

    let submitted = shop.act(&format!("/api/carts/{cart}/submit"), "key").await;
    let status_url = format!("/api/orders/{cart}");
    let expected = json!({ "order": cart, "status_url": status_url });
    assert_eq!((submitted.status, submitted.body), (202, expected));
    assert_eq!(shop.get(&format!("/api/carts/{cart}")).await.body["order"], cart);

    // Marketing hears of the payment beside Orders: its coupon may come later.
    let is_done = |order: &Value| order["status"] == "shipped" && order["coupon"] == true;
    let order = shop.order_when(&cart, is_done).await;
    let expected = json!({
        "order": cart, "reference": cart, "customer": "holly", "total_pence": 23_600,
        "status": "shipped", "charges": [{ "pence": 23_600 }], "refunds": [], "shipments": 1,
        "coupon": true,
    });
    assert_eq!(order, expected);
    let books = Books::read(&shop.file("shop.db")).unwrap();
    assert_eq!(books.accounts[&cart].charges.len(), 1);
    assert_eq!((books.consignments[&cart].parcels.len(), books.tokens), (1, 0));
    assert_eq!(books.customers["customer holly"].coupons.len(), 1);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_is_one_order_with_one_answer() {
    let shop = Shop::deserted().await;
    let cart = shop.cart("holly", sledges(1)).await;
    let path = format!("/api/carts/{cart}/submit");
    let (first, second) = tokio::join!(shop.act(&path, "key"), shop.act(&path, "key"));
    assert_eq!(first.status, 202);
    assert_eq!(first, second);
    assert_eq!(shop.act(&path, "key").await, first);
    shop.work().await;
    let order = shop.order_once(&cart, "shipped").await;
    assert_eq!((&order["charges"], &order["shipments"]), (&json!([{ "pence": 5_900 }]), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_keys_on_one_cart_are_one_order_with_one_answer() {
    let shop = Shop::deserted().await;
    let cart = shop.cart("holly", sledges(1)).await;
    let path = format!("/api/carts/{cart}/submit");
    let (first, second) = tokio::join!(shop.act(&path, "one"), shop.act(&path, "other"));
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.text, second.text);
    shop.work().await;
    let order = shop.order_once(&cart, "shipped").await;
    assert_eq!(order["charges"], json!([{ "pence": 5_900 }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_request() {
    let shop = Shop::deserted().await;
    let cart = shop.order("holly", sledges(1)).await;
    let reused = shop.act(&format!("/api/orders/{cart}/cancel"), "key").await;
    assert_eq!(
        (reused.status, &reused.body["type"]),
        (422, &json!("urn:semel:problem:key-reused"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_works_on_is_submitted() {
    let shop = Shop::deserted().await;
    let cart = shop.order("holly", sledges(2)).await;
    let order = shop.get(&format!("/api/orders/{cart}")).await.body;
    assert_eq!((&order["status"], &order["total_pence"]), (&json!("submitted"), &json!(11_800)));
    assert_eq!(order["charges"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_can_be_cancelled_in_time() {
    let shop = Shop::deserted().await;
    let cart = shop.order("holly", sledges(1)).await;
    let path = format!("/api/orders/{cart}/cancel");
    let cancelled = shop.act(&path, "cancel").await;
    assert_eq!((cancelled.status, &cancelled.body), (202, &json!({ "order": cart })));
    assert_eq!(shop.act(&path, "cancel").await, cancelled);
    assert_eq!(shop.act(&path, "another").await, cancelled);
    shop.work().await;
    let order = shop.order_once(&cart, "cancelled").await;
    // The charge may have been under way: then the money went back.
    assert_eq!(order["charges"], order["refunds"]);
    assert_eq!(order["shipments"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipped_order_stays_shipped() {
    let shop = Shop::staffed().await;
    let cart = shop.order("holly", sledges(1)).await;
    shop.order_once(&cart, "shipped").await;
    assert_eq!(shop.act(&format!("/api/orders/{cart}/cancel"), "cancel").await.status, 202);
    shop.work().await;
    assert_eq!(shop.order_once(&cart, "shipped").await["refunds"], json!([]));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_note_is_paid_out_once() {
    let shop = Shop::deserted().await;
    let heading = json!({ "customer": "holly", "reference": "C536379" });
    let created = shop.post("/api/credit-notes", heading).await;
    assert_eq!(created.status, 201);
    let note = created.body["credit_note"].as_str().unwrap().to_owned();
    let path = format!("/api/credit-notes/{note}");
    assert_eq!(shop.act(&format!("{path}/submit"), "key").await.status, 422);
    assert_eq!(shop.put(&format!("{path}/lines"), sledges(2)).await.body["payout"], Value::Null);
    let submitted = shop.act(&format!("{path}/submit"), "key").await;
    assert_eq!((submitted.status, &submitted.body), (202, &json!({ "credit_note": note })));
    assert_eq!(shop.act(&format!("{path}/submit"), "another").await, submitted);
    assert_eq!(shop.put(&format!("{path}/lines"), sledges(1)).await.status, 409);
    assert_eq!(shop.get(&path).await.body["payout"], note);
    shop.work().await;

    let key = ItemKey::new(Space::Entity, PAYMENTS, &note);
    let account = shop.backend().store().read(&key).await.unwrap().unwrap();
    let account: Value = serde_json::from_slice(&account.value).unwrap();
    assert_eq!(
        (&account["credit_note"], &account["customer"]),
        (&json!("C536379"), &json!("holly"))
    );
    assert_eq!(account["payouts"].as_array().unwrap().len(), 1);
    assert_eq!(account["payouts"][0]["pence"], 11_800);
    // A credit note is no cart, though it has an id.
    assert_eq!(shop.get(&format!("/api/orders/{note}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_keeps_its_lines() {
    let shop = Shop::deserted().await;
    let cart = shop.order("holly", sledges(1)).await;
    let refused = shop.put(&format!("/api/carts/{cart}/lines"), sledges(2)).await;
    assert_eq!((refused.status, &refused.body["type"]), (409, &json!("about:blank")));
    assert_eq!(shop.get(&format!("/api/carts/{cart}")).await.body["lines"], sledges(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_cart_is_kept_but_not_ordered() {
    let shop = Shop::deserted().await;
    let cart = shop.cart("holly", json!([])).await;
    let submit = format!("/api/carts/{cart}/submit");
    assert_eq!(shop.act(&submit, "key").await.status, 422);
    assert_eq!(shop.get(&format!("/api/orders/{cart}")).await.status, 404);
    assert_eq!(shop.act(&format!("/api/orders/{cart}/cancel"), "cancel").await.status, 409);
    // The refusal freed the key.
    shop.put(&format!("/api/carts/{cart}/lines"), sledges(1)).await;
    assert_eq!(shop.act(&submit, "key").await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_body_is_refused_and_changes_nothing() {
    let shop = Shop::deserted().await;
    let cart = shop.cart("holly", sledges(1)).await;
    let path = format!("/api/carts/{cart}/lines");
    let line = |name: &str, value: Value| {
        let mut line = sledges(1)[0].clone();
        line[name] = value;
        json!([line])
    };
    for (body, status) in [
        (json!({}), 400),
        (json!("gifts"), 400),
        (json!([{}]), 400),
        (json!([{ "sku": "PLAY-01" }]), 400),
        (line("quantity", json!(-1)), 400),
        (line("quantity", json!(1.5)), 400),
        (line("quantity", json!(5_000_000_000_u64)), 400),
        (line("unit_price_pence", json!("5900")), 400),
        (line("sku", Value::Null), 400),
        (line("quantity", json!(0)), 422),
        (line("unit_price_pence", json!(0)), 422),
        (line("unit_price_pence", json!(-5_900)), 422),
        (line("unit_price_pence", json!(i64::MAX)), 422),
        (line("sku", json!("")), 422),
        (line("description", json!("x".repeat(5_000))), 422),
        (Value::Array(vec![sledges(1)[0].clone(); 2_001]), 422),
    ] {
        let answer = shop.put(&path, body.clone()).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
    }
    for body in [json!([]), json!({ "customer": 7 }), json!({ "reference": ["x"] })] {
        assert_eq!(shop.post("/api/carts", body).await.status, 400);
    }
    let wordy = json!({ "customer": "x".repeat(5_000) });
    assert_eq!(shop.post("/api/carts", wordy).await.status, 422);
    assert_eq!(shop.get(&format!("/api/carts/{cart}")).await.body["lines"], sledges(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_json_is_refused() {
    let shop = Shop::deserted().await;
    let cart = shop.cart("holly", sledges(1)).await;
    let path = format!("/api/carts/{cart}/lines");
    for (kind, body, status) in [
        ("text/plain", "[]".to_owned(), 415),
        ("application/json", String::new(), 400),
        ("application/json", "[".to_owned(), 400),
        ("application/json", " ".repeat(1024 * 1024 + 1), 413),
    ] {
        let request = shop.request(Method::PUT, &path).header("Content-Type", kind).body(body);
        assert_eq!(read(request.send().await.unwrap()).await.status, status, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_needs_one_key() {
    let shop = Shop::deserted().await;
    let cart = shop.cart("holly", sledges(1)).await;
    let submit = format!("/api/carts/{cart}/submit");
    assert_eq!(shop.post(&submit, json!({})).await.status, 400);
    assert_eq!(shop.act(&submit, "").await.status, 400);
    assert_eq!(shop.act(&submit, &"k".repeat(256)).await.status, 400);
    assert_eq!(shop.get(&format!("/api/orders/{cart}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_and_paths_are_problems() {
    let shop = Shop::deserted().await;
    for id in [NOBODYS_ID, "x", "%20", "%F0%9F%8E%84", "..%2f..%2fetc"] {
        for path in [
            format!("/api/carts/{id}"),
            format!("/api/credit-notes/{id}"),
            format!("/api/orders/{id}"),
        ] {
            assert_eq!(shop.get(&path).await.status, 404, "{path}");
        }
        let lines = format!("/api/carts/{id}/lines");
        assert_eq!(shop.put(&lines, sledges(1)).await.status, 404, "{lines}");
        for path in [
            format!("/api/carts/{id}/submit"),
            format!("/api/credit-notes/{id}/submit"),
            format!("/api/orders/{id}/cancel"),
        ] {
            assert_eq!(shop.act(&path, "key").await.status, 404, "{path}");
        }
    }
    for path in ["/nowhere", "/api", "/api/carts/", "/assets/", "/assets/shop.rs", "/live/"] {
        assert_eq!(shop.get(path).await.status, 404, "{path}");
    }
    assert_eq!(shop.get("/api/carts/%FF").await.status, 400);
    assert_eq!(shop.get("/api/carts").await.status, 405);
    assert_eq!(shop.post("/", json!({})).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_load_nothing_from_elsewhere() {
    let shop = Shop::deserted().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/live", "text/html; charset=utf-8"),
        ("/assets/shop.css", "text/css; charset=utf-8"),
        ("/assets/shop.js", "text/javascript; charset=utf-8"),
        ("/assets/live.js", "text/javascript; charset=utf-8"),
        ("/favicon.ico", "image/svg+xml"),
    ] {
        let response = shop.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers();
        assert_eq!(headers["content-type"], kind);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_what_the_shop_sells() {
    let shop = Shop::deserted().await;
    let Answer { status, body, .. } = shop.get("/api/catalogue").await;
    assert_eq!((status, body.as_array().unwrap().len()), (200, CATALOGUE.len()));
    // What is shown can be put into a cart as it is.
    let mut lines = body;
    for line in lines.as_array_mut().unwrap() {
        line["quantity"] = json!(1);
    }
    shop.cart("holly", lines).await;
}

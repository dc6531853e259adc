//! The edge behind a real server.

use std::net::SocketAddr;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use semel_http::{
    DataSetId, Edge, Fingerprint, IdempotencyKey, JsonBody, Problem, Reply, Submission,
};
use serde::Deserialize;

use crate::client::{Answer, ask, read, send};
use crate::faults::Op::{Apply, Hang};
use crate::faults::{ReadFault, Script};
use crate::rig::{Cart, File, add, cancel, order, sledge};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const KEY: (&str, &str) = ("Idempotency-Key", "\"8e03978e\"");

#[derive(Deserialize)]
struct Gift {
    gift: String,
}

#[derive(Deserialize)]
struct Submit {}

async fn create(State(edge): State<Edge>) -> Result<Json<DataSetId>, Problem> {
    Ok(Json(edge.create(sledge()).await?))
}

async fn show(State(edge): State<Edge>, Path(id): Path<DataSetId>) -> Result<Json<Cart>, Problem> {
    Ok(Json(edge.read(&id).await?))
}

async fn put_in(
    State(edge): State<Edge>,
    Path(id): Path<DataSetId>,
    body: JsonBody<Gift>,
) -> Result<Json<usize>, Problem> {
    Ok(Json(edge.change(&id, |cart: &mut Cart| add(cart, &body.value.gift)).await?))
}

async fn submit(
    State(edge): State<Edge>,
    Path(id): Path<DataSetId>,
    key: IdempotencyKey,
    body: JsonBody<Submit>,
) -> Result<Reply, Problem> {
    edge.act(&id, "order", Submission::new(key, body.fingerprint), order).await
}

async fn call_off(
    State(edge): State<Edge>,
    Path(id): Path<DataSetId>,
    key: Option<IdempotencyKey>,
    fingerprint: Fingerprint,
) -> Result<Reply, Problem> {
    edge.act(&id, "cancel", Submission::new(key, fingerprint), cancel).await
}

/// Serves `edge` on a port of its own until the test ends.
async fn serve(edge: Edge) -> SocketAddr {
    let app = Router::new()
        .route("/carts", post(create))
        .route("/carts/{id}", get(show).post(put_in))
        .route("/carts/{id}/order", post(submit))
        .route("/carts/{id}/cancel", post(call_off))
        .layer(DefaultBodyLimit::max(1_000))
        .with_state(edge);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    server
}

/// Begins a cart, and returns the path of its order.
async fn begin(server: SocketAddr) -> String {
    let id = ask(server, "POST /carts", &[], "").await.json();
    format!("/carts/{}/order", id.as_str().unwrap())
}

fn assert_problem(answer: &Answer, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let json = answer.json();
    assert_eq!(json["status"], status);
    assert_eq!(json["type"], kind, "{json}");
    for member in ["title", "detail"] {
        assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
    }
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_byte_for_byte() {
    let file = File::new();
    let server = serve(file.edge()).await;
    let other_process = serve(file.edge()).await;
    let path = begin(server).await;
    let line = format!("POST {path}");
    let answer = ask(server, &line, &[JSON, KEY], "{}").await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), "application/json");
    let placed = answer.json()["order"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/orders/{placed}"));

    let bare = ("Idempotency-Key", "8e03978e");
    let other_key = ("idempotency-key", "other");
    for server in [server, other_process] {
        for key in [KEY, bare, other_key] {
            assert_eq!(ask(server, &line, &[JSON, key], "{}").await, answer);
        }
    }
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn a_key_is_required_where_the_action_says_so() {
    let file = File::new();
    let server = serve(file.edge()).await;
    let path = begin(server).await;
    let answer = ask(server, &format!("POST {path}"), &[JSON], "{}").await;
    assert_problem(&answer, 400, "urn:semel:problem:key-missing");
    assert_eq!(answer.json()["title"], "Idempotency-Key is missing");
    assert_eq!(file.counts().await, (1, 0, 0));

    ask(server, &format!("POST {path}"), &[JSON, KEY], "{}").await;
    let cancel = format!("POST {}", path.replace("order", "cancel"));
    assert_eq!(ask(server, &cancel, &[], "").await.status, 200);
    assert_eq!(ask(server, &cancel, &[("Idempotency-Key", "c")], "").await.status, 200);
    assert_eq!(file.counts().await, (1, 1, 2));
}

#[tokio::test]
async fn a_malformed_key_is_400_also_where_none_is_required() {
    let file = File::new();
    let server = serve(file.edge()).await;
    let path = begin(server).await;
    let long = "k".repeat(256);
    for value in ["", "\"\"", "\"open", "a, b", "\u{e9}", &long] {
        for path in [path.clone(), path.replace("order", "cancel")] {
            let headers = [JSON, ("Idempotency-Key", value)];
            let answer = ask(server, &format!("POST {path}"), &headers, "{}").await;
            assert_problem(&answer, 400, "urn:semel:problem:key-malformed");
        }
    }
    let twice = [JSON, KEY, KEY];
    let answer = ask(server, &format!("POST {path}"), &twice, "{}").await;
    assert_problem(&answer, 400, "urn:semel:problem:key-malformed");
    assert_eq!(file.counts().await, (1, 0, 0));
}

#[tokio::test]
async fn a_key_used_for_another_body_path_or_query_is_422() {
    let file = File::new();
    let server = serve(file.edge()).await;
    let path = begin(server).await;
    let answer = ask(server, &format!("POST {path}"), &[JSON, KEY], "{}").await;
    assert_eq!(answer.status, 201);
    let cancel = path.replace("order", "cancel");
    let others = [(path.clone(), "{ }"), (format!("{path}?express"), "{}"), (cancel, "{}")];
    for (path, body) in others {
        let answer = ask(server, &format!("POST {path}"), &[JSON, KEY], body).await;
        assert_problem(&answer, 422, "urn:semel:problem:key-reused");
    }
    assert_eq!(file.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn an_unknown_cart_is_404_and_stays_unknown() {
    let file = File::new();
    let server = serve(file.edge()).await;
    for id in ["01982d5c-0000-7000-8000-000000000000", "junk", "%00", "a%2Fb"] {
        let path = format!("/carts/{id}");
        let answers = [
            ask(server, &format!("GET {path}"), &[], "").await,
            ask(server, &format!("POST {path}"), &[JSON], r#"{"gift":"kite"}"#).await,
            ask(server, &format!("POST {path}/order"), &[JSON, KEY], "{}").await,
            ask(server, &format!("GET {path}"), &[], "").await,
        ];
        for answer in answers {
            assert_problem(&answer, 404, "urn:semel:problem:unknown-id");
        }
    }
    assert_eq!(file.counts().await, (0, 0, 0));
}

#[tokio::test]
async fn bodies_that_are_not_the_json_expected_are_refused() {
    let file = File::new();
    let server = serve(file.edge()).await;
    let cart = begin(server).await.replace("/order", "");
    let line = format!("POST {cart}");
    let gift = r#"{"gift":"kite"}"#;
    let large = format!(r#"{{"gift":"{}"}}"#, "x".repeat(1_000));
    let text = ("Content-Type", "text/plain");
    let xml = ("Content-Type", "application/xml");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers, &str, u16, &str); 7] = [
        (&[JSON], "{\"gift\":", 400, "body-malformed"),
        (&[JSON], "", 400, "body-malformed"),
        (&[JSON], r#"{"gift":7}"#, 400, "body-malformed"),
        (&[], gift, 415, "not-json"),
        (&[text], gift, 415, "not-json"),
        (&[xml], gift, 415, "not-json"),
        (&[JSON], &large, 413, "too-large"),
    ];
    for (headers, body, status, kind) in cases {
        let answer = ask(server, &line, headers, body).await;
        assert_problem(&answer, status, &format!("urn:semel:problem:{kind}"));
    }
    for content_type in ["application/json; charset=utf-8", "Application/Merge-Patch+JSON"] {
        let answer = ask(server, &line, &[("Content-Type", content_type)], gift).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let gifts = ask(server, &format!("GET {cart}"), &[], "").await.json();
    assert_eq!(gifts["gifts"], serde_json::json!(["sledge", "kite", "kite"]));
}

#[tokio::test]
async fn a_problem_of_the_function_is_the_answer_without_retry_after() {
    let file = File::new();
    let server = serve(file.edge()).await;
    let path = begin(server).await;
    ask(server, &format!("POST {path}"), &[JSON, KEY], "{}").await;
    let cart = path.replace("/order", "");
    let answer = ask(server, &format!("POST {cart}"), &[JSON], r#"{"gift":"kite"}"#).await;
    assert_problem(&answer, 409, "about:blank");
    assert_eq!(answer.json()["title"], "Conflict");
    assert_eq!(answer.json()["detail"], "This cart was ordered already.");
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn trouble_with_the_store_is_503_with_retry_after_and_without_secrets() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[]));
    let server = serve(edge).await;
    let cart = begin(server).await.replace("/order", "");
    store.set_reads(&[ReadFault::Fail]);
    let answer = ask(server, &format!("GET {cart}"), &[], "").await;
    assert_problem(&answer, 503, "urn:semel:problem:unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.body.contains("secret"));
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_the_key_for_its_next_request() {
    let file = File::new();
    let (edge, store) = file.faulty(Script::first(&[&[Apply], &[Hang]]));
    let server = serve(edge).await;
    let line = format!("POST {}", begin(server).await);
    let connection = send(server, &line, &[JSON, KEY], "{}").await;
    store.until_stopped().await;
    drop(connection);
    let answer = read(send(server, &line, &[JSON, KEY], "{}").await).await;
    assert_eq!(answer.status, 201);
    assert_eq!(file.counts().await, (1, 1, 1));
}

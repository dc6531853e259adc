//! The routes of the API, and what every answer has in common.

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use semel::Backend;
use semel::http::{
    DataSetId, Edge, Fingerprint, IdempotencyKey, JsonBody, Problem, Reply, Submission,
};
use serde_json::{Value, json};

use super::carts::{Cart, CreditNote, Document, Heading, Kind};
use super::live::Live;
use super::pages;
use super::view::{self, OrderView};
use crate::input::{CATALOGUE, Line};

/// The largest body: two thousand lines, generously worded.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// On every answer. The pages load nothing from elsewhere and hold no inline code, and nobody may
/// frame them: a press on a button is meant.
const HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What the routes work on.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    pub(super) edge: Edge,
    pub(super) backend: Backend,
    pub(super) live: Live,
}

/// All routes.
pub(super) fn app(shop: Shop) -> Router {
    Router::new()
        .merge(pages::routes())
        .merge(documents::<Cart>())
        .merge(documents::<CreditNote>())
        .route("/api/catalogue", get(async || Json(CATALOGUE)))
        .route("/api/orders/{id}", get(order))
        .route("/api/orders/{id}/cancel", post(cancel))
        .route("/api/live", get(live))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "Nothing lies under this path."))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_response(finish))
        .with_state(shop)
}

/// The routes of one kind of document. A submission is an action, which happens once; what comes
/// before it may be repeated, or leaves an empty document behind.
fn documents<K: Kind>() -> Router<Shop> {
    let path = K::PATH;
    Router::new()
        .route(path, post(create::<K>))
        .route(&format!("{path}/{{id}}"), get(show::<K>))
        .route(&format!("{path}/{{id}}/lines"), put(set_lines::<K>))
        .route(&format!("{path}/{{id}}/submit"), post(submit::<K>))
}

async fn create<K: Kind>(
    State(shop): State<Shop>,
    heading: JsonBody<Heading>,
) -> Result<impl IntoResponse, Problem> {
    let id = shop.edge.create(Document::<K>::new(&heading.value)?).await?;
    let location = [(LOCATION, format!("{}/{id}", K::PATH))];
    Ok((StatusCode::CREATED, location, Json(json!({ (K::NAME): id }))))
}

async fn show<K: Kind>(
    State(shop): State<Shop>,
    Path(id): Path<DataSetId>,
) -> Result<Json<Value>, Problem> {
    let document = shop.edge.read::<Document<K>>(&id).await?;
    Ok(Json(document.shown(&id)))
}

async fn set_lines<K: Kind>(
    State(shop): State<Shop>,
    Path(id): Path<DataSetId>,
    lines: JsonBody<Vec<Line>>,
) -> Result<Json<Value>, Problem> {
    let change = |document: &mut Document<K>| {
        document.set_lines(&lines.value)?;
        Ok(document.shown(&id))
    };
    shop.edge.change(&id, change).await.map(Json)
}

async fn submit<K: Kind>(
    State(shop): State<Shop>,
    Path(id): Path<DataSetId>,
    key: IdempotencyKey,
    request: Fingerprint,
) -> Result<Reply, Problem> {
    let work = |document: &mut Document<K>, ctx: &mut semel::Context| document.submit(&id, ctx);
    shop.edge.act(&id, "submit", Submission::new(key, request), work).await
}

async fn order(
    State(shop): State<Shop>,
    Path(id): Path<DataSetId>,
) -> Result<Json<OrderView>, Problem> {
    let cart = shop.edge.read::<Document<Cart>>(&id).await?;
    let placement = cart.order(&id).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "This cart was not submitted: it is no order yet.")
    })?;
    view::read(&**shop.backend.store(), &placement).await.map(Json)
}

async fn cancel(
    State(shop): State<Shop>,
    Path(id): Path<DataSetId>,
    key: IdempotencyKey,
    request: Fingerprint,
) -> Result<Reply, Problem> {
    let work = |cart: &mut Document<Cart>, ctx: &mut semel::Context| cart.cancel(&id, ctx);
    shop.edge.act(&id, "cancel", Submission::new(key, request), work).await
}

async fn live(State(shop): State<Shop>) -> impl IntoResponse {
    shop.live.stream()
}

/// Makes a problem of every error that the router itself answers with, and adds the headers.
async fn finish(mut response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes() == b"application/problem+json");
    if is_error && !is_problem {
        let allowed = response.headers_mut().remove(ALLOW);
        let detail = match status {
            StatusCode::METHOD_NOT_ALLOWED => "This path has no such method; see the header Allow.",
            _ => "The request cannot be understood.",
        };
        response = Problem::new(status, detail).into_response();
        if let Some(allowed) = allowed {
            response.headers_mut().insert(ALLOW, allowed);
        }
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    // What is answered here is private, and true for the moment.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

//! Customers: they submit invoices over HTTP, repeat requests, and sometimes change their minds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::Stop;
use crate::audit::Accepted;
use crate::chaos::{Chaos, Fault};
use crate::input::{Invoice, InvoiceKind};

/// How many of a thousand requests are sent again.
const REPEAT: usize = 60;
/// How long a customer waits before asking again.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of one invoice.
#[derive(Debug)]
pub enum Fed {
    /// The shop took it.
    Accepted(Accepted),
    /// The shop refused it.
    Refused { number: String, reason: String },
}

/// Feeds invoices to the shop at `url`.
#[derive(Clone, Debug)]
pub struct Feeder {
    client: Client,
    url: String,
    chaos: Option<Arc<Chaos>>,
    /// How many of a thousand orders are cancelled.
    cancel: usize,
    /// How long a customer keeps asking before giving up on the shop.
    patience: Duration,
}

impl Feeder {
    /// Customers of the shop at `url`, who cancel so many orders of a thousand, and ask again for
    /// as long as `patience` where they get no answer.
    pub fn new(
        url: String,
        chaos: Option<Arc<Chaos>>,
        cancel: usize,
        patience: Duration,
    ) -> Result<Self, Stop> {
        let client =
            Client::builder().timeout(Duration::from_secs(20)).build().map_err(Stop::trouble)?;
        Ok(Self { client, url, chaos, cancel, patience })
    }

    /// Submits one invoice, and perhaps cancels it.
    pub async fn feed(&self, invoice: Invoice) -> Result<Fed, Stop> {
        let (made, name) = match invoice.kind {
            InvoiceKind::Order => ("carts", "cart"),
            InvoiceKind::CreditNote => ("credit-notes", "credit_note"),
        };
        let about = json!({ "customer": invoice.customer, "reference": invoice.number });
        // A repeated creation leaves an empty cart behind, and nothing else.
        let created = self.ask(Method::POST, made, &about, None).await?;
        let Some(id) = created.1[name].as_str() else { return Ok(refused(&invoice, &created)) };
        let path = format!("{made}/{id}");
        let lines = json!(invoice.lines);
        let filled = self.ask(Method::PUT, &format!("{path}/lines"), &lines, None).await?;
        if !filled.0.is_success() {
            return Ok(refused(&invoice, &filled));
        }
        let key = format!("submit-{id}");
        let submitted =
            self.ask(Method::POST, &format!("{path}/submit"), &json!({}), Some(&key)).await?;
        if !submitted.0.is_success() {
            return Ok(refused(&invoice, &submitted));
        }
        let cancel_asked = invoice.kind == InvoiceKind::Order
            && self.chaos.as_ref().is_some_and(|chaos| chaos.permille(self.cancel));
        if cancel_asked {
            let (path, key) = (format!("orders/{id}/cancel"), format!("cancel-{id}"));
            let cancelled = self.ask(Method::POST, &path, &json!({}), Some(&key)).await?;
            if !cancelled.0.is_success() {
                return Err(Stop::trouble(format!("a cancellation was refused: {}", cancelled.1)));
            }
        }
        Ok(Fed::Accepted(Accepted {
            id: id.to_owned(),
            total_pence: invoice.total_pence(),
            pieces: invoice.lines.iter().map(|line| u64::from(line.quantity)).sum(),
            reference: invoice.number,
            kind: invoice.kind,
            customer: invoice.customer,
            cancel_asked,
        }))
    }

    /// Sends a request until it is answered. Sometimes sends it twice at once; both answers must
    /// be the same, if it has a key.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value), Stop> {
        let chaos = self.chaos.as_ref().filter(|chaos| chaos.permille(REPEAT));
        let Some(chaos) = chaos else { return self.insist(&method, path, body, key).await };
        chaos.note(Fault::RequestRepeated);
        let (first, second) = tokio::join!(
            self.insist(&method, path, body, key),
            self.insist(&method, path, body, key)
        );
        let (first, second) = (first?, second?);
        if key.is_some() && first != second {
            return Err(Stop::trouble(format!(
                "one request to {path} got two answers: {first:?} and {second:?}"
            )));
        }
        Ok(first)
    }

    async fn insist(
        &self,
        method: &Method,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value), Stop> {
        let mut trouble = String::new();
        let since = Instant::now();
        let mut tries = 0;
        while tries == 0 || since.elapsed() < self.patience {
            tries += 1;
            let url = format!("{}/api/{path}", self.url);
            let mut request = self.client.request(method.clone(), url).json(body);
            if let Some(key) = key {
                request = request.header("Idempotency-Key", format!("\"{key}\""));
            }
            match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    // A server error or an answer that asks for patience proves nothing: again. So
                    // does an answer that was cut.
                    let is_final = !status.is_server_error() && status != StatusCode::CONFLICT;
                    match response.json().await {
                        Ok(answer) if is_final => return Ok((status, answer)),
                        Ok(answer) => trouble = format!("{status} {answer}"),
                        Err(error) => trouble = format!("{status}, and no JSON: {error}"),
                    }
                }
                Err(error) => trouble = error.to_string(),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Stop::trouble(format!("the shop did not answer {path} in {tries} tries: {trouble}")))
    }
}

fn refused(invoice: &Invoice, (status, answer): &(StatusCode, Value)) -> Fed {
    let detail = answer["detail"].as_str().unwrap_or("no reason given");
    Fed::Refused { number: invoice.number.clone(), reason: format!("{status}: {detail}") }
}

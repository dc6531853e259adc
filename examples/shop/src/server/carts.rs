//! The data sets behind the edge: carts, which become orders, and credit notes.
//!
//! Both are documents of lines that are submitted once; the kind says what is sent then.

use std::marker::PhantomData;

use axum::http::StatusCode;
use semel::Context;
use semel::http::{DataSet, DataSetId, Problem, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shop_services::messages::{CancelOrder, PayOut, PlaceOrder};
use shop_services::{ORDERS, PAYMENTS};

use crate::input::Line;

/// The most lines of one document.
const LINES_MAX: usize = 2_000;
/// The longest text, in bytes: as much as the files of orders may hold.
const TEXT_BYTES_MAX: usize = 4 * 1024;
/// The most that one document may come to: a billion pounds, as in the files of orders.
const TOTAL_PENCE_MAX: i64 = 100_000_000_000;

/// What a document is, and what becomes of it.
///
/// # Contract
/// `NAME` stays: stored documents, and the identities of the messages they send, are named by it.
pub(super) trait Kind: Sized + Send + Sync + 'static {
    /// Its name in the store and in JSON.
    const NAME: &'static str;
    /// Where documents of this kind are found.
    const PATH: &'static str;
    /// What a submitted one is in JSON, under the same id.
    const RESULT: &'static str;

    /// Declares on `ctx` what a submitted document asks for, and returns what is answered.
    fn submit(
        document: &Document<Self>,
        id: &DataSetId,
        ctx: &mut Context,
    ) -> Result<Reply, Problem>;
}

/// Goods that somebody wants: submitted, it is an order of the same id.
#[derive(Debug)]
pub(super) struct Cart;

/// Goods that came back: submitted, it is paid out.
#[derive(Debug)]
pub(super) struct CreditNote;

/// Whether lines can still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Open,
    Submitted,
}

/// What a client says when it begins a document.
#[derive(Debug, Deserialize)]
pub(super) struct Heading {
    customer: Option<String>,
    reference: Option<String>,
}

/// Lines under a heading.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Document<K> {
    /// `None` is a guest.
    customer: Option<String>,
    /// What the customer calls it; without, it is called by its id.
    reference: Option<String>,
    lines: Vec<Line>,
    /// The sum of the lines.
    total_pence: i64,
    stage: Stage,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> DataSet for Document<K> {
    const KIND: &'static str = K::NAME;
}

impl<K: Kind> Document<K> {
    /// A document without lines.
    pub(super) fn new(heading: &Heading) -> Result<Self, Problem> {
        Ok(Self {
            customer: text("The customer", heading.customer.as_deref())?,
            reference: text("The reference", heading.reference.as_deref())?,
            lines: Vec::new(),
            total_pence: 0,
            stage: Stage::Open,
            kind: PhantomData,
        })
    }

    /// Replaces the lines.
    pub(super) fn set_lines(&mut self, lines: &[Line]) -> Result<(), Problem> {
        if self.stage == Stage::Submitted {
            let detail = "This was submitted already, and its lines stay as they are. Begin anew.";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        self.total_pence = total_of(lines)?;
        self.lines = lines.to_vec();
        Ok(())
    }

    /// Closes the document, and declares what follows. The edge calls it once, as an action.
    pub(super) fn submit(&mut self, id: &DataSetId, ctx: &mut Context) -> Result<Reply, Problem> {
        if self.lines.is_empty() {
            return Err(invalid("There is nothing in it. Put in a line, then submit it."));
        }
        self.stage = Stage::Submitted;
        K::submit(self, id, ctx)
    }

    /// The document as clients see it.
    pub(super) fn shown(&self, id: &DataSetId) -> Value {
        let result = (self.stage == Stage::Submitted).then_some(id);
        json!({
            (K::NAME): id,
            (K::RESULT): result,
            "customer": self.customer,
            "reference": self.reference,
            "lines": self.lines,
            "total_pence": self.total_pence,
        })
    }

    fn reference(&self, id: &DataSetId) -> String {
        self.reference.clone().unwrap_or_else(|| id.to_string())
    }
}

impl Kind for Cart {
    const NAME: &'static str = "cart";
    const PATH: &'static str = "/api/carts";
    const RESULT: &'static str = "order";

    fn submit(cart: &Document<Self>, id: &DataSetId, ctx: &mut Context) -> Result<Reply, Problem> {
        let status_url = format!("/api/orders/{id}");
        ctx.send(ORDERS, cart.placement(id));
        let answer = json!({ "order": id, "status_url": status_url });
        Ok(Reply::json(StatusCode::ACCEPTED, &answer)?.at(status_url))
    }
}

impl Document<Cart> {
    /// The order, if there is one.
    pub(super) fn order(&self, id: &DataSetId) -> Option<PlaceOrder> {
        (self.stage == Stage::Submitted).then(|| self.placement(id))
    }

    /// Declares that the order shall be cancelled. The edge calls it once, as an action.
    pub(super) fn cancel(&self, id: &DataSetId, ctx: &mut Context) -> Result<Reply, Problem> {
        if self.stage == Stage::Open {
            let detail = "This cart was never submitted: there is no order to cancel.";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        ctx.send(ORDERS, CancelOrder { order: id.to_string() });
        Reply::json(StatusCode::ACCEPTED, &json!({ "order": id }))
    }

    fn placement(&self, id: &DataSetId) -> PlaceOrder {
        PlaceOrder {
            order: id.to_string(),
            reference: self.reference(id),
            customer: self.customer.clone(),
            total_pence: self.total_pence,
            pieces: self.lines.iter().map(|line| u64::from(line.quantity)).sum(),
        }
    }
}

impl Kind for CreditNote {
    const NAME: &'static str = "credit_note";
    const PATH: &'static str = "/api/credit-notes";
    const RESULT: &'static str = "payout";

    fn submit(note: &Document<Self>, id: &DataSetId, ctx: &mut Context) -> Result<Reply, Problem> {
        ctx.send(
            PAYMENTS,
            PayOut {
                credit_note: id.to_string(),
                reference: note.reference(id),
                customer: note.customer.clone(),
                pence: note.total_pence,
            },
        );
        Reply::json(StatusCode::ACCEPTED, &json!({ "credit_note": id }))
    }
}

/// What the lines come to, or which of them cannot be.
fn total_of(lines: &[Line]) -> Result<i64, Problem> {
    if lines.len() > LINES_MAX {
        let count = lines.len();
        return Err(invalid(format!("There are {count} lines, {LINES_MAX} are the most.")));
    }
    let mut total_pence: i64 = 0;
    for (number, line) in (1..).zip(lines) {
        let pence = pence_of(line)
            .map_err(|why| invalid(format!("Line {number} cannot be taken: {why}.")))?;
        total_pence = total_pence
            .checked_add(pence)
            .filter(|total| *total <= TOTAL_PENCE_MAX)
            .ok_or_else(|| invalid("All together it comes to more than a billion pounds."))?;
    }
    Ok(total_pence)
}

/// What one line comes to, or why it cannot be.
fn pence_of(line: &Line) -> Result<i64, &'static str> {
    let texts = [&line.sku, &line.description];
    if line.sku.is_empty() {
        Err("it has no stock code")
    } else if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        Err("its stock code or description is longer than 4 KiB")
    } else if line.quantity == 0 {
        Err("the quantity must be at least 1")
    } else if line.unit_price_pence <= 0 {
        Err("the price must be above 0")
    } else {
        let pence = line.unit_price_pence.checked_mul(i64::from(line.quantity));
        pence.ok_or("it comes to more than a billion pounds")
    }
}

/// A text without the blanks around it; a blank one is none.
fn text(what: &str, given: Option<&str>) -> Result<Option<String>, Problem> {
    let text = given.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(invalid(format!("{what} is longer than 4 KiB. Use a shorter one.")))
        }
        _ => Ok(text.map(ToOwned::to_owned)),
    }
}

fn invalid(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

#[cfg(test)]
mod tests {
    use semel::Timestamp;
    use semel::core::context::Effect;

    use super::*;

    fn line(quantity: u32, unit_price_pence: i64) -> Line {
        let (sku, description) = ("PLAY-01".to_owned(), "Wooden sledge".to_owned());
        Line { sku, description, quantity, unit_price_pence }
    }

    fn heading(customer: &str, reference: &str) -> Heading {
        Heading { customer: Some(customer.to_owned()), reference: Some(reference.to_owned()) }
    }

    fn cart() -> Document<Cart> {
        Document::new(&heading("holly", "536365")).unwrap()
    }

    fn refused(lines: &[Line]) -> String {
        let problem = total_of(lines).unwrap_err();
        assert_eq!(problem.status(), StatusCode::UNPROCESSABLE_ENTITY);
        problem.detail().to_owned()
    }

    #[test]
    fn the_total_is_the_sum_of_quantity_times_price() {
        assert_eq!(total_of(&[]).unwrap(), 0);
        assert_eq!(total_of(&[line(3, 450), line(1, 1), line(3, 450)]).unwrap(), 2_701);
    }

    #[test]
    fn a_line_that_cannot_be_is_named() {
        let good = line(1, 100);
        let mut nameless = good.clone();
        nameless.sku.clear();
        let mut wordy = good.clone();
        wordy.description = "x".repeat(TEXT_BYTES_MAX + 1);
        for (bad, why) in [
            (nameless, "no stock code"),
            (wordy, "longer than 4 KiB"),
            (line(0, 100), "at least 1"),
            (line(1, 0), "above 0"),
            (line(1, -100), "above 0"),
            (line(2, i64::MAX), "more than a billion pounds"),
        ] {
            let detail = refused(&[good.clone(), bad]);
            assert!(detail.starts_with("Line 2 ") && detail.contains(why), "{detail}");
        }
    }

    #[test]
    fn the_total_and_the_number_of_lines_are_bounded() {
        assert_eq!(total_of(&[line(1, TOTAL_PENCE_MAX)]).unwrap(), TOTAL_PENCE_MAX);
        assert!(refused(&[line(1, TOTAL_PENCE_MAX), line(1, 1)]).contains("billion"));
        let many = vec![line(1, 1); LINES_MAX + 1];
        assert!(total_of(&many[1..]).is_ok());
        assert!(refused(&many).contains("2001 lines"));
    }

    #[test]
    fn a_blank_customer_is_a_guest_and_a_blank_reference_is_the_id() {
        let cart = Document::<Cart>::new(&heading("  ", "")).unwrap();
        let id = DataSetId::from("0199");
        let order = cart.placement(&id);
        assert_eq!((order.customer, order.reference), (None, "0199".to_owned()));
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        assert!(Document::<Cart>::new(&heading(&long, "")).is_err());
    }

    #[test]
    fn a_refused_change_leaves_the_lines_as_they_were() {
        let mut cart = cart();
        cart.set_lines(&[line(2, 100)]).unwrap();
        cart.set_lines(&[line(1, 100), line(0, 100)]).unwrap_err();
        assert_eq!((cart.lines.len(), cart.total_pence), (1, 200));
    }

    #[test]
    fn submitting_closes_the_lines_and_sends_one_message() {
        let id = DataSetId::from("0199");
        let context = || Context::new("submit".to_owned(), Timestamp::default());
        let mut cart = cart();
        let empty = cart.submit(&id, &mut context()).unwrap_err();
        assert_eq!(empty.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(cart.order(&id).is_none());
        assert_eq!(cart.cancel(&id, &mut context()).unwrap_err().status(), StatusCode::CONFLICT);

        cart.set_lines(&[line(2, 100), line(3, 10)]).unwrap();
        let mut ctx = context();
        cart.submit(&id, &mut ctx).unwrap();
        let effects = ctx.into_effects().unwrap();
        let [Effect::Message(message)] = &effects[..] else { panic!("{effects:?}") };
        let placed: PlaceOrder = serde_json::from_slice(&message.data).unwrap();
        assert_eq!((placed.total_pence, placed.pieces), (230, 5));
        assert_eq!((placed.order, placed.reference), ("0199".to_owned(), "536365".to_owned()));
        assert_eq!(cart.set_lines(&[]).unwrap_err().status(), StatusCode::CONFLICT);
        assert_eq!(cart.shown(&id)["order"], "0199");
    }
}

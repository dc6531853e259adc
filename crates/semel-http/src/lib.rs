//! Semel's HTTP edge: the outer, synchronous part of a system, on axum.
//!
//! A client works on a private [`DataSet`], such as a cart, and then does something with it once,
//! such as to order what is in it. [`Edge`] keeps the data sets; its page shows the whole of it.
//!
//! - [`Edge::act`] commits the data set's change, the messages and the response as one attempt. The
//!   same action again gets the same response again, byte for byte. Where the queue lives outside
//!   the store, the messages are written down with it and sent right after; those of an edge that
//!   died in between are sent by the next one on the store.
//! - [`IdempotencyKey`], [`JsonBody`] and [`Fingerprint`] are axum extractors for what that takes.
//! - [`Problem`] is every error, as the JSON of RFC 9457.
//!
//! # What a client must know
//!
//! This is the policy that the draft *The Idempotency-Key HTTP Header Field*
//! (draft-ietf-httpapi-idempotency-key-header) asks servers to publish.
//!
//! - Choose a key of 1 to 255 characters that nobody guesses (a UUID is good) for each thing to be
//!   done, and send it with every attempt at that thing. It counts within one data set: the same
//!   key on another one is another key.
//! - The same key and the same request (method, path, query and body, byte for byte) get the same
//!   response: at least for [`Settings::window`] by the key, and for good because an action happens
//!   once per data set, whatever keys are used.
//! - Only what was done is remembered. A refusal (4xx) changed nothing and frees the key: the same
//!   request may succeed later, and a corrected one may use the same key.
//! - `409` with `Retry-After`: an earlier request is still in progress. `422`: the key was used for
//!   another request. `503` with `Retry-After`: send the same request again.
//! - An answer that never came settles nothing: send the same request again.

#![warn(missing_docs, clippy::print_stdout, clippy::print_stderr)]

mod attempt;
mod body;
mod data_set;
mod document;
mod edge;
mod key;
mod outbox;
pub mod problem;
mod reply;
mod settings;
mod turns;

pub use body::{Fingerprint, JsonBody};
pub use data_set::{DataSet, DataSetId};
pub use edge::Edge;
pub use key::{IdempotencyKey, Submission};
pub use problem::Problem;
pub use reply::Reply;
pub use settings::{EdgeError, Settings, Tokens};

//! The contract of [`Operator`](semel_core::operator::Operator).

mod dead_letters;
mod fate;
pub(crate) mod handle;
mod inspection;

pub use dead_letters::*;
pub use fate::*;
pub use inspection::*;

//! The contract of [`Store`](semel_core::Store).

mod batches;
mod conditions;
mod dropping;
pub(crate) mod handle;
mod items;
mod keys;
mod listing;
mod races;
mod versions;
mod windows;

pub use batches::*;
pub use conditions::*;
pub use dropping::*;
pub use items::*;
pub use keys::*;
pub use listing::*;
pub use races::*;
pub use versions::*;
pub use windows::*;

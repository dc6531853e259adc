//! Identities: derived where an effect must keep its name across attempts, minted where a new
//! thing begins.

use std::fmt;

use uuid::Uuid;

use crate::{Clock, Envelope};

/// The namespace of every identity that Semel derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x5e3e_1000_0000_5e3e_8000_0000_5e3e_5e3e);

/// A source of randomness, passed in so that a run can be repeated.
///
/// # Contract
/// Two calls never return the same sequence in two processes that run at the same time: identities
/// are minted from it.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// 128 random bits.
    fn bits(&self) -> u128;
}

/// The randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that draws random bits")]
    fn bits(&self) -> u128 {
        // A version 7 identity carries 74 random bits behind its time; hashing two of them
        // spreads these over the whole width.
        Uuid::new_v5(&Uuid::now_v7(), Uuid::now_v7().as_bytes()).as_u128()
    }
}

/// A new identity that sorts by the time it was minted (UUID version 7, RFC 9562).
pub fn mint(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let bits = entropy.bits().to_be_bytes();
    let mut random = [0; 10];
    random.copy_from_slice(&bits[..10]);
    let now_ms = u64::try_from(clock.now().unix_ms()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid()
}

/// The identity of the effect at `position` among the effects that `endpoint` declares for
/// `cause`: the same for every attempt (UUID version 5, RFC 9562).
pub fn derive_effect_id(endpoint: &str, cause: &Envelope, position: usize) -> Uuid {
    derive(&["effect", endpoint, &cause.source, &cause.id, &position.to_string()])
}

/// An identity that is a function of `parts` alone.
///
/// Each part is preceded by its length, so that no two lists of parts share a name.
///
/// ```
/// use semel_core::ids::derive;
///
/// assert_eq!(derive(&["cart", "7"]), derive(&["cart", "7"]));
/// assert_ne!(derive(&["cart", "7"]), derive(&["cart7", ""]));
/// ```
pub fn derive(parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

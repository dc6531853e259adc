//! Tokens: where they lie, and what they entitle to.
//!
//! A token is a member of the books of the entity whose attempt sent the message: it comes into being
//! with the commit, and each change of it is conditional on the version of that item. So none can be
//! created late, or twice. Messages that the edge sends have a token in an item of its own, which is
//! created in one batch with them.

use std::time::Duration;

use super::case::Case;
use super::entity::Entity;
use super::token::{Books, NAME};
use super::{Outcome, Step, inbox_key};
use crate::broker::{Destination, Outgoing};
use crate::envelope::TOKEN;
use crate::store::{Change, Expect, ItemKey, Keep, Space};
use crate::{Clock, Entropy, Envelope, Store, StoreError, ids};

/// Gives a message that enters from outside its first token: the message with it, and the change that
/// creates it, both to be made in one batch.
///
/// What is published gets none: each subscriber adopts it as a message from outside.
///
/// The id is minted. A batch whose outcome is unknown must not be made again with another token,
/// unless something in it is conditional on a version.
pub fn grant(
    mut message: Outgoing,
    realm: &str,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> (Outgoing, Option<Change>) {
    let Destination::Endpoint(endpoint) = &message.to else { return (message, None) };
    let id = ids::mint(clock, entropy).to_string();
    let (key, value) = (item_key(endpoint, &id), message.envelope.id.clone().into());
    let change = Change::Put { key, value, expect: Expect::Absent, keep: Keep::Always };
    message.envelope.set_text(TOKEN, join(&[realm, &id]));
    (message, Some(change))
}

/// Names the token of a message that this case sends.
pub(super) fn mark(case: &Case<'_>, realm: &str, message: &mut Outgoing) {
    message.envelope.set_text(TOKEN, join(&[realm, case.endpoint, case.entity]));
}

/// The name of a message's token among those of the entity that sent it.
pub(super) fn member(endpoint: &str, envelope: &Envelope) -> String {
    join(&[&envelope.id, endpoint])
}

/// What proves that a message may be processed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// The entity with this key has its token.
    Member(ItemKey),
    /// Its token is there.
    Item(ItemKey),
    /// It comes from outside, and the inbox does not know it.
    Inbox(ItemKey),
}

impl Right {
    /// The right of a message that came with a token; of any realm where none is given.
    pub(super) fn by_token(
        endpoint: &str,
        envelope: &Envelope,
        realm: Option<&str>,
    ) -> Option<Self> {
        let parts = split(envelope.text(TOKEN)?);
        let (of, place) = parts.split_first()?;
        if realm.is_some_and(|realm| realm != of) {
            return None;
        }
        match place {
            [id] => Some(Self::Item(item_key(endpoint, id))),
            [sender, entity] => Some(Self::Member(ItemKey::new(Space::Entity, sender, entity))),
            _ => None,
        }
    }

    /// The right of any message, in a realm.
    pub(super) fn of(endpoint: &str, envelope: &Envelope, realm: &str) -> Self {
        Self::by_token(endpoint, envelope, Some(realm))
            .unwrap_or_else(|| Self::Inbox(inbox_key(endpoint, envelope)))
    }

    /// Whether it holds now.
    pub(super) async fn holds(&self, case: &Case<'_>) -> Result<bool, StoreError> {
        case.begin(Step::CheckInbox);
        self.is_there(case.endpoint, case.envelope, case.store()).await
    }

    /// The same, for whoever does not know the entity that the message is for.
    pub(super) async fn is_there(
        &self,
        endpoint: &str,
        envelope: &Envelope,
        store: &dyn Store,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Item(key) => Ok(store.read(key).await?.is_some()),
            Self::Inbox(key) => Ok(store.read(key).await?.is_none()),
            Self::Member(key) => Ok(sender(key, endpoint, envelope, store).await?.is_some()),
        }
    }

    /// Ends it, for good or for a window. The item of the sender is read anew unless it is `known`,
    /// and has not changed.
    pub(super) async fn consume(
        &self,
        case: &Case<'_>,
        window: Duration,
        known: Option<Entity<Books>>,
    ) -> Result<(), Outcome> {
        case.begin(Step::ConsumeToken);
        let (expect, keep) = (Expect::Anything, Keep::For(window));
        match self {
            Self::Item(key) => {
                case.write(Change::Delete { key: key.clone(), expect }).await?;
            }
            Self::Inbox(key) => {
                let value = case.entity.to_owned().into();
                case.write(Change::Put { key: key.clone(), value, expect, keep }).await?;
            }
            Self::Member(key) => {
                let (endpoint, envelope) = (case.endpoint, case.envelope);
                if let Some(known) = known {
                    match remove(case, known).await {
                        Err(Outcome::Conflict) => {}
                        removed => return removed,
                    }
                }
                if let Some(sender) = sender(key, endpoint, envelope, case.store()).await? {
                    remove(case, sender).await?;
                }
            }
        }
        Ok(())
    }
}

/// The item of the sender that has the token of a message, as it is now; none where it is gone.
pub(super) async fn sender(
    key: &ItemKey,
    endpoint: &str,
    envelope: &Envelope,
    store: &dyn Store,
) -> Result<Option<Entity<Books>>, StoreError> {
    let sender = Entity::<Books>::find(store, key, NAME).await?;
    Ok(sender.filter(|sender| sender.books.tokens.contains(&member(endpoint, envelope))))
}

/// Removes the token of this case from the item of its sender.
async fn remove(case: &Case<'_>, mut sender: Entity<Books>) -> Result<(), Outcome> {
    sender.books.tokens.remove(&member(case.endpoint, case.envelope));
    sender.save(case).await
}

fn item_key(endpoint: &str, id: &str) -> ItemKey {
    ItemKey::new(Space::Token, endpoint, id)
}

/// Joins texts with spaces, so that they can be told apart again.
fn join(parts: &[&str]) -> String {
    let escape = |part: &&str| part.replace('%', "%25").replace(' ', "%20");
    parts.iter().map(escape).collect::<Vec<_>>().join(" ")
}

fn split(text: &str) -> Vec<String> {
    text.split(' ').map(|part| part.replace("%20", " ").replace("%25", "%")).collect()
}

#[cfg(test)]
mod tests {
    use super::{join, split};

    #[test]
    fn any_texts_are_told_apart_again() {
        for parts in [["a", "b c"], ["a b", "c"], ["%20", " "], ["", "%2520"]] {
            assert_eq!(split(&join(&parts)), parts);
        }
    }
}

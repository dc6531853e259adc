//! `token`: a message may be processed only while its token exists.
//!
//! A token belongs to a message and its receiver. It is created under a fresh id before the message
//! is dispatched, and deleted once the message's own effects are out. A message without one comes
//! from outside, and is adopted through a windowed inbox.
//!
//! A create without a sure answer is abandoned with its id, and may leave a token that nobody uses:
//! this lean form does not promise `NoGarbage`.

use std::collections::BTreeMap;

use semel_core::ids;
use semel_core::protocols::{Outcome, Step, Work, message_key};
use semel_core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
use serde::{Deserialize, Serialize};

use super::kit::{self, Kept, Raw};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Nothing.
    Correct,
    /// The token is read before the entity (trap 1).
    ReadsTokenFirst,
    /// Tokens of effects that may be dispatched already are created again (trap 4).
    RecreatesTokens,
    /// A token whose create gave no sure answer is created again under its id (traps 4 and 10).
    TriesSameId,
    /// The pending effects are cleared before the token is gone (trap 5).
    ClearsFirst,
    /// The ids of tokens are not written down before the dispatch: another attempt mints others
    /// for the same effects.
    MintsTwice,
    /// All tokens of an entity have one id (trap 7).
    SharesId,
}

/// Budget: 2 reads, 4 writes, and the tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token(pub(crate) Mutant);

kit::protocol!(Token = "token");

/// The attribute that names a message's token.
const TOKEN: &str = "token";

#[derive(Default, Serialize, Deserialize)]
struct Document {
    state: Option<Raw>,
    pending: BTreeMap<String, Pending>,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    messages: Vec<Kept>,
    /// One for each message, once all of them are created for sure.
    tokens: Vec<String>,
}

/// What proves that a message may be processed.
enum Right {
    /// Its token is there.
    Token(ItemKey),
    /// The inbox does not know it.
    Inbox(ItemKey),
}

impl Token {
    async fn attempt(&self, work: &Work<'_>) -> Result<Outcome, Outcome> {
        let message = message_key(work.envelope);
        let mut may_process = true;
        if self.0 == Mutant::ReadsTokenFirst {
            may_process = right(work).holds(work).await?;
        }

        let (mut document, expect) = kit::load::<Document>(work).await?;
        if document.pending.contains_key(&message) {
            return self.publish(work, document, expect, Outcome::Duplicate).await;
        }
        // After the entity: what was committed before its version is pending there, or was cleared
        // once the token was gone.
        if self.0 != Mutant::ReadsTokenFirst {
            may_process = right(work).holds(work).await?;
        }
        if !may_process {
            return Ok(work.ack(Outcome::Duplicate).await);
        }

        let (state, messages) = kit::decide(work, document.state.as_ref()).await?;

        work.begin(Step::CommitState);
        document.state = Some(state);
        document.pending.insert(message, Pending { messages, tokens: Vec::new() });
        let expect = kit::put_entity(work, &document, expect).await?;

        self.publish(work, document, expect, Outcome::Processed).await
    }

    /// Dispatches what a committed attempt left pending, and ends the delivery.
    async fn publish(
        &self,
        work: &Work<'_>,
        mut document: Document,
        expect: Expect,
        outcome: Outcome,
    ) -> Result<Outcome, Outcome> {
        let message = message_key(work.envelope);
        let Some(mut pending) = document.pending.remove(&message) else {
            return Err(Outcome::Conflict);
        };
        let mut expect = expect;
        work.begin(Step::CommitState);
        if pending.tokens.len() < pending.messages.len() {
            pending.tokens = self.create_all(work, &pending.messages).await?;
            if self.0 != Mutant::MintsTwice {
                document.pending.insert(message.clone(), pending);
                expect = kit::put_entity(work, &document, expect).await?;
                pending = document.pending.remove(&message).ok_or(Outcome::Conflict)?;
            }
        } else if self.0 == Mutant::RecreatesTokens {
            for (token, message) in pending.tokens.iter().zip(&pending.messages) {
                self.create(work, token, &message.to).await?;
            }
        }

        work.begin(Step::Dispatch);
        let messages = pending.messages.iter().zip(&pending.tokens).map(|(message, token)| {
            let mut outgoing = message.outgoing();
            outgoing.envelope.set_text(TOKEN, token);
            outgoing
        });
        kit::send(work.places, messages.collect()).await?;

        work.begin(Step::ClearOutbox);
        let consume = right(work).to_consume(work);
        if self.0 == Mutant::ClearsFirst {
            kit::put_entity(work, &document, expect).await?;
            kit::write(work.places, consume).await?;
        } else {
            kit::write(work.places, consume).await?;
            kit::put_entity(work, &document, expect).await?;
        }
        Ok(work.ack(outcome).await)
    }

    /// Creates a token for each message, under ids that nobody ever used.
    async fn create_all(&self, work: &Work<'_>, messages: &[Kept]) -> Result<Vec<String>, Outcome> {
        let mut tokens = Vec::with_capacity(messages.len());
        for message in messages {
            let token = match self.0 {
                Mutant::SharesId => ids::derive(&[work.endpoint, work.entity]),
                _ => ids::mint(work.places.clock, work.places.entropy),
            };
            let token = token.to_string();
            self.create(work, &token, &message.to).await?;
            tokens.push(token);
        }
        Ok(tokens)
    }

    async fn create(&self, work: &Work<'_>, token: &str, to: &str) -> Result<(), Outcome> {
        loop {
            let key = token_key(to, token);
            let put = kit::to_put(key, &work.endpoint, Expect::Absent, Keep::Always);
            match work.places.store.write(vec![put]).await {
                WriteOutcome::Applied(_) | WriteOutcome::Conflict(_) => return Ok(()),
                WriteOutcome::Unknown(_) if self.0 == Mutant::TriesSameId => {}
                // Abandoned with its id: the next attempt mints another.
                WriteOutcome::Refused(error) | WriteOutcome::Unknown(error) => {
                    return Err(error.into());
                }
            }
        }
    }
}

fn token_key(endpoint: &str, token: &str) -> ItemKey {
    ItemKey::new(Space::Outbox, endpoint, token)
}

fn right(work: &Work<'_>) -> Right {
    match work.envelope.text(TOKEN) {
        Some(token) => Right::Token(token_key(work.endpoint, token)),
        None => Right::Inbox(kit::inbox_key(work)),
    }
}

impl Right {
    async fn holds(&self, work: &Work<'_>) -> Result<bool, Outcome> {
        work.begin(Step::CheckInbox);
        let store = work.places.store;
        Ok(match self {
            Self::Token(key) => store.read(key).await?.is_some(),
            Self::Inbox(key) => store.read(key).await?.is_none(),
        })
    }

    /// The change after which it holds no more.
    fn to_consume(&self, work: &Work<'_>) -> Change {
        match self {
            Self::Token(key) => Change::Delete { key: key.clone(), expect: Expect::Anything },
            Self::Inbox(_) => kit::to_remember(work),
        }
    }
}

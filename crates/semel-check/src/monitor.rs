//! What has become visible, and what may be excused: all that a property needs to know of the past.

use std::sync::Arc;

use semel_core::broker::{Destination, Outgoing};
use semel_core::protocols::message_key;

use crate::hash::{self, Ink, Print};
use crate::memo::Memo;
use crate::tag::{self, Content, EffectName, WroteObject};

/// An effect that can be seen from outside.
#[derive(Debug)]
pub(crate) struct Visible {
    pub(crate) of: EffectName<'static>,
    /// The message as it was sent, without its tag.
    pub(crate) sent: Outgoing,
    pub(crate) content: Content,
    /// Where it went, under which source and id.
    pub(crate) identity: Print,
    print: Print,
}

thread_local! {
    static SENT: Memo<Option<Arc<Visible>>> = Memo::default();
}

impl Visible {
    /// What a message shows; nothing if it is no effect.
    fn of(outgoing: &Outgoing) -> Arc<Option<Arc<Self>>> {
        let mut ink = Ink::new(47);
        hash::outgoing(&mut ink, outgoing);
        SENT.with(|sent| sent.get(ink.print(), || Self::read(outgoing).map(Arc::new)))
    }

    fn read(outgoing: &Outgoing) -> Option<Self> {
        let (of, envelope) = tag::untag(&outgoing.envelope)?;
        let sent = Outgoing { to: outgoing.to.clone(), envelope, delay: outgoing.delay };
        let to = match &sent.to {
            Destination::Endpoint(name) => Some(name),
            Destination::Subscribers => None,
        };
        let identity = hash::print(17, (to, message_key(&sent.envelope)));
        let content = tag::content_sent(&sent, of.is_published);
        let mut ink = Ink::new(18).with((&of, identity, content));
        // Invariants can see every attribute, so all of them tell states apart.
        hash::envelope(&mut ink, &sent.envelope);
        let print = ink.print();
        Some(Self { of, sent, content, identity, print })
    }
}

/// What a handler wrote outside by itself, and for which message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wrote {
    pub(crate) endpoint: String,
    pub(crate) message: String,
    pub(crate) object: WroteObject,
    /// The beginning of its content, for a reader.
    pub(crate) text: String,
}

/// A message for an endpoint, by source and id.
pub(crate) type Name = (String, String);

/// The memory of the properties. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitor(Arc<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    visible: Vec<Arc<Visible>>,
    wrote: Vec<Wrote>,
    /// A person has begun to discard these, and has ended doing so for those below.
    discarding: Vec<Name>,
    discarded: Vec<Name>,
    failed: Vec<Name>,
    /// Dead-lettered, though an attempt was committed and it could be known.
    misparked: Vec<Name>,
    print: Print,
}

impl Monitor {
    pub(crate) fn print(&self) -> Print {
        self.0.print
    }

    /// Everything visible, sorted.
    pub(crate) fn visible(&self) -> &[Arc<Visible>] {
        &self.0.visible
    }

    /// What handlers wrote outside by themselves.
    pub(crate) fn wrote(&self) -> &[Wrote] {
        &self.0.wrote
    }

    /// Whether a person discarded the message.
    pub(crate) fn is_discarded(&self, endpoint: &str, message: &str) -> bool {
        contains(&self.0.discarded, endpoint, message)
    }

    /// The messages that a person discarded.
    pub(crate) fn discarded(&self) -> &[Name] {
        &self.0.discarded
    }

    /// Whether a person wanted the message gone.
    pub(crate) fn is_unwanted(&self, endpoint: &str, message: &str) -> bool {
        contains(&self.0.discarding, endpoint, message)
    }

    /// Messages that were dead-lettered though an attempt was committed.
    pub(crate) fn misparked(&self) -> &[Name] {
        &self.0.misparked
    }

    /// Whether the message's own handler ever failed.
    pub(crate) fn has_failed(&self, endpoint: &str, message: &str) -> bool {
        contains(&self.0.failed, endpoint, message)
    }

    /// A message was sent; tells whether that is news.
    pub(crate) fn see(&mut self, outgoing: &Outgoing) -> bool {
        let Some(visible) = &*Visible::of(outgoing) else { return false };
        let print = visible.print;
        let Err(at) = self.0.visible.binary_search_by_key(&print, |seen| seen.print) else {
            return false;
        };
        let inner = Arc::make_mut(&mut self.0);
        inner.visible.insert(at, visible.clone());
        inner.print = inner.print.wrapping_add(print);
        true
    }

    /// A handler wrote an object outside.
    pub(crate) fn note_written(&mut self, wrote: Wrote) {
        if !self.0.wrote.contains(&wrote) {
            let inner = Arc::make_mut(&mut self.0);
            inner.print = inner.print.wrapping_add(hash::print(19, &wrote));
            inner.wrote.push(wrote);
        }
    }

    pub(crate) fn note_discarding(&mut self, endpoint: &str, message: &str) {
        self.note(endpoint, message, 20, |inner| &mut inner.discarding);
    }

    pub(crate) fn note_discarded(&mut self, endpoint: &str, message: &str) {
        self.note(endpoint, message, 41, |inner| &mut inner.discarded);
    }

    pub(crate) fn note_failed(&mut self, endpoint: &str, message: &str) {
        self.note(endpoint, message, 21, |inner| &mut inner.failed);
    }

    pub(crate) fn note_misparked(&mut self, endpoint: &str, message: &str) {
        self.note(endpoint, message, 42, |inner| &mut inner.misparked);
    }

    fn note(
        &mut self,
        endpoint: &str,
        message: &str,
        kind: u8,
        list: impl Fn(&mut Inner) -> &mut Vec<Name>,
    ) {
        let inner = Arc::make_mut(&mut self.0);
        if !contains(list(inner), endpoint, message) {
            inner.print = inner.print.wrapping_add(hash::print(kind, (endpoint, message)));
            list(inner).push((endpoint.to_owned(), message.to_owned()));
        }
    }
}

fn contains(names: &[Name], endpoint: &str, message: &str) -> bool {
    names.iter().any(|(at, name)| at == endpoint && name == message)
}

//! What lies outside Semel and can be written by a handler itself: objects under names.

use std::sync::Arc;

use bytes::Bytes;

use crate::hash::{self, Print};

/// Objects by name, sorted. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outside(Arc<Inner>);

#[derive(Clone, Debug, Default)]
struct Inner {
    objects: Vec<(String, Bytes)>,
    print: Print,
}

impl Outside {
    pub(crate) fn print(&self) -> Print {
        self.0.print
    }

    pub(crate) fn all(&self) -> &[(String, Bytes)] {
        &self.0.objects
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.objects.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The print made from nothing but what is there now.
    #[cfg(test)]
    pub(super) fn print_anew(&self) -> Print {
        let prints = self.0.objects.iter().map(|(name, value)| print(name, value));
        prints.fold(0, Print::wrapping_add)
    }

    pub(crate) fn put(&mut self, name: &str, value: Option<&Bytes>) {
        let inner = Arc::make_mut(&mut self.0);
        if let Some(at) = inner.objects.iter().position(|(known, _)| known == name) {
            let (name, value) = inner.objects.remove(at);
            inner.print = inner.print.wrapping_sub(print(&name, &value));
        }
        if let Some(value) = value {
            inner.print = inner.print.wrapping_add(print(name, value));
            let at = inner.objects.partition_point(|(known, _)| known.as_str() < name);
            inner.objects.insert(at, (name.to_owned(), value.clone()));
        }
    }
}

fn print(name: &str, value: &Bytes) -> Print {
    hash::print(9, (name, &**value))
}

//! Things that are made again and again from the same parts, each made once.

use std::cell::RefCell;
use std::sync::Arc;

use crate::hash::{ByPrint, Print};

/// How many are kept. Beyond that, all are forgotten: what is in use is held by whoever uses it.
const KEPT_MAX: usize = 200_000;

/// Things by the print of all that they are made of.
#[derive(Debug)]
pub(crate) struct Memo<T>(RefCell<ByPrint<Arc<T>>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Memo<T> {
    /// What has this print, made by `make` where it is not known.
    pub(crate) fn get(&self, print: Print, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(known) = self.0.borrow().get(&print) {
            return known.clone();
        }
        let made = Arc::new(make());
        let mut kept = self.0.borrow_mut();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(print, made.clone());
        made
    }
}

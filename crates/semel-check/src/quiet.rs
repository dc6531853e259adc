//! Panics of the code under test are findings, told in a report: nobody wants thousands of them on
//! the terminal as well.

use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static LAST_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics on this thread say nothing by themselves from now on. Those on others do as before.
pub(crate) fn hush() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(
            move |panic| {
                if IS_QUIET.get() { note(panic) } else { before(panic) }
            },
        ));
    });
    IS_QUIET.set(true);
}

fn note(panic: &PanicHookInfo<'_>) {
    LAST_AT.set(panic.location().map(ToString::to_string));
}

/// The text of a panic that has just been caught, and where it was.
pub(crate) fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = semel_core::host::panic_text(panic);
    match LAST_AT.take() {
        Some(at) => format!("{text} (at {at})"),
        None => text.to_owned(),
    }
}

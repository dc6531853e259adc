//! The contracts of store, broker, operator and queue, on a real server.

use semel_conformance::suite;

use crate::rig::fresh;

mod store {
    use super::{fresh, suite};
    suite!(store, fresh());
}
mod broker {
    use super::{fresh, suite};
    suite!(broker, fresh());
}
mod operator {
    use super::{fresh, suite};
    suite!(operator, fresh());
}
mod queue_in_store {
    use super::{fresh, suite};
    suite!(queue_in_store, fresh());
}

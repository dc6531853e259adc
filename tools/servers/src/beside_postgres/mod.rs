//! What stands beside a PostgreSQL server: a replica that can take over, a pooler before it.

mod pgbouncer;
mod standby;

pub use pgbouncer::{PgBouncer, Pooling};
pub use standby::Standby;

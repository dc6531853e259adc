//! The work done by Semel.

use semel::{Backend, Endpoint, Host};

use super::work::{fresh, measured};
use super::{Result, Sample};
use crate::work::{Load, deposit, note};

/// Runs the load through a host with two endpoints.
pub(super) async fn run(server: &semel_servers::Postgres, load: Load) -> Result<Sample> {
    let (schema, place) = fresh(server, load).await?;
    let host = Host::new(Backend::in_one(place))
        .endpoint(Endpoint::new("accounts").handle(deposit))
        .endpoint(Endpoint::new("sink").handle(note));
    measured(server, &schema, load, async { Ok(host.run_until_idle().await?) }).await
}

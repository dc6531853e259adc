//! Where to look.

use clap::Args as ClapArgs;
use semel::Backend;

use crate::failure::Failure;
use crate::output::text;

/// A store, and the broker beside it.
#[derive(Debug, ClapArgs)]
pub(crate) struct Place {
    /// Where the store is, for example `sqlite:shop.db`
    url: String,
    /// Where the queues are, if not in the store: for example `nats://HOST:4222`
    #[arg(long, value_name = "URL")]
    broker: Option<String>,
}

impl Place {
    /// Opens both.
    pub(crate) async fn open(&self) -> Result<Backend, Failure> {
        Ok(match &self.broker {
            None => semel::open_existing(&self.url).await?,
            Some(broker) => semel::open_existing_apart(&self.url, broker).await?,
        })
    }

    /// The broker's own name, which holds no secrets, if it is elsewhere.
    pub(crate) fn broker_name(&self, backend: &Backend) -> Option<String> {
        self.broker.as_ref().map(|_| format!("{:?}", backend.broker()))
    }

    /// The same place as words of a shell's command line, without passwords.
    pub(crate) fn words(&self) -> String {
        let url = text::shell_url(&self.url);
        match &self.broker {
            None => url,
            Some(broker) => format!("{url} --broker {}", text::shell_url(broker)),
        }
    }
}

//! Why the program fails, and what it tells its caller.

use std::io;

use semel::{OpenError, StoreError};
use serde::Serialize;

use crate::output::Format;

/// How a run ended, as its caller sees it. `semel --help` lists the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All that was asked is done.
    Fine,
    /// There is no such dead letter, not all that was asked could be done, or a world is not as
    /// expected.
    NotAll,
    /// The command line makes no sense, or lacks a confirmation.
    Usage,
    /// The store or the broker cannot be opened or used.
    Store,
    /// The answer cannot be written.
    Output,
}

impl Exit {
    /// The code for the shell.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::NotAll => 1,
            Self::Usage => 2,
            Self::Store => 3,
            Self::Output => 4,
        }
    }
}

/// Why the program could not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
pub(crate) struct Failure {
    message: String,
    #[help]
    help: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure with its remedy.
    pub(crate) fn new(exit: Exit, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()), exit }
    }

    /// What clap says about the arguments, split into error and help.
    pub(crate) fn usage(rendered: &str) -> Self {
        let text = rendered.trim_end();
        let (message, help) = text.split_once("\n\n").unwrap_or((text, "Run `semel --help`."));
        Self::new(Exit::Usage, message.trim_start_matches("error: "), help.trim())
    }

    /// How the run ends.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The failure as text for the standard error stream.
    pub(crate) fn render(self, format: Format) -> String {
        #[derive(Serialize)]
        struct View<'a> {
            error: &'a str,
            help: Option<&'a str>,
        }
        match format {
            Format::Json => {
                let view = View { error: &self.message, help: self.help.as_deref() };
                serde_json::to_string(&view).unwrap_or_else(|_| self.message.clone())
            }
            Format::Human => format!("{:?}", miette::Report::new(self)),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let StoreError { store, operation, reason, help, .. } = error;
        Self::new(Exit::Store, format!("{store}: {operation} failed: {reason}"), help)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            OpenError::Url { prefix } => unknown_url(&prefix),
            OpenError::Broker { prefix } => {
                Self::new(Exit::Store, format!("no broker is called `{prefix}` here"), BROKERS)
            }
            OpenError::NoStore { prefix } => Self::new(
                Exit::Store,
                format!("`{prefix}` is a broker: it has queues, and keeps no state"),
                format!(
                    "Name the store first: `semel inspect sqlite:shop.db --broker {prefix}//…`."
                ),
            ),
            OpenError::NoBroker { prefix } => Self::new(
                Exit::Store,
                format!("`{prefix}` is a store, and its queue lies inside it"),
                format!("Leave out `--broker`, or name a broker. {BROKERS}"),
            ),
            OpenError::Parameter { prefix, name, help } => Self::new(
                Exit::Store,
                format!("the parameter `{name}` of `{prefix}…` makes no sense"),
                format!("To mend it: {help}."),
            ),
            other => Self { message: other.to_string(), help: None, exit: Exit::Store },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(
            Exit::Output,
            format!("the answer cannot be written: {error}"),
            "Look at where the output goes: is that disk full?",
        )
    }
}

const BROKERS: &str = "Write for example `nats://HOST:4222`, or for RabbitMQ \
                       `amqp://USER:PASSWORD@HOST:5672/%2f`.";

/// Names the scheme alone: what follows it may hold a password.
fn unknown_url(url: &str) -> Failure {
    let example = "Write for example `sqlite:shop.db` for a file in this folder, or \
                   `sqlite:/var/lib/shop.db`; or `postgres://USER@HOST/DATABASE`.";
    match url.split_once(':') {
        None => Failure::new(
            Exit::Store,
            format!("`{url}` does not say which kind of store it is"),
            format!("For a SQLite file, write `sqlite:{url}`."),
        ),
        Some(("sqlite", _)) => {
            Failure::new(Exit::Store, "the URL `sqlite:` names no file", example)
        }
        Some((scheme, _)) => {
            Failure::new(Exit::Store, format!("no store is called `{scheme}:` here"), example)
        }
    }
}

//! How to connect.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use semel_core::{Clock, SystemClock};

/// Who we are to the server.
#[derive(Clone, Default)]
pub enum Login {
    /// Whatever the address says, as in `nats://user:password@host:4222`; else nobody.
    #[default]
    Address,
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// The seed of an NKey.
    NKey(String),
    /// A file of credentials, as `nsc` writes it.
    CredentialsFile(PathBuf),
}

/// Shows which kind, and no secret.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "Address",
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
            Self::NKey(_) => "NKey",
            Self::CredentialsFile(_) => "CredentialsFile",
        })
    }
}

/// Whether the connection is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Where the server asks for it, or the address says `tls://`.
    #[default]
    AsServerAsks,
    /// Always; the server's certificate is checked against the system's roots.
    Required,
    /// Always; the server's certificate is checked against the roots in this file (PEM) as well.
    RequiredWithRoots(PathBuf),
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// The first part of every name of ours: letters, digits and `-`. Two places on one server are
    /// two prefixes.
    pub prefix: String,
    /// Who we are to the server.
    pub login: Login,
    /// Whether the connection is encrypted.
    pub encryption: Encryption,
    /// How long the server may take to answer. A call that gets no answer ends as unknown.
    pub call_timeout: Duration,
    /// How many servers of a cluster keep each message. Counts for streams that are made; those
    /// that are found stay as they are.
    pub replicas: usize,
    /// How long a message that was handed to a worker which then vanished, before it could even
    /// note its lease, waits for the next one (`ack_wait` of a consumer that is made).
    pub hand_over: Duration,
    /// Tells the time, and is put right by the server's.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: "semel".to_owned(),
            login: Login::default(),
            encryption: Encryption::default(),
            call_timeout: Duration::from_secs(5),
            replicas: 1,
            hand_over: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
        }
    }
}

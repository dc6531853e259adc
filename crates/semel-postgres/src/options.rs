//! How to reach a database, and how to use it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use semel_core::store::Trouble;
use semel_core::{Clock, StoreError};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error;

/// What to do where the tables are missing or of an older version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Make them, or bring them up to date.
    Migrate,
    /// Fail: for roles that may not, and for programs that only look.
    Check,
}

/// How a receiver learns of messages that other processes queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// By `LISTEN` on a connection of its own, and by looking now and then.
    Listen,
    /// By looking alone: behind a pooler that hands connections on between transactions, nobody can
    /// listen.
    Look,
}

/// How to use a database.
#[derive(Clone, Debug)]
pub struct Options {
    /// The schema of the tables: lower-case letters, digits and `_`. Services that shall not see
    /// each other's messages take schemas of their own.
    pub schema: String,
    /// What to do where the tables are missing or of an older version.
    pub tables: Tables,
    /// The most connections at a time for Semel's own work; as many more for handlers that take
    /// their transaction (see [`InTransaction`](crate::InTransaction)), and one for listening.
    pub connections_max: usize,
    /// How long to wait for a connection, and for an answer, before the outcome counts as unknown;
    /// and for others to end their use of tables that are to be brought up to date.
    pub answer_wait: Duration,
    /// How a receiver learns of messages that other processes queued.
    pub wake: Wake,
    /// How often a receiver looks that hears of nothing: for leases that ended, and news that were
    /// lost.
    pub look_every: Duration,
    /// A PEM file with the certificates to trust; by default those of the system.
    pub root_certificates: Option<PathBuf>,
    /// Tells when leases and windows end. By default the server's own clock, so that clocks of
    /// workers may differ.
    pub clock: Option<Arc<dyn Clock>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schema: "semel".to_owned(),
            tables: Tables::Migrate,
            connections_max: 8,
            answer_wait: Duration::from_secs(30),
            wake: Wake::Listen,
            look_every: Duration::from_secs(1),
            root_certificates: None,
            clock: None,
        }
    }
}

/// The way to a server.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
    /// The place as errors name it: without secrets.
    pub(crate) place: String,
}

impl Way {
    /// Reads an address: a URL or the `key=value` form of libpq.
    pub(crate) fn new(address: &str, options: &Options) -> Result<Self, StoreError> {
        let refuse = |place: &str, reason: String, help: &str| {
            Err(error::new(place, Trouble::Broken, "connect", reason, help))
        };
        let mut config: Config = match address.parse() {
            Ok(config) => config,
            Err(error) => {
                let reason = match std::error::Error::source(&error) {
                    Some(cause) => format!("the address cannot be read: {cause}"),
                    None => "the address cannot be read".to_owned(),
                };
                let help = "Write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE.";
                return refuse("postgres", reason, help);
            }
        };
        let place = describe(&config, &options.schema);
        if !is_simple(&options.schema) {
            let reason = format!("`{}` cannot name a schema", options.schema);
            return refuse(&place, reason, "Use up to 40 lower-case letters, digits and `_`.");
        }
        if options.connections_max < 2 {
            let help = "Set `Options::connections_max` to 2 or more.";
            return refuse(&place, "one connection is too few".to_owned(), help);
        }
        if config.get_hosts().is_empty() {
            config.host("127.0.0.1");
        }
        // Whoever names no mode gets TLS with a server that was checked, except on this machine.
        if !address.contains("sslmode") {
            let is_near = config.get_hosts().iter().all(is_loopback);
            config.ssl_mode(if is_near { SslMode::Disable } else { SslMode::Require });
        } else if config.get_ssl_mode() == SslMode::Prefer {
            let help = "Use `sslmode=require`, which also checks the server, or `disable`.";
            return refuse(&place, "`sslmode=prefer` promises nothing".to_owned(), help);
        }
        if config.get_application_name().is_none() {
            config.application_name("semel");
        }
        config.connect_timeout(options.answer_wait.min(Duration::from_secs(10)));
        config.tcp_user_timeout(options.answer_wait);
        config.keepalives_idle(Duration::from_secs(30));
        let roots = roots(&place, options, config.get_ssl_mode())?;
        let tls = tls(&place, roots)?;
        Ok(Self { config, tls, place })
    }
}

/// Where it is, without user and password.
fn describe(config: &Config, schema: &str) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "127.0.0.1".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    format!("postgres:{host}:{port}/{database}/{schema}")
}

fn is_simple(schema: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    !schema.is_empty()
        && schema.len() <= 40
        && schema.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
        && schema.bytes().next().is_some_and(is_letter)
        && !schema.starts_with("pg_")
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Tcp(host) => {
            host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn roots(place: &str, options: &Options, mode: SslMode) -> Result<RootCertStore, StoreError> {
    let mut roots = RootCertStore::empty();
    let refuse = |reason: String, help: &str| {
        Err(error::new(place, Trouble::Broken, "connect", reason, help))
    };
    let Some(file) = &options.root_certificates else {
        if mode != SslMode::Disable {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let help = "Install `ca-certificates`, or name a file in \
                    `Options::root_certificates`.";
                return refuse("this system trusts no certificates".to_owned(), help);
            }
        }
        return Ok(roots);
    };
    let help = "Name a PEM file with the certificate of the server's authority.";
    let certificates = match CertificateDer::pem_file_iter(file) {
        Ok(certificates) => certificates,
        Err(error) => return refuse(format!("{}: {error}", file.display()), help),
    };
    for certificate in certificates {
        let added = match certificate {
            Ok(certificate) => roots.add(certificate).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = added {
            return refuse(format!("{}: {error}", file.display()), help);
        }
    }
    if roots.is_empty() {
        return refuse(format!("{} holds no certificate", file.display()), help);
    }
    Ok(roots)
}

fn tls(place: &str, roots: RootCertStore) -> Result<MakeRustlsConnect, StoreError> {
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|failed| {
            let help = "This is a defect in Semel; please report it.";
            error::new(place, Trouble::Broken, "connect", failed.to_string(), help)
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::{Options, Way};

    fn says(address: &str, options: &Options, words: &[&str]) {
        let error = Way::new(address, options).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        for word in words {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
    }

    #[test]
    fn a_wrong_address_is_refused_without_its_secrets() {
        let options = Options::default();
        says("postgres://user:secret@host:notaport/db", &options, &["cannot be read", "Write it"]);
        let error = Way::new("postgres://user:secret@host:notaport/db", &options).err();
        assert!(!error.map(|error| error.to_string()).unwrap_or_default().contains("secret"));
        says("postgres://localhost/db?sslmode=prefer", &options, &["prefer", "require"]);
    }

    #[test]
    fn a_schema_that_needs_quotes_is_refused() {
        for schema in ["", "Semel", "a-b", "a b", "pg_temp", "1a", "a\"b", "ä"] {
            let options = Options { schema: schema.to_owned(), ..Options::default() };
            says("postgres://localhost/db", &options, &["cannot name a schema"]);
        }
    }

    #[test]
    fn a_place_is_named_without_user_and_password() {
        let way = Way::new("postgres://user:secret@127.0.0.1:5433/shop", &Options::default());
        let place = way.map(|way| way.place).unwrap_or_default();
        assert_eq!(place, "postgres:127.0.0.1:5433/shop/semel");
    }

    #[test]
    fn far_servers_are_talked_to_under_tls_unless_said_otherwise() {
        use tokio_postgres::config::SslMode;
        let mode = |address: &str| {
            Way::new(address, &Options::default()).map(|way| way.config.get_ssl_mode()).ok()
        };
        assert_eq!(mode("postgres://db.example/shop"), Some(SslMode::Require));
        assert_eq!(mode("postgres://db.example/shop?sslmode=disable"), Some(SslMode::Disable));
        assert_eq!(mode("postgres://127.0.0.1/shop"), Some(SslMode::Disable));
        assert_eq!(mode("postgres://localhost/shop?sslmode=require"), Some(SslMode::Require));
    }
}

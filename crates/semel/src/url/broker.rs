//! Brokers by URL, beside a store.

use semel_core::Backend;

use super::OpenError;

/// A broker, and how to connect to it.
pub(super) enum BrokerUrl {
    #[cfg(feature = "nats")]
    Nats(String, semel_nats::Options),
    #[cfg(feature = "rabbitmq")]
    RabbitMq(String, semel_rabbitmq::Options),
}

impl BrokerUrl {
    /// What `url` says, before anything is opened or made.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        match url.split_once("://") {
            #[cfg(feature = "nats")]
            Some(("nats" | "tls", rest)) if !rest.is_empty() => {
                nats_options(url).map(|(address, options)| Self::Nats(address, options))
            }
            #[cfg(feature = "rabbitmq")]
            Some(("amqp" | "amqps", rest)) if !rest.is_empty() => {
                rabbitmq_options(url).map(|(address, options)| Self::RabbitMq(address, options))
            }
            _ => Err(OpenError::of_broker(url)),
        }
    }

    /// Its queues, and the state and books of `store`.
    pub(super) async fn beside(self, store: &Backend) -> Result<Backend, OpenError> {
        let _ = store;
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(address, options) => {
                let queues = semel_nats::Nats::connect(&address, options).await?;
                Ok(Backend::apart(store.store().clone(), std::sync::Arc::new(queues)))
            }
            #[cfg(feature = "rabbitmq")]
            Self::RabbitMq(address, options) => {
                let queues = semel_rabbitmq::RabbitMq::connect(&address, options).await?;
                Ok(Backend::apart(store.store().clone(), std::sync::Arc::new(queues)))
            }
        }
    }
}

#[cfg(feature = "nats")]
fn nats_options(url: &str) -> Result<(String, semel_nats::Options), OpenError> {
    use super::query;

    let mut options = semel_nats::Options::default();
    let (rest, prefix) = query::take(url, "prefix");
    options.prefix = prefix.unwrap_or(options.prefix);
    let (rest, replicas) = query::take(&rest, "replicas");
    if let Some(replicas) = replicas {
        let number = replicas.parse().ok().filter(|number| (1..=5).contains(number));
        let help = "write how many servers keep each message: 1 to 5";
        options.replicas = number.ok_or_else(|| OpenError::of_parameter(url, "replicas", help))?;
    }
    match rest.split_once('?') {
        None => Ok((rest, options)),
        // The client would ignore it.
        Some((_, query)) => {
            let name = query.split(['=', '&']).next().unwrap_or_default();
            let help = "there are `prefix` and `replicas`; anything else is said with \
                        `semel::nats::Options`. A `?` in a password is written `%3f`";
            Err(OpenError::of_parameter(url, name, help))
        }
    }
}

#[cfg(feature = "rabbitmq")]
fn rabbitmq_options(url: &str) -> Result<(String, semel_rabbitmq::Options), OpenError> {
    use super::query;

    /// What the client reads itself.
    const CLIENTS: [&str; 4] = ["auth_mechanism", "channel_max", "connection_timeout", "frame_max"];

    let mut options = semel_rabbitmq::Options::default();
    let (rest, prefix) = query::take(url, "prefix");
    options.prefix = prefix.unwrap_or(options.prefix);
    let (rest, heartbeat) = query::take(&rest, "heartbeat");
    if let Some(heartbeat) = heartbeat {
        let seconds = heartbeat.parse().ok().filter(|seconds| (1..=600).contains(seconds));
        let help = "write after how many seconds client and server say that they live: 1 to 600";
        let seconds = seconds.ok_or_else(|| OpenError::of_parameter(url, "heartbeat", help))?;
        options.heartbeat = std::time::Duration::from_secs(seconds);
    }
    for parameter in rest.split_once('?').iter().flat_map(|(_, query)| query.split('&')) {
        let name = parameter.split('=').next().unwrap_or_default();
        if !CLIENTS.contains(&name) {
            // The client would ignore it.
            let help = "there are `prefix`, `heartbeat`, and the client's `frame_max`, \
                        `channel_max`, `connection_timeout`, `auth_mechanism`; anything else is \
                        said with `semel::rabbitmq::Options`. A `?` in a password is written `%3f`";
            return Err(OpenError::of_parameter(url, name, help));
        }
    }
    Ok((rest, options))
}

#[cfg(all(test, feature = "rabbitmq"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests_of_rabbitmq {
    use super::rabbitmq_options;

    #[test]
    fn what_an_amqp_url_says_is_kept_or_refused() {
        let url = "amqp://u:p@h:1/%2f?heartbeat=5&frame_max=8192&prefix=p";
        let (address, options) = rabbitmq_options(url).unwrap();
        assert_eq!((&*address, &*options.prefix), ("amqp://u:p@h:1/%2f?frame_max=8192", "p"));
        assert_eq!(options.heartbeat.as_secs(), 5);
        let (address, options) = rabbitmq_options("amqps://h").unwrap();
        assert_eq!((&*address, &*options.prefix), ("amqps://h", "semel"));
        for (url, name) in [
            ("amqp://h/v?heartbeat=0", "`heartbeat`"),
            ("amqp://h/v?heartbeat=soon", "`heartbeat`"),
            ("amqp://h/v?prefx=a", "`prefx`"),
            ("amqp://h/v?frame_max=8192&prefx", "`prefx`"),
            ("amqp://me:se?cret@h/v?prefix=p", "`…`"),
        ] {
            let error = rabbitmq_options(url).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("cret"), "{error}");
        }
    }
}

#[cfg(all(test, feature = "nats"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::nats_options;

    #[test]
    fn what_a_nats_url_says_is_kept_or_refused() {
        let (address, options) = nats_options("nats://a:1,b:2?replicas=3&prefix=p").unwrap();
        assert_eq!((&*address, &*options.prefix, options.replicas), ("nats://a:1,b:2", "p", 3));
        let (address, options) = nats_options("tls://a").unwrap();
        assert_eq!((&*address, &*options.prefix, options.replicas), ("tls://a", "semel", 1));
        for (url, name) in [
            ("nats://a?replicas=0", "`replicas`"),
            ("nats://a?prefx=a", "`prefx`"),
            ("nats://me:se?cret@a?prefix=p", "`…`"),
        ] {
            let error = nats_options(url).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("cret"), "{error}");
        }
    }
}

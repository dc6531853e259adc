//! A network between client and server that can be cut, or swallow everything.

use semel_servers::{Framing, Weather};

pub(crate) struct Proxy {
    pub(crate) address: String,
    proxy: semel_servers::Proxy,
}

impl Proxy {
    /// A way to the server at `address`.
    pub(crate) fn before(address: &str) -> Self {
        let (_, place) = address.rsplit_once('@').unwrap();
        let (_, port) = place.split('/').next().unwrap().rsplit_once(':').unwrap();
        let started = semel_servers::Proxy::start(port.parse().unwrap(), Framing::Pieces);
        let proxy = started.unwrap_or_else(|error| panic!("{error}"));
        let address = address.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
        Self { address, proxy }
    }

    /// Closes every connection there is.
    pub(crate) fn cut(&self) {
        self.proxy.close_all();
    }

    /// Lets nothing through any more, and closes nothing.
    pub(crate) fn silence(&self) {
        self.proxy.set(Weather::Silence);
    }
}

//! What is called how on the server.

use std::fmt::Write as _;

/// The durable consumer of each endpoint's stream, shared by all its workers.
pub(crate) const CONSUMER: &str = "workers";

/// The longest endpoint name on the server. Stream names are folders there.
const TOKEN_MAX: usize = 180;

/// The names of one place.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// The names under `prefix`; none if no name can begin with it.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let fits = !prefix.is_empty() && prefix.len() <= 60 && prefix.bytes().all(allowed);
        fits.then(|| Self { prefix: prefix.to_owned() })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The stream of an endpoint's messages. The prefix holds no `_`, so that no two places share
    /// a name.
    pub(crate) fn queue_stream(&self, token: &str) -> String {
        format!("{}_queue_{token}", self.prefix)
    }

    pub(crate) fn queue_subject(&self, token: &str) -> String {
        format!("{}.queue.{token}", self.prefix)
    }

    /// The stream of the records and of the registrations.
    pub(crate) fn state_stream(&self) -> String {
        format!("{}_state", self.prefix)
    }

    pub(crate) fn record_subject(&self, token: &str, sequence: u64) -> String {
        format!("{}.state.{token}.{sequence}", self.prefix)
    }

    /// The records of one endpoint (`Some`) or of all.
    pub(crate) fn records(&self, token: Option<&str>) -> String {
        format!("{}.state.{}.*", self.prefix, token.unwrap_or("*"))
    }

    /// What says which messages of an endpoint were removed; no endpoint's token ends like this.
    pub(crate) fn gravestone_subject(&self, token: &str, id: &str) -> String {
        format!("{}.state.{token}=gone.g{id}", self.prefix)
    }

    /// All that say so of an endpoint.
    pub(crate) fn gravestones(&self, token: &str) -> String {
        format!("{}.state.{token}=gone.*", self.prefix)
    }

    pub(crate) fn registry_subject(&self) -> String {
        format!("{}.endpoints", self.prefix)
    }

    /// Whose record lies under a subject: the endpoint's token and the message's sequence.
    pub(crate) fn parse_record<'s>(&self, subject: &'s str) -> Option<(&'s str, u64)> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".state.")?;
        let (token, sequence) = rest.split_once('.')?;
        Some((token, sequence.parse().ok()?))
    }

    /// The endpoint's token in the name of its stream.
    pub(crate) fn parse_queue<'s>(&self, stream: &'s str) -> Option<&'s str> {
        stream.strip_prefix(&self.prefix)?.strip_prefix("_queue_")
    }
}

/// An endpoint's name as a part of subjects and stream names: letters, digits and `-` stay, any
/// other byte becomes `=XY`. None if it is empty or too long.
pub(crate) fn token(endpoint: &str) -> Option<String> {
    let mut token = String::with_capacity(endpoint.len());
    for byte in endpoint.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(token, "={byte:02X}");
        }
    }
    (!token.is_empty() && token.len() <= TOKEN_MAX).then_some(token)
}

/// Undoes [`token`]; what is none of ours stays as it is.
pub(crate) fn endpoint(token: &str) -> String {
    unescaped(token, b'=')
}

/// Text in which `mark` and two hexadecimal digits stand for a byte; as it is if that is no UTF-8.
pub(crate) fn unescaped(token: &str, mark: u8) -> String {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == mark).then(|| hex_byte(after)).flatten();
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| token.to_owned())
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{Names, endpoint, token};

    #[test]
    fn an_endpoint_is_found_again_in_its_token() {
        for name in ["orders", "orders.eu", "Orders", "a_b", "=41", "ÄÖ 🦀", "*.>", "x-1"] {
            let token = token(name).unwrap();
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-=".contains(&b)));
            assert_eq!(endpoint(&token), name);
        }
        assert_eq!(token(""), None);
        assert_eq!(token(&"x".repeat(500)), None);
    }

    #[test]
    fn subjects_and_streams_are_read_again() {
        let names = Names::new("shop-1").unwrap();
        assert_eq!(names.parse_record(&names.record_subject("a=2Eb", 7)), Some(("a=2Eb", 7)));
        assert_eq!(names.parse_record(&names.registry_subject()), None);
        assert_eq!(names.parse_record("shop-12.state.a.1"), None);
        assert_eq!(names.parse_record(&names.gravestone_subject("a", "7")), None);
        assert_eq!(names.parse_queue(&names.queue_stream("state")), Some("state"));
        assert_eq!(names.parse_queue(&names.state_stream()), None);
    }

    #[test]
    fn a_prefix_keeps_places_apart() {
        for prefix in ["", "a_b", "a.b", "a b", "ä", "*"] {
            assert!(Names::new(prefix).is_none(), "{prefix}");
        }
    }
}

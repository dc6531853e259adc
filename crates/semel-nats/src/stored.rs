//! A message as it lies in a stream: original bytes, whatever they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use semel_core::Timestamp;
use serde::Deserialize;

/// A message as JetStream shows it.
#[derive(Debug, Deserialize)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

impl Stored {
    /// Its data.
    pub(crate) fn data(&self) -> Bytes {
        // The server encoded it.
        BASE64.decode(&self.data).unwrap_or_default().into()
    }

    /// When it was queued.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::parse(&self.time).unwrap_or_default()
    }

    /// When it was queued, in nanoseconds since the Unix epoch, as the consumer tells it.
    pub(crate) fn stored(&self) -> i64 {
        let fraction = self.time.split_once('.').map_or("", |(_, rest)| rest);
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).take(9);
        let (value, count) = digits.fold((0, 0), |(value, count), digit| {
            (value * 10 + i64::from(digit - b'0'), count + 1)
        });
        let seconds = self.time().unix_ms().div_euclid(1_000);
        seconds.saturating_mul(1_000_000_000) + value * 10_i64.pow(9 - count)
    }

    /// Its headers; none of those that are no UTF-8.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        headers(&BASE64.decode(&self.hdrs).unwrap_or_default())
    }

    /// Whether our client can receive it: it gives up the connection over headers that break the
    /// rules of the protocol, which the server does not check.
    pub(crate) fn is_receivable(&self) -> bool {
        let block = BASE64.decode(&self.hdrs).unwrap_or_default();
        if block.is_empty() {
            return true;
        }
        let Ok(text) = std::str::from_utf8(&block) else { return false };
        let mut lines = text.lines();
        let version = lines.next().and_then(|line| line.strip_prefix("NATS/1.0"));
        version.is_some_and(is_status)
            && lines.filter(|line| !line.is_empty() && !line.starts_with([' ', '\t'])).all(|line| {
                line.split_once(':')
                    .is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_graphic()))
            })
    }
}

/// Whether our client can read what follows the version of the headers: nothing, or a status.
fn is_status(text: &str) -> bool {
    let code = text.trim().split(' ').next().unwrap_or_default();
    code.is_empty() || code.parse().is_ok_and(|code: u16| (100..1_000).contains(&code))
}

/// The headers of a block, as our client reads them.
fn headers(block: &[u8]) -> Vec<(String, String)> {
    let lines = block.split(|byte| *byte == b'\n').skip(1);
    let pairs = lines.filter_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::Stored;

    fn stored(time: &str, headers: &[u8]) -> Stored {
        use base64::Engine as _;
        let hdrs = super::BASE64.encode(headers);
        let (subject, data, time) = (String::new(), String::new(), time.to_owned());
        Stored { subject, seq: 1, hdrs, data, time }
    }

    #[test]
    fn the_time_is_read_to_the_nanosecond() {
        for (time, expected) in [
            ("2026-11-25T16:37:38.127051123Z", 1_795_624_658_127_051_123),
            ("2026-11-25T16:37:38.5Z", 1_795_624_658_500_000_000),
            ("2026-11-25T16:37:38Z", 1_795_624_658_000_000_000),
        ] {
            assert_eq!(stored(time, b"").stored(), expected, "{time}");
        }
    }

    #[test]
    fn headers_that_cut_the_connection_are_told_apart() {
        let fine: [&[u8]; 5] = [
            b"",
            b"NATS/1.0\r\n\r\n",
            b"NATS/1.0 404 No Messages\r\n\r\n",
            b"NATS/1.0\r\nce-id: 1\r\nx:\r\n\r\n",
            "NATS/1.0\r\nce-id: \u{e4} b: c\r\n folded\r\n\r\n".as_bytes(),
        ];
        let harmful: [&[u8]; 5] = [
            b"NATS/1.0\r\nce-id: \xff\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na name: x\r\n\r\n",
            b"HTTP/1.1\r\na: x\r\n\r\n",
            b"NATS/1.0 xyz\r\n\r\n",
        ];
        for block in fine {
            assert!(stored("", block).is_receivable(), "{}", block.escape_ascii());
        }
        for block in harmful {
            assert!(!stored("", block).is_receivable(), "{}", block.escape_ascii());
        }
        let headers = stored("", b"NATS/1.0\r\nA: b \r\nbad\xff: x\r\nc:d\r\n\r\n").headers();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(headers, [pair("A", "b"), pair("c", "d")]);
    }
}

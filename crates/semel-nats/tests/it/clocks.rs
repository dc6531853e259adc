//! Workers whose clocks are an hour ahead or behind.

use std::sync::Arc;
use std::time::Duration;

use semel_core::broker::{Destination, Outgoing, SendOutcome, Settlement};
use semel_core::{Broker as _, Clock, SystemClock, Timestamp};
use semel_nats::{Nats, Options};

use crate::messages::failure;
use crate::rig::{LONG, fresh, id, message, next, receive, sent, settled};

/// A clock that is off by so much.
#[derive(Debug)]
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(SystemClock.now().unix_ms() + self.0)
    }
}

const HOUR_MS: i64 = 3_600_000;

/// What one worker leases, delays or retries, another gets when that is over, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_differ_by_an_hour_hold_up_no_message() {
    for (first, second) in [(HOUR_MS, 0), (0, HOUR_MS), (-HOUR_MS, 0), (0, -HOUR_MS)] {
        let rig = fresh().await;
        let open = async |off| {
            let options = Options { clock: Arc::new(Off(off)), ..rig.options.clone() };
            Nats::connect(&rig.address, options).await.unwrap()
        };
        let (first, second) = (open(first).await, open(second).await);
        let (none, span) = (Duration::from_millis(300), Duration::from_millis(1_500));
        sent(&first, message("1")).await;
        let leased = next(&first, span).await;
        assert!(receive(&second, 1, LONG, none).await.unwrap().is_empty(), "a lease is broken");
        let again = next(&second, LONG).await;
        assert_eq!((id(&again), again.deliveries, leased.deliveries), ("1", 2, 1));
        settled(&second, &again, Settlement::Retry { after: span, failure: failure() }).await;
        assert!(receive(&first, 1, LONG, none).await.unwrap().is_empty(), "a retry comes early");
        settled(&first, &next(&first, LONG).await, Settlement::Ack).await;

        let to = Destination::Endpoint("orders".to_owned());
        let delayed = Outgoing { to, envelope: message("2"), delay: span };
        let outcome = first.send(vec![delayed]).await;
        assert!(matches!(outcome.as_slice(), [SendOutcome::Sent]), "{outcome:?}");
        assert!(receive(&second, 1, LONG, none).await.unwrap().is_empty(), "it comes early");
        assert_eq!(id(&next(&second, LONG).await), "2");
    }
}

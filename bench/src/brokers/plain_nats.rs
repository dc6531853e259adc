//! NATS JetStream by its client alone: publishes that are confirmed, and pulled messages whose
//! acknowledgement is.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, AckKind, consumer, stream};
use futures_util::{StreamExt as _, stream::iter};

use super::Sample;
use crate::Result;
use crate::cpu::Cpu;
use crate::work::{Load, outgoing};

/// How many publishes or acknowledgements are on their way at the same time.
const IN_FLIGHT: usize = 256;

/// Passes twice as many messages as the load has deposits, as Semel does.
pub(super) async fn run(address: &str, load: Load, server: Option<u32>) -> Result<Sample> {
    let client = async_nats::connect(address).await?;
    let context = jetstream::new(client);
    let config = stream::Config {
        name: "plain".to_owned(),
        subjects: vec!["plain".to_owned()],
        retention: stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    let stream = context.create_stream(config).await?;
    let config = consumer::pull::Config {
        durable_name: Some("workers".to_owned()),
        max_ack_pending: -1,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let total = load.messages * 2;
    let before = Cpu::now(server)?;
    let started = Instant::now();
    let publishes = iter(0..total).map(|number| {
        let context = context.clone();
        async move {
            let envelope = outgoing(number, load.entities)?.envelope;
            let mut headers = async_nats::HeaderMap::new();
            for (name, value) in [
                ("ce-id", &envelope.id),
                ("ce-source", &envelope.source),
                ("ce-type", &envelope.kind),
            ] {
                headers.insert(name, value.as_str());
            }
            context.publish_with_headers("plain", headers, envelope.data).await?.await?;
            Ok::<(), Box<dyn std::error::Error>>(())
        }
    });
    let mut publishes = publishes.buffer_unordered(IN_FLIGHT);
    while let Some(published) = publishes.next().await {
        published?;
    }
    let sent = (total, started.elapsed().as_secs_f64());
    let started = Instant::now();
    let mut left = total;
    while left > 0 {
        let wait = Duration::from_secs(5);
        // For more than there are left, the server would wait.
        let most = IN_FLIGHT.min(left);
        let batch = consumer.batch().max_messages(most).expires(wait).messages().await?;
        let acknowledged = batch
            .map(|message| async move {
                message?.double_ack_with(AckKind::Ack).await?;
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            })
            .buffer_unordered(IN_FLIGHT)
            .collect::<Vec<_>>()
            .await;
        for acknowledged in acknowledged {
            acknowledged.map_err(|error| error.to_string())?;
            left -= 1;
        }
    }
    let received = (total, started.elapsed().as_secs_f64());
    let cpu = Cpu::now(server)?.since(before);
    context.delete_stream("plain").await?;
    Ok(Sample::new(sent, received, cpu))
}

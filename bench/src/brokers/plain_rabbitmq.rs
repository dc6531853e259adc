//! RabbitMQ by its client alone: persistent publishes into a quorum queue that are confirmed, and
//! deliveries whose acknowledgement is known to have arrived.

use std::time::Instant;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

use super::Sample;
use crate::Result;
use crate::cpu::Cpu;
use crate::work::{Load, outgoing};

/// How many publishes or acknowledgements are on their way at the same time.
const IN_FLIGHT: usize = 256;
const QUEUE: &str = "plain";

/// Passes twice as many messages as the load has deposits, as Semel does.
pub(super) async fn run(address: &str, load: Load, server: Option<u32>) -> Result<Sample> {
    let connection = Connection::connect(address, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(QUEUE.into(), durable, arguments).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let total = load.messages * 2;
    let before = Cpu::now(server)?;
    let started = Instant::now();
    let numbers: Vec<usize> = (0..total).collect();
    for numbers in numbers.chunks(IN_FLIGHT) {
        let mut confirms = Vec::with_capacity(numbers.len());
        for number in numbers {
            let envelope = outgoing(*number, load.entities)?.envelope;
            let mut headers = FieldTable::default();
            for (name, value) in [
                ("cloudEvents:id", &envelope.id),
                ("cloudEvents:source", &envelope.source),
                ("cloudEvents:type", &envelope.kind),
            ] {
                headers.insert(name.into(), AMQPValue::LongString(value.as_str().into()));
            }
            let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let publish =
                channel.basic_publish("".into(), QUEUE.into(), options, &envelope.data, properties);
            confirms.push(publish.await?);
        }
        for confirm in confirms {
            if !confirm.await?.is_ack() {
                return Err("the server did not confirm".into());
            }
        }
    }
    let sent = (total, started.elapsed().as_secs_f64());
    let started = Instant::now();
    let taking = connection.create_channel().await?;
    taking.basic_qos(IN_FLIGHT as u16, BasicQosOptions::default()).await?;
    let consume = BasicConsumeOptions::default();
    let mut consumer =
        taking.basic_consume(QUEUE.into(), "".into(), consume, FieldTable::default()).await?;
    let mut left = total;
    while left > 0 {
        let delivery = consumer.next().await.ok_or("the consumer ended")??;
        taking.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await?;
        left -= 1;
    }
    // Acknowledgements are not confirmed; what is answered after them is.
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    taking.queue_declare(QUEUE.into(), passive, FieldTable::default()).await?;
    let received = (total, started.elapsed().as_secs_f64());
    let cpu = Cpu::now(server)?.since(before);
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    connection.close(200, "".into()).await?;
    Ok(Sample::new(sent, received, cpu))
}

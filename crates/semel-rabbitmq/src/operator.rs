//! What a person sees.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use semel_core::operator::{DeadLetter, DeadLetterFilter, EndpointReport, Operator, Report};
use semel_core::{StoreError, Timestamp};

use crate::book::Page;
use crate::place::Place;
use crate::topology::short;
use crate::{RabbitMq, error};

#[async_trait]
impl Operator for RabbitMq {
    async fn inspect(&self) -> Result<Report, StoreError> {
        let place = &self.place;
        let held = place.census().await?;
        let mut report = Report::default();
        for (endpoint, page) in place.read_book().await?.endpoints {
            let in_flight = held.get(&endpoint).copied().unwrap_or_default();
            let told = place.count(&endpoint, page).await?;
            report.endpoints.insert(endpoint, EndpointReport { in_flight, ..told });
        }
        Ok(report)
    }

    async fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>, StoreError> {
        self.place.list_dead(filter).await
    }

    async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.place.find_dead(number).await
    }
}

impl Place {
    async fn count(
        self: &Arc<Self>,
        endpoint: &str,
        page: Page,
    ) -> Result<EndpointReport, StoreError> {
        let mut delayed = 0;
        for step_ms in &page.waits {
            delayed += self.count_queue(&self.names.wait(endpoint, *step_ms)).await?;
        }
        let mut dead_letters = 0;
        if page.has_dead {
            dead_letters = self.count_queue(&self.names.dead(endpoint)).await?;
        }
        Ok(EndpointReport {
            ready: self.count_queue(&self.names.ready(endpoint)).await?,
            delayed,
            dead_letters,
            protocol: page.protocol,
            subscriptions: page.subscriptions.into_iter().collect(),
            registered_at: page.registered_at.map(Timestamp::from_unix_ms),
            ..EndpointReport::default()
        })
    }

    /// The messages of a queue; none where somebody deleted it.
    async fn count_queue(self: &Arc<Self>, queue: &str) -> Result<u64, StoreError> {
        // The question closes the channel where there is no such queue.
        let channel = self.take_channel("inspect").await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = channel.queue_declare(short(self, queue)?, options, FieldTable::default());
        let count = match tokio::time::timeout(self.server.patience, asking).await {
            Ok(Ok(answer)) => u64::from(answer.message_count()),
            Ok(Err(error)) if error::is_missing(&error) => return Ok(0),
            Ok(Err(error)) => return Err(self.translate("inspect", &error)),
            Err(_) => return Err(error::no_answer(&self.server.place, "inspect")),
        };
        self.close(&channel).await;
        Ok(count)
    }
}

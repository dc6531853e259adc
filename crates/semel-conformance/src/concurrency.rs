//! Running calls side by side, and letting time pass beside a call.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::Rig;
use crate::verdict::broken;

/// Runs `tasks` at the same time, on as many threads as the runtime has. A panic in one of them
/// is a panic here.
pub(crate) async fn together<T, F>(tasks: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut running = JoinSet::new();
    for task in tasks {
        running.spawn(task);
    }
    running.join_all().await
}

/// Lets time pass in small steps until `call` comes back.
///
/// A wait may run on the clock of the place or on that of the runtime; the contract does not say
/// which. Each step therefore moves both.
pub(crate) async fn while_time_passes<T>(
    rig: &dyn Rig,
    sentence: &str,
    call: impl Future<Output = T>,
) -> T {
    let mut call = pin!(call);
    for _ in 0..400 {
        tokio::select! {
            biased;
            result = &mut call => return result,
            () = step(rig) => {}
        }
    }
    broken(sentence, &"the call did not come back")
}

/// A tenth of a tick at the place, and a moment for the runtime.
pub(crate) async fn step(rig: &dyn Rig) {
    rig.pass(rig.tick() / 10).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
}

//! One message at a time per entity, and the order of messages that ask for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use semel::prelude::*;
use semel::{RetryPolicy, Settings};
use serde::{Deserialize, Serialize};

use crate::bank::{accounts_async, deposit, to};
use crate::gate::Gate;
use crate::rig::{Home, Rig, at_once, dead_letters, host, retrying, work_off};

/// A line of a log; lines of one log keep their order.
#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "log.line", entity = log, ordered)]
struct Line {
    log: String,
    number: u32,
}

/// A remark on a log; remarks keep no order.
#[derive(Clone, Serialize, Deserialize, Message)]
#[message(type = "log.remark", entity = log)]
struct Remark {
    log: String,
    number: u32,
}

async fn send_line(backend: &Backend, log: &str, number: u32) {
    backend.send("logs", Line { log: log.to_owned(), number }).await.unwrap();
}

async fn send_remark(backend: &Backend, log: &str, number: u32) {
    backend.send("logs", Remark { log: log.to_owned(), number }).await.unwrap();
}

/// Fails the attempts that `fails` says, by log, number and attempt (from 1); writes the others
/// down.
fn logs(fails: impl Fn(&str, u32, u32) -> bool + Send + Sync + 'static) -> Endpoint {
    let attempts = Mutex::new(BTreeMap::new());
    let handler = move |log: &mut Vec<u32>, line: Line, _: &mut Context| {
        let attempt = {
            let mut attempts = attempts.lock().unwrap();
            let attempt: &mut u32 = attempts.entry((line.log.clone(), line.number)).or_default();
            *attempt += 1;
            *attempt
        };
        if fails(&line.log, line.number, attempt) {
            return Err(Failure::retry("not yet"));
        }
        log.push(line.number);
        Ok(())
    };
    Endpoint::new("logs").handle(handler)
}

fn remarks(endpoint: Endpoint) -> Endpoint {
    endpoint.handle(|log: &mut Vec<u32>, remark: Remark, _: &mut Context| log.push(remark.number))
}

fn written(rig: &Rig, log: &str) -> Vec<u32> {
    rig.state("logs", log).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_entity_run_one_at_a_time_in_the_order_of_the_queue() {
    let rig = Rig::new();
    let backend = rig.backend();
    for n in 0..50 {
        backend.send("accounts", to("alice", n)).await.unwrap();
    }
    let inside = Arc::new(AtomicU64::new(0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let (now_inside, seen) = (inside.clone(), order.clone());
    let endpoint = accounts_async(move |account, message, ctx| {
        let (inside, order) = (now_inside.clone(), seen.clone());
        Box::pin(async move {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "another one is at work");
            order.lock().unwrap().push(message.pence);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            deposit(account, message, ctx);
            Ok(())
        })
    });
    work_off(&backend, [endpoint.settings(retrying(RetryPolicy::NONE))]).await;
    assert!(dead_letters(&backend).await.is_empty());
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<i64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_different_entities_run_side_by_side_up_to_the_limit() {
    for concurrency in [1, 7, 40] {
        let rig = Rig::new();
        let backend = rig.backend();
        for n in 0..40 {
            backend.send("accounts", to(&format!("account-{n}"), n)).await.unwrap();
        }
        let gate = Gate::new();
        let (inside, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (now, max, waiting) = (inside.clone(), most.clone(), gate.clone());
        let endpoint = accounts_async(move |account, message, ctx| {
            let (inside, most, gate) = (now.clone(), max.clone(), waiting.clone());
            Box::pin(async move {
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.pass().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                deposit(account, message, ctx);
                Ok(())
            })
        });
        let settings = Settings { concurrency: concurrency as usize, ..Settings::default() };
        let worker = tokio::spawn(host(&backend, [endpoint.settings(settings)]).run_until_idle());
        gate.arrived(concurrency).await;
        gate.open();
        worker.await.unwrap().unwrap();
        assert_eq!(most.load(Ordering::SeqCst), concurrency);
    }
}

/// Lines fail now and then and go back to the queue; still each log is written in order, although
/// two workers share the queue.
#[tokio::test(flavor = "multi_thread")]
async fn ordered_messages_keep_their_order_across_hosts_and_retries() {
    const LOGS: u32 = 8;
    const LINES: u32 = 25;
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let feeder = rig.backend();
        for number in 0..LINES {
            for log in 0..LOGS {
                send_line(&feeder, &format!("log-{log}"), number).await;
            }
        }
        let now_and_then = |_: &str, number: u32, attempt: u32| attempt <= number % 3;
        let endpoint = || {
            let helping = Settings { held_max: 30, ..retrying(at_once(20)) };
            logs(now_and_then).settings(helping)
        };
        let workers =
            [(); 2].map(|()| tokio::spawn(host(&rig.backend(), [endpoint()]).run_until_idle()));
        for worker in workers {
            worker.await.unwrap().unwrap();
        }
        work_off(&feeder, [endpoint()]).await;
        for log in 0..LOGS {
            let lines = written(&rig, &format!("log-{log}"));
            assert_eq!(lines, (0..LINES).collect::<Vec<u32>>(), "log-{log}, {home:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_holds_up_the_later_messages_of_its_subject_and_no_others() {
    let later = RetryPolicy {
        delayed: 1,
        first_delay: Duration::from_secs(1),
        delay_max: Duration::from_secs(1),
        ..RetryPolicy::NONE
    };
    for home in Home::BOTH {
        let rig = Rig::at(home);
        let backend = rig.backend();
        for number in 0..4 {
            send_line(&backend, "a", number).await;
            send_line(&backend, "b", number).await;
        }
        let endpoint = || {
            let first_time = Mutex::new(true);
            let once = move |log: &str, number: u32, _: u32| {
                (log, number) == ("a", 1) && std::mem::take(&mut *first_time.lock().unwrap())
            };
            logs(once).settings(retrying(later))
        };
        work_off(&backend, [endpoint()]).await;
        // Neither this worker nor another goes on with "a" before its time.
        let never = || logs(|_, _, _| false);
        work_off(&rig.backend(), [never()]).await;
        assert_eq!((written(&rig, "a"), written(&rig, "b")), (vec![0], vec![0, 1, 2, 3]));

        rig.advance(Duration::from_secs(1));
        work_off(&rig.backend(), [never()]).await;
        assert_eq!(written(&rig, "a"), [0, 1, 2, 3], "{home:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_dead_letter_the_later_messages_of_its_subject_go_on() {
    let rig = Rig::new();
    let backend = rig.backend();
    for number in 0..5 {
        send_line(&backend, "a", number).await;
    }
    work_off(&backend, [logs(|_, number, _| number == 2).settings(retrying(at_once(3)))]).await;
    assert_eq!(written(&rig, "a"), [0, 1, 3, 4]);
    assert_eq!(dead_letters(&backend).await.len(), 1);
}

/// The first line fails, a remark without order follows, then the second line: it must wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_order_lets_no_ordered_one_overtake() {
    let rig = Rig::new();
    let backend = rig.backend();
    send_line(&backend, "a", 1).await;
    send_remark(&backend, "a", 100).await;
    send_line(&backend, "a", 2).await;
    send_remark(&backend, "a", 200).await;
    let first_time = |_: &str, number: u32, attempt: u32| number == 1 && attempt == 1;
    let later = RetryPolicy { immediate: 0, ..RetryPolicy::default() };
    let endpoint = remarks(logs(first_time)).settings(retrying(later));
    work_off(&backend, [endpoint]).await;
    assert_eq!(written(&rig, "a"), [100, 200], "remarks wait for nobody");

    rig.advance(Duration::from_secs(10));
    work_off(&backend, [remarks(logs(|_, _, _| false))]).await;
    assert_eq!(written(&rig, "a"), [100, 200, 1, 2]);
}

/// Order is a matter of the subject, also where the endpoint files the lines under other entities.
#[tokio::test(flavor = "multi_thread")]
async fn ordered_messages_of_one_subject_keep_their_order_although_their_entities_differ() {
    let rig = Rig::new();
    let backend = rig.backend();
    for number in 1..=3 {
        send_line(&backend, "a", number).await;
    }
    let written = Arc::new(Mutex::new(Vec::new()));
    let endpoint = |fails: bool| {
        let written = written.clone();
        let handler = move |_: &mut u32, line: Line, _: &mut Context| {
            if fails && line.number == 1 {
                return Err(Failure::retry("not yet"));
            }
            written.lock().unwrap().push(line.number);
            Ok(())
        };
        let later = RetryPolicy { immediate: 0, ..RetryPolicy::default() };
        let by_number = |line: &Line| line.number.to_string();
        Endpoint::new("logs").handle_by(by_number, handler).settings(retrying(later))
    };
    work_off(&backend, [endpoint(true)]).await;
    assert_eq!(*written.lock().unwrap(), [] as [u32; 0]);
    rig.advance(Duration::from_secs(10));
    work_off(&backend, [endpoint(false)]).await;
    assert_eq!(*written.lock().unwrap(), [1, 2, 3]);
}

/// A retry in front of a free message of the same entity holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_message_without_order_holds_up_nobody() {
    let rig = Rig::new();
    let backend = rig.backend();
    send_remark(&backend, "a", 100).await;
    send_line(&backend, "a", 1).await;
    send_remark(&backend, "a", 200).await;
    let handler = |log: &mut Vec<u32>, remark: Remark, _: &mut Context| {
        if remark.number == 100 {
            return Err(Failure::retry("not yet"));
        }
        log.push(remark.number);
        Ok(())
    };
    let later = RetryPolicy { immediate: 0, ..RetryPolicy::default() };
    let endpoint = logs(|_, _, _| false).handle(handler).settings(retrying(later));
    work_off(&backend, [endpoint]).await;
    let mut written = written(&rig, "a");
    written.sort_unstable();
    assert_eq!(written, [1, 200]);
}

use super::{Attempt, NoOrder, Operation, exactly_once_order};

/// A message that was received and settled then, with attempts from one state to another.
fn seen(message: &str, times: (u64, u64), attempts: &[(i32, i32)]) -> Operation<i32> {
    Operation {
        message: message.to_owned(),
        received: times.0,
        settled: Some(times.1),
        attempts: attempts.iter().map(|&(before, after)| Attempt { before, after }).collect(),
    }
}

fn order(seen: &[Operation<i32>], end: i32) -> Result<Vec<String>, NoOrder> {
    exactly_once_order(&0, seen, &end)
}

#[test]
fn nothing_happened_and_nothing_is_there() {
    assert_eq!(order(&[], 0), Ok(vec![]));
    assert!(matches!(order(&[], 1), Err(NoOrder::FromNowhere { .. })));
}

#[test]
fn attempts_that_did_not_count_are_left_out() {
    // Both began with 0; `b` lost, and was tried again.
    let seen = [seen("a", (1, 9), &[(0, 5)]), seen("b", (1, 9), &[(0, 3), (5, 8)])];
    assert_eq!(order(&seen, 8).unwrap(), ["a", "b"]);
}

#[test]
fn a_chain_is_found_among_many_that_end_too_early() {
    // Equal deposits in any order, but only the last may come last: it alone began with 300.
    let mut all: Vec<_> = (0..30).map(|at| seen(&format!("m{at}"), (1, 99), &[])).collect();
    for operation in &mut all {
        operation.attempts =
            (0..30).map(|n| Attempt { before: n * 10, after: n * 10 + 10 }).collect();
    }
    all.push(seen("last", (1, 99), &[(300, 1)]));
    let order = order(&all, 1).unwrap();
    assert_eq!((order.len(), order.last().map(String::as_str)), (31, Some("last")));
}

#[test]
fn a_message_that_counts_twice_is_named() {
    let seen = [seen("a", (1, 2), &[(0, 5), (5, 10)])];
    assert_eq!(order(&seen, 10), Err(NoOrder::Twice { messages: vec!["a".to_owned()] }));
}

#[test]
fn a_message_that_does_not_count_is_named() {
    // `b` overwrote what `a` had done: a lost update.
    let seen = [seen("a", (1, 2), &[(0, 5)]), seen("b", (1, 2), &[(0, 3)])];
    assert_eq!(order(&seen, 3), Err(NoOrder::Lost { messages: vec!["a".to_owned()] }));
}

#[test]
fn a_state_that_nobody_decided_on_comes_from_nowhere() {
    let seen = [seen("a", (1, 2), &[(0, 5)])];
    let error = order(&seen, 6).unwrap_err();
    assert_eq!(error, NoOrder::FromNowhere { end: "6".to_owned() });
    assert!(error.to_string().contains("it is 6"));
}

#[test]
fn what_was_settled_before_another_came_counts_before_it() {
    let chain = |b_received| {
        // The states say: `b`, then `a`.
        [seen("a", (1, 10), &[(3, 8)]), seen("b", (b_received, 20), &[(0, 3)])]
    };
    assert_eq!(order(&chain(10), 8).unwrap(), ["b", "a"]);
    let error = order(&chain(11), 8).unwrap_err();
    assert_eq!(error, NoOrder::TooLate { order: vec!["b".to_owned(), "a".to_owned()] });
}

#[test]
fn a_message_that_nobody_settled_may_come_at_any_time_after_its_receipt() {
    let mut late = seen("late", (1, 0), &[(5, 6)]);
    late.settled = None;
    assert_eq!(order(&[late, seen("a", (50, 60), &[(0, 5)])], 6).unwrap(), ["a", "late"]);
}

#[test]
fn an_attempt_that_changes_nothing_counts_too() {
    let seen = [seen("a", (1, 2), &[(0, 5)]), seen("b", (1, 2), &[(5, 5)])];
    assert_eq!(order(&seen, 5).unwrap(), ["a", "b"]);
}

#[test]
fn a_long_history_is_no_trouble() {
    let all: Vec<_> = (0..3_000)
        .map(|at| {
            let time = u64::try_from(at).unwrap() * 10;
            seen(&format!("m{at}"), (time, time + 25), &[(at, at + 1), (at - 1, at + 7_000)])
        })
        .collect();
    assert_eq!(order(&all, 3_000).unwrap().len(), 3_000);
}

/// What the search says is what trying all orders says, for many small histories.
#[test]
fn it_agrees_with_trying_all_orders() {
    let mut dice = 1_u64;
    let mut below = |end: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % end
    };
    let (mut with, mut without) = (0, 0);
    for _ in 0..4_000 {
        let count = 1 + below(4);
        let seen: Vec<_> = (0..count)
            .map(|at| {
                let received = below(6);
                let mut state = || i32::try_from(below(4)).unwrap();
                let attempts = [(state(), state()), (state(), state())];
                seen(&at.to_string(), (received, received + 1 + below(6)), &attempts)
            })
            .collect();
        let end = i32::try_from(below(4)).unwrap();
        let expected = any_order(0, &mut seen.iter().collect(), end);
        assert_eq!(order(&seen, end).is_ok(), expected, "{seen:?} to {end}");
        *(if expected { &mut with } else { &mut without }) += 1;
    }
    assert!(with > 100 && without > 100, "{with} with an order, {without} without");
}

fn any_order(state: i32, left: &mut Vec<&Operation<i32>>, end: i32) -> bool {
    if left.is_empty() {
        return state == end;
    }
    for at in 0..left.len() {
        let next = left.remove(at);
        let is_in_time = left.iter().all(|other| other.settled.unwrap() >= next.received);
        for attempt in &next.attempts {
            if is_in_time && attempt.before == state && any_order(attempt.after, left, end) {
                return true;
            }
        }
        left.insert(at, next);
    }
    false
}

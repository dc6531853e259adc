//! The states of `semel_core::designs`: any order and repetition leads to the same bytes, and the
//! bytes are a format.

use std::fmt::Debug;

use proptest::prelude::*;
use semel_core::designs::{
    Content, CreateOnce, Greatest, GrowOnlySet, Held, LastVersion, TwoPhaseSet,
};
use semel_core::handler::State;
use serde_json::json;

/// Few different numbers, so that changes meet.
const FEW: std::ops::Range<u8> = 0..4;

/// Two sequences with the same changes in them, in other orders and numbers.
fn alike<C: Clone + Debug + 'static>(
    change: impl Strategy<Value = C> + Clone + 'static,
) -> impl Strategy<Value = (Vec<C>, Vec<C>)> {
    let changes = prop::collection::vec(change, 1..8);
    changes.prop_flat_map(|changes| {
        let again = prop::collection::vec(prop::sample::select(changes.clone()), 0..6);
        let other = again.prop_flat_map({
            let changes = changes.clone();
            move |again| Just([changes.clone(), again].concat()).prop_shuffle()
        });
        (Just(changes), other)
    })
}

/// The stored bytes, read back before each change as a worker does.
fn stored<S: State, C: Clone>(changes: &[C], apply: fn(&mut S, C)) -> String {
    let mut bytes = serde_json::to_string(&S::default()).unwrap();
    for change in changes {
        let mut state: S = serde_json::from_str(&bytes).unwrap();
        apply(&mut state, change.clone());
        bytes = serde_json::to_string(&state).unwrap();
    }
    bytes
}

proptest! {
    #[test]
    fn a_grow_only_set_is_its_elements((one, other) in alike(FEW)) {
        let apply = |set: &mut GrowOnlySet<u8>, element| set.insert(element);
        prop_assert_eq!(stored(&one, apply), stored(&other, apply));
    }

    #[test]
    fn a_two_phase_set_is_what_was_inserted_and_not_removed(
        (one, other) in alike((any::<bool>(), FEW)),
    ) {
        let apply = |set: &mut TwoPhaseSet<u8>, (adds, element)| match adds {
            true => set.insert(element),
            false => set.remove(element),
        };
        prop_assert_eq!(stored(&one, apply), stored(&other, apply));
        let set: TwoPhaseSet<u8> = serde_json::from_str(&stored(&one, apply)).unwrap();
        for element in FEW {
            let (is_added, is_removed) = (one.contains(&(true, element)), one.contains(&(false, element)));
            prop_assert_eq!(set.contains(&element), is_added && !is_removed);
            prop_assert_eq!(set.is_removed(&element), is_removed);
        }
    }

    #[test]
    fn a_creation_is_its_two_least_values((one, other) in alike(FEW)) {
        let apply = |created: &mut CreateOnce<u8>, value| created.create(value);
        prop_assert_eq!(stored(&one, apply), stored(&other, apply));
        let created: CreateOnce<u8> = serde_json::from_str(&stored(&one, apply)).unwrap();
        let is_alone = one.iter().all(|value| *value == one[0]);
        prop_assert_eq!(created.value().is_some(), is_alone);
    }

    #[test]
    fn a_last_version_is_what_the_greatest_number_says(
        (one, other) in alike((FEW, prop::option::of(FEW))),
    ) {
        let apply = |last: &mut LastVersion<u8>, (version, value): (u8, Option<u8>)| match value {
            Some(value) => last.put(version.into(), value),
            None => last.delete(version.into()),
        };
        prop_assert_eq!(stored(&one, apply), stored(&other, apply));
        let last: LastVersion<u8> = serde_json::from_str(&stored(&one, apply)).unwrap();
        let greatest = one.iter().map(|(version, _)| u64::from(*version)).max();
        prop_assert_eq!(last.version(), greatest);
    }

    #[test]
    fn a_mark_is_the_greatest_value((one, other) in alike(prop::option::of(FEW))) {
        let apply = |mark: &mut Greatest<Option<u8>>, value| mark.raise(value);
        prop_assert_eq!(stored(&one, apply), stored(&other, apply));
        let mark: Greatest<Option<u8>> = serde_json::from_str(&stored(&one, apply)).unwrap();
        prop_assert_eq!(mark.value(), one.iter().max());
    }
}

#[track_caller]
fn is_stored_as(state: &impl serde::Serialize, wanted: serde_json::Value) {
    assert_eq!(serde_json::to_value(state).unwrap(), wanted);
}

#[test]
fn the_stored_forms_stay_as_they_are() {
    is_stored_as(&GrowOnlySet::<String>::default(), json!([]));
    let mut set = GrowOnlySet::default();
    ["b", "a"].into_iter().for_each(|element| set.insert(element));
    is_stored_as(&set, json!(["a", "b"]));

    is_stored_as(&TwoPhaseSet::<String>::default(), json!({"present": [], "removed": []}));
    let mut set = TwoPhaseSet::default();
    set.insert("a");
    set.remove("b");
    is_stored_as(&set, json!({"present": ["a"], "removed": ["b"]}));

    is_stored_as(&CreateOnce::<String>::default(), json!([]));
    let mut created = CreateOnce::default();
    ["c", "a", "b"].into_iter().for_each(|value| created.create(value));
    is_stored_as(&created, json!(["a", "b"]));

    is_stored_as(&Greatest::<u64>::default(), json!([]));
    let mut mark = Greatest::default();
    [7, 5].into_iter().for_each(|value| mark.raise(value));
    is_stored_as(&mark, json!([7]));
}

#[test]
fn the_stored_form_of_a_last_version_stays_as_it_is() {
    let mut last = LastVersion::default();
    is_stored_as(&last, json!({"version": 0, "contents": []}));
    assert_eq!((last.held(), last.version()), (Held::Nothing, None));
    last.put(0, "a");
    is_stored_as(&last, json!({"version": 0, "contents": [{"value": "a"}]}));
    assert_eq!(last.version(), Some(0));
    last.delete(0);
    is_stored_as(&last, json!({"version": 0, "contents": ["deleted", {"value": "a"}]}));
    let (least, next) = (&Content::Deleted, &Content::Value("a"));
    assert_eq!(last.held(), Held::Conflict { least, next });
    assert_eq!(last.value(), None);
    last.delete(1);
    is_stored_as(&last, json!({"version": 1, "contents": ["deleted"]}));
}

//! The task that reads: it looks up whatever was asked meanwhile with one statement.

use std::collections::BTreeMap;
use std::sync::Arc;

use semel_core::StoreError;
use semel_core::store::{Item, ItemKey, Space, Version};
use tokio_postgres::Row;

use crate::error::Fault;
use crate::lane::Requests;
use crate::place::Place;
use crate::row;
use crate::session::{Ask, Kind};
use crate::tables::{Table, table};

/// How many items are read at once at most, beyond those of the first request.
const ITEMS_MAX: usize = 512;

/// The items under these keys, in their order, all as of one moment.
pub(crate) type Answer = Result<Vec<Option<Item>>, StoreError>;

/// Reads until nobody can ask any more.
pub(crate) async fn serve(place: Arc<Place>, mut requests: Requests<Vec<ItemKey>, Answer>) {
    loop {
        let mut items = 0;
        let group = requests
            .gather(|keys| {
                let is_first = items == 0;
                items += keys.len();
                is_first || items <= ITEMS_MAX
            })
            .await;
        let Some(group) = group else { return };
        let keys: Vec<&ItemKey> = group.iter().flat_map(|asked| &asked.question).collect();
        match read(&place, &keys).await {
            Ok(items) => {
                let mut items = items.into_iter();
                for asked in group {
                    let own = items.by_ref().take(asked.question.len()).collect();
                    asked.answer(Ok(own));
                }
            }
            Err(fault) => {
                let error = fault.into_error(&place.server.place, "read");
                group.into_iter().for_each(|asked| asked.answer(Err(error.clone())));
            }
        }
    }
}

/// Reads in one statement, so that nothing is older than anything else.
async fn read<'a>(place: &Place, keys: &[&'a ItemKey]) -> Result<Vec<Option<Item>>, Fault> {
    let mut items: Vec<Option<Item>> = keys.iter().map(|_| None).collect();
    let mut spaces: BTreeMap<Space, Vec<usize>> = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        spaces.entry(key.space).or_default().push(at);
    }
    if spaces.is_empty() {
        return Ok(items);
    }
    let spaces: Vec<(Space, Vec<usize>)> = spaces.into_iter().collect();
    let mut ask = Ask { sql: String::new(), parameters: Vec::new() };
    for (number, (space, places)) in spaces.iter().enumerate() {
        let Table { name, partition, key, value } = table(*space);
        let (first, second) = (2 * number + 1, 2 * number + 2);
        if number > 0 {
            ask.sql.push_str(" UNION ALL ");
        }
        ask.sql.push_str(&format!(
            "SELECT {number}::bigint, at, {value}, version \
             FROM unnest(${first}::text[], ${second}::text[]) WITH ORDINALITY AS wanted (p, k, at) \
             JOIN {}.{name} ON {partition} = p AND {key} = k",
            place.schema
        ));
        // No item has a NUL in its key: such a one is looked for in vain.
        let keys = || places.iter().map(|at| keys[*at]);
        let clean = |text: &'a String| Some(text.as_str()).filter(|text| !text.contains('\0'));
        let partitions: Vec<_> = keys().map(|key| clean(&key.partition)).collect();
        let names: Vec<_> = keys().map(|key| clean(&key.key)).collect();
        ask.parameters.push(Box::new(partitions));
        ask.parameters.push(Box::new(names));
    }
    let answers = place.server.transact("read", Kind::Look, "", &[ask]).await?;
    for found in answers.rows.iter().flatten() {
        let at = position(&spaces, found);
        if let Some((slot, key)) = at.and_then(|at| Some((items.get_mut(at)?, keys.get(at)?))) {
            *slot = Some(item((*key).clone(), found, 2));
        }
    }
    Ok(items)
}

/// Which of all keys a row is of.
fn position(spaces: &[(Space, Vec<usize>)], row: &Row) -> Option<usize> {
    let number = usize::try_from(row::get::<i64>(row, 0)?).ok()?;
    let at = usize::try_from(row::get::<i64>(row, 1)?).ok()?;
    spaces.get(number)?.1.get(at.checked_sub(1)?).copied()
}

/// The item whose value and version are in the columns from `first` on.
pub(crate) fn item(key: ItemKey, row: &Row, first: usize) -> Item {
    let version: i64 = row::get(row, first + 1).unwrap_or_default();
    Item { key, value: row::bytes(row, first), version: Version::new(version.to_string()) }
}

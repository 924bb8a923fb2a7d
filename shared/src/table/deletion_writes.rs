//! The writes of deletions. Each takes something out of the first cells of rollups in the same
//! transaction that takes it out of a detail, of what an id left behind, or of a set.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, ConditionCheck, Delete, TransactWriteItem, Update},
};

use super::{
    attribute::{self, MEMBERS, VACATED},
    escape,
    expression::UpdateExpression,
    item::{
        CorruptItem, Item, Revision, UpdateToken, decode_departure, decode_members, number, text,
    },
    key::{ItemKey, Shard},
    transaction::{Condition, add_sums, exists, is_unchanged, name_if_hashed, put_detail},
};
use crate::domain::{
    Cell, CellSums, Deletion, DeletionStep, Id, Member, MemberSet, Overflow, RollupKey, StatName,
    StepSize, Sum, Sums, UnixSeconds,
};

/// What an id has left behind under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeparture {
    key: ItemKey,
    /// The first cell of the rollup that holds it.
    rollup: ItemKey,
    /// What of it is deleted.
    counters: Sums,
    /// Whether that is all.
    is_all: bool,
}

impl StoredDeparture {
    /// What an item says that an id has left behind, if the deletion covers it.
    ///
    /// # Errors
    /// The item can't be read.
    pub fn covered_by(deletion: &Deletion, item: &Item) -> Result<Option<Self>, CorruptItem> {
        let Some(key) = ItemKey::of_item(item).filter(|key| key.is_departure_covered_by(deletion))
        else {
            return Ok(None);
        };
        let Some(rollup) = key.rollup_of_departure() else {
            return Ok(None);
        };
        let mut counters = decode_departure(item)?;
        let all = counters.len();
        counters.retain(|stat, _| deletion.covers_stat(stat));
        let is_all = counters.len() == all;
        // An item without any counters may go, too.
        Ok((is_all || !counters.is_empty()).then_some(Self { key, rollup, counters, is_all }))
    }

    /// How many sums it holds.
    #[must_use]
    pub fn sums(&self) -> usize {
        self.counters.len()
    }

    /// The same in parts, each of which fits into an expression.
    #[must_use]
    pub fn into_parts(self) -> DepartureParts {
        let all: Vec<_> = self.counters.iter().collect();
        let chunks = all.chunks(StepSize::OF_TRANSACTION.sums);
        let mut parts: Vec<_> = chunks
            .map(|chunk| Self {
                counters: chunk.iter().map(|(stat, sum)| ((*stat).clone(), **sum)).collect(),
                ..self.clone()
            })
            .collect();
        let last = self.is_all.then(|| parts.pop().unwrap_or(self));
        DepartureParts { first: parts, last }
    }
}

/// What an id has left behind under a key, in parts that are deleted one after the other.
#[derive(Debug, Clone)]
pub struct DepartureParts {
    /// Those after which more is left.
    pub first: Vec<StoredDeparture>,
    /// The one with which all is gone; none if something stays.
    pub last: Option<StoredDeparture>,
}

/// A shard of a set that is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredShard {
    /// Its key.
    pub key: ItemKey,
    /// The first cell of the rollup that has the number of its members.
    pub rollup: ItemKey,
    /// The stat; none if its name is so long that the key has its hash.
    stat: Option<StatName>,
    /// The stat in the escaped form of keys.
    stat_part: String,
    /// How many members it has.
    pub members: usize,
}

impl StoredShard {
    /// The shard of a set that an item is, if the deletion covers its key. Its stat may have to be
    /// found out before it is known whether that is covered.
    ///
    /// # Errors
    /// The item can't be read.
    pub fn of_key_covered_by(
        deletion: &Deletion,
        item: &Item,
    ) -> Result<Option<Self>, CorruptItem> {
        let Some(key) = ItemKey::of_item(item) else {
            return Ok(None);
        };
        let Some((rollup, stat)) = key.shard_covered_by(deletion) else {
            return Ok(None);
        };
        let stat_part = stat.to_owned();
        let stat = escape::name(stat).and_then(|name| StatName::new(&name).ok());
        let members = decode_members(item)?.len();
        Ok(Some(Self { key, rollup, stat, stat_part, members }))
    }

    /// The stat; none if it has to be found among those of the rollup.
    #[must_use]
    pub fn stat(&self) -> Option<&StatName> {
        self.stat.as_ref()
    }

    /// Finds the stat among those of the rollup, by its hash.
    pub fn find_stat<'a>(&mut self, stats: impl IntoIterator<Item = &'a StatName>) {
        let mut stats = stats.into_iter();
        self.stat = stats.find(|stat| escape::part(stat.as_str()) == self.stat_part).cloned();
    }

    /// Deletes it, if it still has as many members: one transaction. `None` as long as its stat is
    /// unknown.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn deleted(&self, table: &str) -> Result<Option<Vec<TransactWriteItem>>, BuildError> {
        let (Some(stat), Ok(members)) = (&self.stat, i64::try_from(self.members)) else {
            return Ok(None);
        };
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(self.key.attributes()))
            .condition_expression(format!("size({MEMBERS}) = :members"))
            .expression_attribute_values(":members", number(members))
            .build()?;
        let fewer = Sums::from([(stat.clone(), Sum::from(-members))]);
        let gain = CellSums { members: fewer, ..CellSums::default() };
        Ok(Some(vec![
            TransactWriteItem::builder().delete(delete).build(),
            add_to_rollup(table, &self.rollup, None, &gain)?,
        ]))
    }
}

/// Deletes something of an id, whose detail still has to be as it was read.
#[derive(Debug, Clone, Copy)]
pub struct IdDeletion<'a> {
    /// The table.
    pub table: &'a str,
    /// The key of the id's detail.
    pub detail: &'a ItemKey,
    /// The revision in which the detail was read; the default if there was none.
    pub revision: &'a Revision,
}

impl IdDeletion<'_> {
    /// Takes out what an id has left behind under some keys, and deletes it there: one transaction.
    ///
    /// Every writer of it also writes the detail, so the detail's revision vouches for it.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn departures(
        &self,
        departures: &[StoredDeparture],
    ) -> Result<Vec<TransactWriteItem>, DeletionError> {
        let mut writes = vec![self.check()?];
        for departure in departures {
            let mut gain = CellSums::default();
            for (stat, sum) in departure.counters.iter().filter(|(_, sum)| **sum != Sum::ZERO) {
                gain.counters.insert(stat.clone(), Sum::ZERO.checked_sub(*sum)?);
            }
            if gain.count() > 0 {
                writes.push(add_to_rollup(self.table, &departure.rollup, None, &gain)?);
            }
            writes.push(self.delete(&departure.key)?);
        }
        Ok(writes)
    }

    /// Takes out a part of what an id has left behind, after which more of it is left: one
    /// transaction.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn part_of_departure(
        &self,
        part: &StoredDeparture,
    ) -> Result<Vec<TransactWriteItem>, DeletionError> {
        let mut writes = self.departures(std::slice::from_ref(part))?;
        writes.pop();
        let mut expression = UpdateExpression::default();
        expression.remove_what_fits(part.counters.keys().map(attribute::counter));
        // All parts have other stats. An attempt whose answer was lost has removed these.
        let first = expression.names.keys().next().cloned().unwrap_or_default();
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(part.key.attributes()))
            .update_expression(expression.text())
            .condition_expression(format!("attribute_exists({first})"))
            .set_expression_attribute_names(Some(expression.names))
            .build()?;
        writes.push(TransactWriteItem::builder().update(update).build());
        Ok(writes)
    }

    /// Carries out a step: one transaction. What is left of the detail is that of `id`, and
    /// remembers the `token`.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn step(
        &self,
        step: &DeletionStep,
        id: &Id,
        token: UpdateToken,
        now: UnixSeconds,
    ) -> Result<Vec<TransactWriteItem>, BuildError> {
        let mut writes = Vec::new();
        match &step.after {
            None => {
                let (condition, names, values) = is_unchanged(self.revision);
                let delete = Delete::builder()
                    .table_name(self.table)
                    .set_key(Some(self.detail.attributes()))
                    .condition_expression(condition)
                    .set_expression_attribute_names(names)
                    .set_expression_attribute_values(values)
                    .build()?;
                writes.push(TransactWriteItem::builder().delete(delete).build());
            }
            Some(left) => {
                let put = put_detail(self.table, id, left, self.revision, token, now)?;
                writes.push(TransactWriteItem::builder().put(put).build());
            }
        }
        for (of, gain) in &step.rollups {
            let first_cell = ItemKey::rollup(of, Cell::FIRST);
            writes.push(add_to_rollup(self.table, &first_cell, Some(of), gain)?);
        }
        Ok(writes)
    }

    fn check(&self) -> Result<TransactWriteItem, BuildError> {
        let (condition, names, values): Condition = is_unchanged(self.revision);
        let check = ConditionCheck::builder()
            .table_name(self.table)
            .set_key(Some(self.detail.attributes()))
            .condition_expression(condition)
            .set_expression_attribute_names(names)
            .set_expression_attribute_values(values)
            .build()?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    fn delete(&self, key: &ItemKey) -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder()
            .table_name(self.table)
            .set_key(Some(key.attributes()))
            .condition_expression(exists())
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Takes a member out of a set, and one off the number of its members: one transaction. If the set's
/// shard has no other member, the shard goes too: DynamoDB keeps no empty sets.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn delete_member(
    table: &str,
    set: &MemberSet,
    member: &Member,
    is_only_one: bool,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let shard = ItemKey::members(set, Shard::of(member)).attributes();
    let contains = format!("contains({MEMBERS}, :m) AND size({MEMBERS})");
    let write = match is_only_one {
        true => {
            let delete = Delete::builder()
                .table_name(table)
                .set_key(Some(shard))
                .condition_expression(format!("{contains} = :one"))
                .expression_attribute_values(":m", text(member.as_str()))
                .expression_attribute_values(":one", number(1));
            TransactWriteItem::builder().delete(delete.build()?).build()
        }
        false => {
            let update = Update::builder()
                .table_name(table)
                .set_key(Some(shard))
                .update_expression(format!("DELETE {MEMBERS} :set"))
                .condition_expression(format!("{contains} > :one"))
                .expression_attribute_values(":set", AttributeValue::Ss(vec![member.to_string()]))
                .expression_attribute_values(":m", text(member.as_str()))
                .expression_attribute_values(":one", number(1));
            TransactWriteItem::builder().update(update.build()?).build()
        }
    };
    let one_less = Sums::from([(set.stat.clone(), Sum::from(-1))]);
    let gain = CellSums { members: one_less, ..CellSums::default() };
    let first_cell = ItemKey::rollup(&set.of, Cell::FIRST);
    Ok(vec![write, add_to_rollup(table, &first_cell, Some(&set.of), &gain)?])
}

/// Why a deletion can't be written.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// A sum would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// A defect.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Adds a gain to the first cell of a rollup. There, no write needs a condition; but the cell of a
/// key with a long name has to be there, unless the name is known.
pub(super) fn add_to_rollup(
    table: &str,
    first_cell: &ItemKey,
    of: Option<&RollupKey>,
    gain: &CellSums,
) -> Result<TransactWriteItem, BuildError> {
    let mut expression = UpdateExpression::default();
    add_sums(&mut expression, gain);
    if let Some(of) = of {
        name_if_hashed(&mut expression, of);
    }
    expression.remove_what_fits([VACATED.to_owned()]);
    let condition = (of.is_none() && first_cell.rollup_key().is_none()).then(exists);
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(first_cell.attributes()))
        .update_expression(expression.text())
        .set_condition_expression(condition)
        .set_expression_attribute_names(Some(expression.names))
        .set_expression_attribute_values(Some(expression.values))
        .build()?;
    Ok(TransactWriteItem::builder().update(update).build())
}

//! From a part of a plan to a transaction of DynamoDB.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};

use super::{
    attribute::{
        self, EXPIRES_AT, FROZEN, INCARNATION, KEY_COUNT, MEMBERS, NAME, PARTITION_KEY, VERSION,
        WRITES, WRITTEN_AT,
    },
    escape,
    expression::UpdateExpression,
    item::{Item, Marker, Revision, UpdateToken, encode_detail, encode_marker, number, text},
    key::ItemKey,
    parts::{NewNames, Part, ShardOfSet, Shards},
};
use crate::domain::{
    Cell, Detail, DimensionName, Id, IdempotencyKey, Period, PeriodLength, Plan, RollupKey,
    SpreadSum, StatName, Sums, UnixSeconds,
};

/// What an action of a transaction writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The detail of the id, unless it has changed since it was read.
    Detail,
    /// The idempotency marker, unless there is one.
    Marker,
    /// A cell of a sum, unless it is frozen.
    Cell(SpreadSum, Cell),
    /// A shard of a set, unless it has one of the members.
    Members,
    /// What the id leaves behind under a key.
    Departure,
    /// The list of dimensions.
    Dimension,
    /// The registration of a key in its dimension, unless there is one.
    KnownKey,
}

/// An action of a transaction.
#[derive(Debug, Clone)]
pub struct Action {
    /// What it writes to.
    pub target: Target,
    /// What it writes.
    pub write: TransactWriteItem,
}

/// Actions that happen all together or not at all: at most 100, on different items.
pub type Transaction = Vec<Action>;

/// What the transactions of an update are made from.
#[derive(Debug)]
pub struct Writing<'a> {
    /// The table.
    pub table: &'a str,
    /// The id that reports.
    pub id: &'a Id,
    /// The revision of its detail that the plan was made for.
    pub revision: &'a Revision,
    /// What the detail remembers this update by.
    pub token: UpdateToken,
    /// What to write.
    pub plan: &'a Plan,
    /// Which of the plan's names are new to the table.
    pub new_names: &'a NewNames,
    /// The idempotency marker, if the update has a key.
    pub marker: Option<(&'a IdempotencyKey, Marker)>,
    /// How long periods are.
    pub period_length: PeriodLength,
    /// Now.
    pub now: UnixSeconds,
}

impl Writing<'_> {
    /// The transaction that writes a part; `cell` chooses the cell of each sum.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn transaction(
        &self,
        part: &Part,
        cell: impl Fn(&SpreadSum) -> Cell,
    ) -> Result<Transaction, BuildError> {
        let mut actions = Transaction::new();
        match part {
            Part::Keys => self.write_keys(&cell, &mut actions)?,
            Part::Members(of, shards) => {
                actions.push(self.add_counters(of, &cell, &Sums::new(), shards)?);
                for shard in shards {
                    actions.push(self.add_members(shard)?);
                }
            }
            Part::Numbers { keys, members } => {
                self.write_numbers(members, &cell, &mut actions)?;
                if *keys {
                    self.write_keys(&cell, &mut actions)?;
                }
            }
        }
        Ok(actions)
    }

    fn write_numbers(
        &self,
        members: &Shards,
        cell: &impl Fn(&SpreadSum) -> Cell,
        actions: &mut Transaction,
    ) -> Result<(), BuildError> {
        if let Some((key, marker)) = &self.marker {
            actions.push(self.put_marker(key, marker)?);
        }
        if let Some(detail) = &self.plan.detail {
            let put = put_detail(self.table, self.id, detail, self.revision, self.token)?;
            actions.push(put_action(Target::Detail, put));
        }
        let counted_keys: BTreeSet<_> = self.plan.counters.keys().chain(members.keys()).collect();
        for of in counted_keys {
            let none = Sums::new();
            let counters = self.plan.counters.get(of).unwrap_or(&none);
            let shards = members.get(of).map_or(&[][..], Vec::as_slice);
            actions.push(self.add_counters(of, cell, counters, shards)?);
            for shard in shards {
                actions.push(self.add_members(shard)?);
            }
        }
        if let Some(period) = self.plan.period {
            for (of, gauges) in &self.plan.gauges {
                actions.push(self.add_gauges(of, period, cell, gauges)?);
            }
        }
        for (from, counters) in &self.plan.departures {
            actions.push(self.add_departure(from, counters)?);
        }
        for dimension in &self.new_names.dimensions {
            actions.push(self.put_dimension(dimension)?);
        }
        Ok(())
    }

    fn write_keys(
        &self,
        cell: &impl Fn(&SpreadSum) -> Cell,
        actions: &mut Transaction,
    ) -> Result<(), BuildError> {
        for of in &self.new_names.keys {
            actions.push(self.put_known_key(of)?);
        }
        for (dimension, count) in self.new_names.keys_by_dimension() {
            let spread = SpreadSum::Keys(dimension.clone());
            let cell = cell(&spread);
            let mut expression = UpdateExpression::default();
            expression.add(KEY_COUNT.to_owned(), number(count));
            let key = ItemKey::key_count(dimension, cell);
            actions.push(self.update(Target::Cell(spread, cell), &key, expression)?);
        }
        Ok(())
    }

    fn put_marker(&self, key: &IdempotencyKey, marker: &Marker) -> Result<Action, BuildError> {
        let mut item = ItemKey::marker(self.id, key).attributes();
        item.extend(encode_marker(marker));
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(item))
            .condition_expression(format!("attribute_not_exists({PARTITION_KEY}) OR #e <= :now"))
            .expression_attribute_names("#e", EXPIRES_AT)
            .expression_attribute_values(":now", number(self.now.0))
            .build()?;
        Ok(put_action(Target::Marker, put))
    }

    fn put_dimension(&self, dimension: &DimensionName) -> Result<Action, BuildError> {
        let mut item: Item = ItemKey::dimension(dimension).attributes();
        item.insert(NAME.to_owned(), text(dimension.as_str()));
        let put = Put::builder().table_name(self.table).set_item(Some(item)).build()?;
        Ok(put_action(Target::Dimension, put))
    }

    fn put_known_key(&self, of: &RollupKey) -> Result<Action, BuildError> {
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(ItemKey::known_key(of).attributes()))
            .condition_expression(format!("attribute_not_exists({PARTITION_KEY})"))
            .build()?;
        Ok(put_action(Target::KnownKey, put))
    }

    fn add_counters(
        &self,
        of: &RollupKey,
        cell: &impl Fn(&SpreadSum) -> Cell,
        counters: &Sums,
        members: &[ShardOfSet],
    ) -> Result<Action, BuildError> {
        let spread = SpreadSum::Rollup(of.clone());
        let cell = cell(&spread);
        let mut expression = UpdateExpression::default();
        let condition = (cell != Cell::FIRST).then(|| self.mark_write(&mut expression));
        for (stat, gain) in counters {
            expression.add(attribute::counter(stat), number(gain));
        }
        let mut new_members: BTreeMap<&StatName, usize> = BTreeMap::new();
        for shard in members {
            *new_members.entry(&shard.set.stat).or_default() += shard.members.len();
        }
        for (stat, count) in new_members {
            expression.add(attribute::member_count(stat), number(count));
        }
        name_if_hashed(&mut expression, of);
        let target = Target::Cell(spread, cell);
        self.update_if(target, &ItemKey::counters(of, cell), expression, condition)
    }

    /// Notes what folding needs to know about a cell other than the first. Returns the condition
    /// that the cell still takes writes.
    fn mark_write(&self, expression: &mut UpdateExpression) -> String {
        expression.add(WRITES.to_owned(), number(1));
        expression.set(WRITTEN_AT, number(self.now.0));
        expression.set_if_absent(INCARNATION, number(self.token.0));
        format!("attribute_not_exists({FROZEN})")
    }

    fn add_gauges(
        &self,
        of: &RollupKey,
        period: Period,
        cell: &impl Fn(&SpreadSum) -> Cell,
        gauges: &Sums,
    ) -> Result<Action, BuildError> {
        let spread = SpreadSum::Rollup(of.clone());
        let cell = cell(&spread);
        let mut expression = UpdateExpression::default();
        for (stat, gain) in gauges {
            expression.add(attribute::gauge(stat), number(gain));
        }
        let expiry = self.period_length.expiry(period);
        expression.set(EXPIRES_AT, number(expiry.0));
        name_if_hashed(&mut expression, of);
        let target = Target::Cell(spread, cell);
        self.update(target, &ItemKey::gauges(of, period, cell), expression)
    }

    fn add_departure(&self, from: &RollupKey, counters: &Sums) -> Result<Action, BuildError> {
        let mut expression = UpdateExpression::default();
        for (stat, left) in counters {
            expression.add(attribute::counter(stat), number(left));
        }
        self.update(Target::Departure, &ItemKey::departure(self.id, from), expression)
    }

    fn add_members(&self, shard: &ShardOfSet) -> Result<Action, BuildError> {
        let mut expression = UpdateExpression::default();
        let members = shard.members.iter().map(|member| member.as_str().to_owned());
        expression.add(MEMBERS.to_owned(), AttributeValue::Ss(members.collect()));

        let placeholders = (0..shard.members.len()).map(|i| format!(":m{i}"));
        let absent: Vec<_> =
            placeholders.clone().map(|m| format!("NOT contains({MEMBERS},{m})")).collect();
        let values = placeholders.zip(shard.members.iter().map(|member| text(member.as_str())));
        let mut all_values: HashMap<_, _> = values.collect();
        all_values.extend(expression.values.drain());
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(ItemKey::members(&shard.set, shard.shard).attributes()))
            .update_expression(expression.text())
            .condition_expression(absent.join(" AND "))
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(all_values))
            .build()?;
        Ok(update_action(Target::Members, update))
    }

    fn update(
        &self,
        target: Target,
        key: &ItemKey,
        expression: UpdateExpression,
    ) -> Result<Action, BuildError> {
        self.update_if(target, key, expression, None)
    }

    fn update_if(
        &self,
        target: Target,
        key: &ItemKey,
        expression: UpdateExpression,
        condition: Option<String>,
    ) -> Result<Action, BuildError> {
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(key.attributes()))
            .update_expression(expression.text())
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .build()?;
        Ok(update_action(target, update))
    }
}

/// Puts a detail, unless it has changed since it was read in this `revision`. The detail remembers
/// the `token` of the update that wrote it.
///
/// After that, no other request for the same revision can succeed, even if it is still on its way.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn put_detail(
    table: &str,
    id: &Id,
    detail: &Detail,
    revision: &Revision,
    token: UpdateToken,
) -> Result<Put, BuildError> {
    let next = revision.after(token);
    let put = Put::builder().table_name(table).set_item(Some(encode_detail(id, detail, &next)));
    let put = match revision.version() {
        None => put.condition_expression(format!("attribute_not_exists({PARTITION_KEY})")),
        Some(version) => put
            .condition_expression("#v = :v")
            .expression_attribute_names("#v", VERSION)
            .expression_attribute_values(":v", version),
    };
    put.build()
}

/// Keeps a key's name in an attribute if the item's key has only the name's hash.
pub(super) fn name_if_hashed(expression: &mut UpdateExpression, of: &RollupKey) {
    let key = of.key.as_str();
    if escape::is_hashed(key) {
        expression.set(NAME, text(key));
    }
}

fn put_action(target: Target, put: Put) -> Action {
    let write = TransactWriteItem::builder().put(put).build();
    Action { target, write }
}

fn update_action(target: Target, update: Update) -> Action {
    let write = TransactWriteItem::builder().update(update).build();
    Action { target, write }
}

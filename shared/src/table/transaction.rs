//! From a part of a plan to a transaction of DynamoDB.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};

use super::{
    attribute::{
        self, EXPIRES_AT, FOLDED, INCARNATION, KEY_COUNT, MEMBERS, NAME, PARTITION_KEY,
        RECENT_UPDATES, VACATED, VERSION, WRITES, WRITTEN_AT,
    },
    escape,
    expression::UpdateExpression,
    item::{Item, Marker, Revision, UpdateToken, encode_detail, encode_marker, number, text},
    key::ItemKey,
    parts::{NewNames, Part, ShardOfSet, Shards},
};
use crate::domain::{
    Cell, CellSums, Detail, DimensionName, Id, IdempotencyKey, JointPlan, PeriodLength, RollupKey,
    SpreadSum, StatName, Sums, UnixSeconds,
};

/// What an action of a transaction writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The detail of the id, unless it has changed since it was read.
    Detail,
    /// The idempotency marker, unless there is one.
    Marker,
    /// A cell of a sum, unless it is being folded, or is the first one and absent.
    Cell(SpreadSum, Cell),
    /// The first cell of a key that is new to its dimension, unless it is there.
    NewKey,
    /// A shard of a set, unless it has one of the members.
    Members,
    /// What the id leaves behind under a key.
    Departure,
    /// The list of dimensions.
    Dimension,
}

impl Target {
    /// The sum whose cell this is; none if there is no other cell to write to.
    #[must_use]
    pub fn sum(&self) -> Option<&SpreadSum> {
        match self {
            Self::Cell(sum, _) => Some(sum),
            _ => None,
        }
    }
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

/// An idempotency marker that an update of an id leaves under its key.
#[derive(Debug, Clone)]
pub struct NewMarker<'a> {
    /// The id.
    pub id: &'a Id,
    /// The key.
    pub key: &'a IdempotencyKey,
    /// What is kept of the update.
    pub marker: Marker,
}

/// What the transactions of updates are made from: of one, or of several that are counted together.
#[derive(Debug)]
pub struct Writing<'a> {
    /// The table.
    pub table: &'a str,
    /// The revisions that the plan was made for, of the details that there are.
    pub revisions: &'a BTreeMap<Id, Revision>,
    /// What the details remember these updates by.
    pub token: UpdateToken,
    /// What to write.
    pub plan: &'a JointPlan,
    /// What there was of the plan's departures when it was made, if it is only good for that. If
    /// not, departures are added to whatever there is.
    pub departures_found: Option<&'a BTreeMap<(Id, RollupKey), Sums>>,
    /// Which of the plan's names are new to the table.
    pub new_names: &'a NewNames,
    /// The markers of the updates that have a key: at most one of each id and key.
    pub markers: &'a [NewMarker<'a>],
    /// How long periods are.
    pub period_length: PeriodLength,
    /// Now.
    pub now: UnixSeconds,
}

impl Writing<'_> {
    /// The details that are replaced, each in the revision that the plan was made for.
    #[must_use]
    pub fn replaced(&self) -> BTreeMap<Id, Revision> {
        let revision = |id| self.revisions.get(id).cloned().unwrap_or_default();
        self.plan.details.keys().map(|id| (id.clone(), revision(id))).collect()
    }

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
            Part::Names => {
                for of in &self.new_names.keys {
                    actions.push(self.put_key(of)?);
                }
                self.write_names(&cell, &mut actions)?;
            }
            Part::Members(of, shards) => {
                let cell = cell(&SpreadSum::Rollup(of.clone()));
                actions.push(self.add_to_rollup(of, cell, &CellSums::default(), shards)?);
                for shard in shards {
                    actions.push(self.add_members(shard)?);
                }
            }
            Part::Numbers { names, members } => {
                self.write_numbers(*names, members, &cell, &mut actions)?;
                if *names {
                    self.write_names(&cell, &mut actions)?;
                }
            }
        }
        Ok(actions)
    }

    fn write_numbers(
        &self,
        names: bool,
        members: &Shards,
        cell: &impl Fn(&SpreadSum) -> Cell,
        actions: &mut Transaction,
    ) -> Result<(), BuildError> {
        for marker in self.markers {
            actions.push(self.put_marker(marker)?);
        }
        let absent = Revision::default();
        for (id, detail) in &self.plan.details {
            let revision = self.revisions.get(id).unwrap_or(&absent);
            let put = put_detail(self.table, id, detail, revision, self.token, self.now)?;
            actions.push(put_action(Target::Detail, put));
        }
        let no_gain = CellSums::default();
        for of in self.rollups(names, members) {
            let gain = self.plan.rollups.get(of).unwrap_or(&no_gain);
            let shards = members.get(of).map_or(&[][..], Vec::as_slice);
            actions.push(match names && self.new_names.keys.contains(of) {
                true => self.add_to_new_rollup(of, gain, shards)?,
                false => {
                    let cell = cell(&SpreadSum::Rollup(of.clone()));
                    self.add_to_rollup(of, cell, gain, shards)?
                }
            });
            for shard in shards {
                actions.push(self.add_members(shard)?);
            }
        }
        for ((id, from), counters) in &self.plan.departures {
            actions.push(self.add_departure(id, from, counters)?);
        }
        Ok(())
    }

    /// Lists the new dimensions, and counts the new keys.
    fn write_names(
        &self,
        cell: &impl Fn(&SpreadSum) -> Cell,
        actions: &mut Transaction,
    ) -> Result<(), BuildError> {
        for dimension in &self.new_names.dimensions {
            actions.push(self.list_dimension(dimension)?);
        }
        for (dimension, count) in self.new_names.keys_by_dimension() {
            let spread = SpreadSum::Keys(dimension.clone());
            let cell = cell(&spread);
            let mut expression = UpdateExpression::default();
            expression.add(KEY_COUNT.to_owned(), number(count));
            let key = ItemKey::key_count(dimension, cell);
            // A dimension may have been deleted that this process knows.
            let is_known = !self.new_names.dimensions.contains(dimension);
            let condition = (is_known && cell == Cell::FIRST).then(exists);
            actions.push(self.update_if(
                Target::Cell(spread, cell),
                &key,
                expression,
                condition,
            )?);
        }
        Ok(())
    }

    fn put_marker(&self, new: &NewMarker<'_>) -> Result<Action, BuildError> {
        let mut item = ItemKey::marker(new.id, new.key).attributes();
        item.extend(encode_marker(&new.marker));
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(item))
            .condition_expression(format!("{} OR #e <= :now", is_absent()))
            .expression_attribute_names("#e", EXPIRES_AT)
            .expression_attribute_values(":now", number(self.now.0))
            .build()?;
        Ok(put_action(Target::Marker, put))
    }

    /// An update, since another process may have listed it, and noted more in the entry.
    fn list_dimension(&self, dimension: &DimensionName) -> Result<Action, BuildError> {
        let mut expression = UpdateExpression::default();
        expression.set(NAME, text(dimension.as_str()));
        self.update(Target::Dimension, &ItemKey::dimension(dimension), expression)
    }

    /// The first cell of a new key, with nothing in it.
    fn put_key(&self, of: &RollupKey) -> Result<Action, BuildError> {
        let mut item = ItemKey::rollup(of, Cell::FIRST).attributes();
        keep_name(&mut item, of);
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(item))
            .condition_expression(is_absent())
            .build()?;
        Ok(put_action(Target::NewKey, put))
    }

    fn add_to_new_rollup(
        &self,
        of: &RollupKey,
        gain: &CellSums,
        members: &[ShardOfSet],
    ) -> Result<Action, BuildError> {
        let expression = added(of, gain, members);
        if expression.is_empty() {
            return self.put_key(of);
        }
        let key = ItemKey::rollup(of, Cell::FIRST);
        self.update_if(Target::NewKey, &key, expression, Some(is_absent()))
    }

    fn add_to_rollup(
        &self,
        of: &RollupKey,
        cell: Cell,
        gain: &CellSums,
        members: &[ShardOfSet],
    ) -> Result<Action, BuildError> {
        let mut expression = added(of, gain, members);
        let condition = match cell == Cell::FIRST {
            // A key may have been deleted that this process knows.
            true => {
                expression.remove_what_fits([VACATED.to_owned()]);
                exists()
            }
            false => self.mark_write(&mut expression),
        };
        expression.remove_what_fits(self.gauges_to_remove(gain));
        let target = Target::Cell(SpreadSum::Rollup(of.clone()), cell);
        self.update_if(target, &ItemKey::rollup(of, cell), expression, Some(condition))
    }

    /// Gauges that a rollup may still have of periods that have expired. To remove what is not
    /// there costs nothing. What stays, of stats that are reported no more, the housekeeping
    /// removes.
    fn gauges_to_remove(&self, gain: &CellSums) -> Vec<String> {
        let stats: BTreeSet<_> = gain.gauges.values().flat_map(Sums::keys).collect();
        let periods = self.period_length.latest_expired(self.now);
        let expired = periods
            .into_iter()
            .flat_map(|period| stats.iter().map(move |stat| attribute::gauge_of(period, stat)));
        expired.collect()
    }

    /// Notes what folding needs to know about a cell other than the first. Returns the condition
    /// that the cell still takes writes.
    fn mark_write(&self, expression: &mut UpdateExpression) -> String {
        expression.add(WRITES.to_owned(), number(1));
        expression.set(WRITTEN_AT, number(self.now.0));
        expression.set_if_absent(INCARNATION, number(self.token.0));
        format!("attribute_not_exists({FOLDED})")
    }

    fn add_departure(
        &self,
        id: &Id,
        from: &RollupKey,
        counters: &Sums,
    ) -> Result<Action, BuildError> {
        let mut expression = UpdateExpression::default();
        let found = self.departures_found.map(|found| found.get(&(id.clone(), from.clone())));
        let mut conditions = Vec::new();
        for (stat, left) in counters {
            let attribute = attribute::counter(stat);
            if let Some(found) = found {
                let found = found.and_then(|found| found.get(stat)).map(number);
                conditions.push(expression.equals(attribute.clone(), found));
            }
            expression.add(attribute, number(left));
        }
        let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
        self.update_if(Target::Departure, &ItemKey::departure(id, from), expression, condition)
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
/// What was sent for the same revision can't happen any more after that, even if it is still on its
/// way.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn put_detail(
    table: &str,
    id: &Id,
    detail: &Detail,
    revision: &Revision,
    token: UpdateToken,
    now: UnixSeconds,
) -> Result<Put, BuildError> {
    let item = encode_detail(id, detail, &revision.after(token), now);
    let (condition, names, values) = is_unchanged(revision);
    Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression(condition)
        .set_expression_attribute_names(names)
        .set_expression_attribute_values(values)
        .build()
}

/// A condition, with the names and the values of its placeholders, if there are any.
pub(super) type Condition =
    (String, Option<HashMap<String, String>>, Option<HashMap<String, AttributeValue>>);

/// The condition that a detail still is in this revision.
///
/// The number of a revision alone does not say so: that of an id that was deleted begins again.
pub(super) fn is_unchanged(revision: &Revision) -> Condition {
    let Some(version) = revision.version() else {
        return (is_absent(), None, None);
    };
    let names = [("#v", VERSION), ("#r", RECENT_UPDATES)];
    let names = names.map(|(placeholder, name)| (placeholder.to_owned(), name.to_owned()));
    let values = [(":v".to_owned(), version), (":r".to_owned(), revision.recent())];
    ("#v = :v AND #r = :r".to_owned(), Some(names.into()), Some(values.into()))
}

/// What adds a gain to a rollup, and the numbers of new members.
fn added(of: &RollupKey, gain: &CellSums, members: &[ShardOfSet]) -> UpdateExpression {
    let mut expression = UpdateExpression::default();
    add_sums(&mut expression, gain);
    let mut new_members: BTreeMap<&StatName, usize> = BTreeMap::new();
    for shard in members {
        *new_members.entry(&shard.set.stat).or_default() += shard.members.len();
    }
    for (stat, count) in new_members {
        expression.add(attribute::member_count(stat), number(count));
    }
    name_if_hashed(&mut expression, of);
    expression
}

/// Adds the sums of a gain.
pub(super) fn add_sums(expression: &mut UpdateExpression, gain: &CellSums) {
    for (stat, gain) in &gain.counters {
        expression.add(attribute::counter(stat), number(gain));
    }
    for (stat, count) in &gain.members {
        expression.add(attribute::member_count(stat), number(count));
    }
    for (period, gauges) in &gain.gauges {
        for (stat, gain) in gauges {
            expression.add(attribute::gauge_of(*period, stat), number(gain));
        }
    }
}

fn is_absent() -> String {
    format!("attribute_not_exists({PARTITION_KEY})")
}

pub(super) fn exists() -> String {
    format!("attribute_exists({PARTITION_KEY})")
}

/// Where the item's key has only the hash of the dimension key, its name is kept beside.
pub(super) fn name_if_hashed(expression: &mut UpdateExpression, of: &RollupKey) {
    let key = of.key.as_str();
    if escape::is_hashed(key) {
        expression.set(NAME, text(key));
    }
}

/// The same in an item that is put whole.
pub(super) fn keep_name(item: &mut Item, of: &RollupKey) {
    let key = of.key.as_str();
    if escape::is_hashed(key) {
        item.insert(NAME.to_owned(), text(key));
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

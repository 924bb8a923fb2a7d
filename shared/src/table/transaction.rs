//! From a plan to transactions of DynamoDB.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};

use super::{
    attribute::{self, EXPIRES_AT, MEMBERS, NAME, PARTITION_KEY, VERSION},
    escape,
    expression::UpdateExpression,
    item::{Item, Marker, Revision, UpdateToken, encode_detail, encode_marker, number, text},
    key::{Cell, ItemKey, Shard},
};
use crate::{
    domain::{
        Detail, DimensionName, Id, IdempotencyKey, Member, Period, PeriodLength, StatName,
        UnixSeconds,
    },
    rollup::{DimensionAndKey, MemberSet, Plan, Sums},
};

/// Most actions of a transaction. Source: *TransactWriteItems*, DynamoDB API Reference.
pub(super) const MAX_ACTIONS: usize = 100;

/// What an action of a transaction writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The detail of the id, unless it has changed since it was read.
    Detail,
    /// The idempotency marker, unless there is one.
    Marker,
    /// A cell of a key's counters and numbers of members.
    Counters(DimensionAndKey, Cell),
    /// A cell of a key's gauges.
    Gauges(DimensionAndKey, Cell),
    /// A shard of a set, unless it has one of the members.
    Members,
    /// What the id leaves behind under a key.
    Departure,
    /// The list of dimensions.
    Dimension,
}

/// An action of a transaction.
#[derive(Debug, Clone)]
pub struct Action {
    /// What it writes to.
    pub target: Target,
    /// What it writes.
    pub write: TransactWriteItem,
}

/// Actions that happen all or none: at most 100, on different items.
pub type Transaction = Vec<Action>;

/// The transactions of a plan, in their order.
#[derive(Debug, Clone, Default)]
pub struct Transactions {
    /// Members beyond what fits into the last transaction, with their numbers. The outer list has one
    /// entry a key: those touch different items, so they may run at once; each one's transactions may
    /// not. To repeat one is harmless.
    pub members: Vec<Vec<Transaction>>,
    /// All the rest. None when there are so many new members of one shard that more of them are left
    /// for another plan, to be made when those above are written.
    pub last: Option<Transaction>,
}

/// All that transactions are made of.
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
    /// Which of the plan's dimensions to add to the list of dimensions.
    pub dimensions: &'a BTreeSet<DimensionName>,
    /// The idempotency marker, if the update has a key.
    pub marker: Option<(&'a IdempotencyKey, Marker)>,
    /// How long periods are.
    pub period_length: PeriodLength,
    /// Now.
    pub now: UnixSeconds,
}

impl Writing<'_> {
    /// The transactions that write the plan; `cell` chooses the cell of each rollup.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn transactions(
        &self,
        cell: impl Fn(&DimensionAndKey) -> Cell,
    ) -> Result<Transactions, BuildError> {
        let (members, all) = shards(&self.plan.members);
        let fixed = self.actions_without_members(&members);
        let shard_count: usize = members.values().map(Vec::len).sum();
        if all && fixed + shard_count <= MAX_ACTIONS {
            return Ok(Transactions {
                members: Vec::new(),
                last: Some(self.last(&members, cell)?),
            });
        }
        let chunked = members.iter().map(|(of, shards)| {
            // One action is for the numbers of members.
            let chunks = shards.chunks(MAX_ACTIONS - 1);
            chunks.map(|chunk| self.members_and_counts(of, chunk, cell(of))).collect()
        });
        let chunked = chunked.collect::<Result<_, _>>()?;
        let last = all.then(|| self.last(&BTreeMap::new(), cell)).transpose()?;
        Ok(Transactions { members: chunked, last })
    }

    /// How many actions the last transaction has, besides the shards of sets, if it has `members` too.
    fn actions_without_members(&self, members: &Shards) -> usize {
        let plan = self.plan;
        let counted_keys: BTreeSet<_> = plan.counters.keys().chain(members.keys()).collect();
        usize::from(plan.detail.is_some())
            + usize::from(self.marker.is_some())
            + counted_keys.len()
            + plan.gauges.len()
            + plan.departures.len()
            + self.dimensions.len()
    }

    fn last(
        &self,
        members: &Shards,
        cell: impl Fn(&DimensionAndKey) -> Cell,
    ) -> Result<Transaction, BuildError> {
        let mut actions = Transaction::new();
        if let Some((key, marker)) = &self.marker {
            actions.push(self.put_marker(key, marker)?);
        }
        if let Some(detail) = &self.plan.detail {
            actions.push(self.put_detail(detail)?);
        }
        let counted_keys: BTreeSet<_> = self.plan.counters.keys().chain(members.keys()).collect();
        for of in counted_keys {
            let none = Sums::new();
            let counters = self.plan.counters.get(of).unwrap_or(&none);
            let shards = members.get(of).map_or(&[][..], Vec::as_slice);
            actions.push(self.add_counters(of, cell(of), counters, shards)?);
            for shard in shards {
                actions.push(self.add_members(shard)?);
            }
        }
        if let Some(period) = self.plan.period {
            for (of, gauges) in &self.plan.gauges {
                actions.push(self.add_gauges(of, period, cell(of), gauges)?);
            }
        }
        for (from, counters) in &self.plan.departures {
            actions.push(self.add_departure(from, counters)?);
        }
        for dimension in self.dimensions {
            actions.push(self.put_dimension(dimension)?);
        }
        Ok(actions)
    }

    fn members_and_counts(
        &self,
        of: &DimensionAndKey,
        shards: &[ShardOfSet],
        cell: Cell,
    ) -> Result<Transaction, BuildError> {
        let mut actions = vec![self.add_counters(of, cell, &Sums::new(), shards)?];
        for shard in shards {
            actions.push(self.add_members(shard)?);
        }
        Ok(actions)
    }

    fn put_detail(&self, detail: &Detail) -> Result<Action, BuildError> {
        let next = self.revision.after(self.token);
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(encode_detail(self.id, detail, &next)));
        let put = match self.revision.version() {
            None => put.condition_expression(format!("attribute_not_exists({PARTITION_KEY})")),
            Some(version) => put
                .condition_expression("#v = :v")
                .expression_attribute_names("#v", VERSION)
                .expression_attribute_values(":v", version),
        };
        Ok(put_action(Target::Detail, put.build()?))
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

    fn add_counters(
        &self,
        of: &DimensionAndKey,
        cell: Cell,
        counters: &Sums,
        members: &[ShardOfSet],
    ) -> Result<Action, BuildError> {
        let mut expression = UpdateExpression::default();
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
        let target = Target::Counters(of.clone(), cell);
        self.update(target, &ItemKey::counters(of, cell), expression)
    }

    fn add_gauges(
        &self,
        of: &DimensionAndKey,
        period: Period,
        cell: Cell,
        gauges: &Sums,
    ) -> Result<Action, BuildError> {
        let mut expression = UpdateExpression::default();
        for (stat, gain) in gauges {
            expression.add(attribute::gauge(stat), number(gain));
        }
        let expiry = self.period_length.expiry(period);
        expression.set(EXPIRES_AT, number(expiry.0));
        name_if_hashed(&mut expression, of);
        let target = Target::Gauges(of.clone(), cell);
        self.update(target, &ItemKey::gauges(of, period, cell), expression)
    }

    fn add_departure(&self, from: &DimensionAndKey, counters: &Sums) -> Result<Action, BuildError> {
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
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(key.attributes()))
            .update_expression(expression.text())
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .build()?;
        Ok(update_action(target, update))
    }
}

/// Members of a set that belong to one of its items.
#[derive(Debug)]
struct ShardOfSet {
    set: MemberSet,
    shard: Shard,
    members: Vec<Member>,
}

type Shards = BTreeMap<DimensionAndKey, Vec<ShardOfSet>>;

/// Most members that one action adds to a shard: keeps the condition below the 4 KB of an expression.
const MAX_MEMBERS_OF_ACTION: usize = 100;

/// The shards that members belong to, and whether that is all of the members.
fn shards(sets: &BTreeMap<MemberSet, BTreeSet<Member>>) -> (Shards, bool) {
    let mut shards = Shards::new();
    let mut all = true;
    for (set, members) in sets {
        let mut by_shard: BTreeMap<Shard, Vec<Member>> = BTreeMap::new();
        for member in members {
            let members = by_shard.entry(Shard::of(member)).or_default();
            if members.len() < MAX_MEMBERS_OF_ACTION {
                members.push(member.clone());
            } else {
                all = false;
            }
        }
        let of_set = by_shard.into_iter().map(|(shard, members)| ShardOfSet {
            set: set.clone(),
            shard,
            members,
        });
        shards.entry(set.of.clone()).or_default().extend(of_set);
    }
    (shards, all)
}

fn name_if_hashed(expression: &mut UpdateExpression, of: &DimensionAndKey) {
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

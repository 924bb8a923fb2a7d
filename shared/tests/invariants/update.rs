//! What holds for updates, whatever the bytes: how they are read, planned and written.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{Put, Update as UpdateItem};
use serde_json::Value;
use shared::{
    domain::{
        Cell, CounterChange, Detail, DimensionKey, DimensionName, Member, PeriodLength, Plan,
        StatName, UnixSeconds, Update, UpdateError, limits,
    },
    table::{Action, Target, Transaction, decode_detail},
};

use super::planned::{ContractModel, PlannedTable, Transactions, items, non_zero};

/// Ends a body, so that an input can have several. UTF-8 never has this byte, so no valid body is
/// cut.
const NEXT: u8 = 0xff;
/// The same, and the next body comes a period later.
const NEXT_IN_NEXT_PERIOD: u8 = 0xfe;
/// The same, and the next body is of the other id.
const NEXT_OF_OTHER_ID: u8 = 0xfd;

const IDS: [&str; 2] = ["i", "j"];
const PERIOD: PeriodLength = PeriodLength::DEFAULT;
const PERIOD_SECONDS: u64 = 360;

/// The longest text of an error, in bytes: two excerpts of 60 characters, and what is wrong with
/// them.
const MAX_ERROR_BYTES: usize = 1_200;
/// The most actions of a transaction. Source: *TransactWriteItems*, DynamoDB API Reference.
const MAX_ACTIONS: usize = 100;
/// The longest expression. Source: *Constraints in Amazon DynamoDB*, DynamoDB Developer Guide.
const MAX_EXPRESSION_BYTES: usize = 4_096;

/// Applies the bodies of an input one after the other to one table. Panics if an invariant does not
/// hold.
pub fn check(input: &[u8]) {
    let (mut table, mut model) = (PlannedTable::default(), ContractModel::default());
    let mut now = PERIOD_SECONDS;
    let [mut id, mut other] = IDS;
    for part in input.split_inclusive(|byte| *byte >= NEXT_OF_OTHER_ID) {
        let (body, end) = match part.split_last() {
            Some((end, body)) if *end >= NEXT_OF_OTHER_ID => (body, *end),
            _ => (part, NEXT),
        };
        if let Some(update) = check_body(body) {
            check_plans((&mut table, &mut model), id, &update, UnixSeconds(now));
        }
        match end {
            NEXT_IN_NEXT_PERIOD => now += PERIOD_SECONDS,
            NEXT_OF_OTHER_ID => std::mem::swap(&mut id, &mut other),
            _ => {}
        }
    }
}

/// The update in a body, if there is one.
fn check_body(body: &[u8]) -> Option<Update> {
    let read = Update::from_json(body);
    assert_eq!(Update::from_json(body), read, "read twice, it differs");
    let update = read.inspect_err(check_error).ok()?;
    assert!(body.len() <= limits::BODY_BYTES);
    check_limits(&update);
    check_names(&update);
    check_content(&update, body);
    Some(update)
}

fn check_error(error: &UpdateError) {
    let text = error.to_string();
    assert!(text.len() <= MAX_ERROR_BYTES, "an error of {} bytes: {text}", text.len());
    assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
}

fn check_limits(update: &Update) {
    let stats = update.counters.len() + update.gauges.len() + update.members.len();
    let members: usize = update.members.values().map(BTreeSet::len).sum();
    assert!(update.dims.len() <= limits::DIMENSIONS);
    assert!(stats <= limits::STATS);
    assert!(members <= limits::MEMBERS);
}

/// Names are valid, and stay the same when they are read from the table.
fn check_names(update: &Update) {
    for (dimension, key) in &update.dims {
        assert_eq!(DimensionName::new(dimension.as_str()).as_ref(), Ok(dimension));
        assert_eq!(DimensionKey::new(key.as_str()).as_ref(), Ok(key));
        for name in [dimension.as_str(), key.as_str()] {
            assert!((1..=1_024).contains(&name.len()) && name.to_lowercase() == name, "{name}");
        }
        assert_ne!(key.as_str(), "total");
    }
    let stats = update.counters.keys().chain(update.gauges.keys()).chain(update.members.keys());
    for stat in stats {
        assert_eq!(StatName::new(stat.as_str()).as_ref(), Ok(stat));
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!((1..=300).contains(&stat.as_str().len()) && stat.as_str().chars().all(word));
    }
    for member in update.members.values().flatten() {
        assert!((1..=1_024).contains(&member.as_str().len()));
    }
}

/// The update is what a common JSON parser reads in the body: nothing is lost, and no stat is in
/// two parts that exclude each other.
fn check_content(update: &Update, body: &[u8]) {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let json: Value = serde_json::from_slice(body).expect("an update is JSON");
    let [dims, counters, increments, gauges, members, multi_members] =
        ["dims", "counters", "increments", "gauges", "members", "multiMembers"]
            .map(|part| entries(&json, part));
    let read_dims = dims.iter().map(|(name, key)| {
        (DimensionName::new(name).unwrap(), DimensionKey::new(text(key)).unwrap())
    });
    assert_eq!(update.dims, read_dims.collect());
    assert_eq!(update.dims.len(), dims.len());

    let mut changes: BTreeMap<StatName, CounterChange> = BTreeMap::new();
    for (name, value) in &counters {
        changes.insert(stat(name), CounterChange::Set(integer(value)));
    }
    for (name, value) in &increments {
        let (stat, more) = (stat(name), integer(value));
        let change = match changes.get(&stat) {
            Some(CounterChange::Set(value)) => CounterChange::SetThenAdd(*value, more),
            _ => CounterChange::Add(more),
        };
        changes.insert(stat, change);
    }
    assert_eq!(update.counters, changes);

    assert_eq!(
        update.gauges,
        gauges.iter().map(|(name, value)| (stat(name), integer(value))).collect()
    );
    assert_eq!(update.gauges.len(), gauges.len());

    let mut sets: BTreeMap<StatName, BTreeSet<Member>> = BTreeMap::new();
    for (name, member) in &members {
        sets.entry(stat(name)).or_default().insert(Member::new(text(member)).unwrap());
    }
    for (name, members) in &multi_members {
        let members = members.as_array().expect("an array").iter();
        let members = members.map(|member| Member::new(text(member)).unwrap());
        sets.entry(stat(name)).or_default().extend(members);
    }
    assert_eq!(update.members, sets);
    assert!(update.gauges.keys().all(|stat| !sets.contains_key(stat)));
}

fn entries<'a>(json: &'a Value, part: &str) -> Vec<(&'a String, &'a Value)> {
    json.get(part).map_or(Vec::new(), |part| part.as_object().expect("an object").iter().collect())
}

fn stat(name: &str) -> StatName {
    StatName::new(name).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// `serde_json` reads `-0`, and nothing else that is an integer, as a float.
fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| {
        assert_eq!(value.as_f64(), Some(0.0), "{value}");
        0
    })
}

fn check_plans(
    (table, model): (&mut PlannedTable, &mut ContractModel),
    id: &'static str,
    update: &Update,
    now: UnixSeconds,
) {
    let before = table.details.get(id).cloned().unwrap_or_default();
    let period = PERIOD.of_update(now, before.gauge_period);
    let plan = table.update(id, update, period);
    assert_eq!(plan.detail, Some(table_detail(table, id)).filter(|after| *after != before));
    assert!(!update.reports_nothing() || plan.is_empty(), "{plan:?}");
    model.update(id, update, period);
    assert_eq!(table.counters, model.counter_rollups, "not what the contract says");
    assert_eq!(table.gauges, model.gauge_rollups, "not what the contract says");
    assert_eq!(non_zero(&table.counters), non_zero(&table.recomputed()));
    for of in plan.rollups.keys() {
        assert!(table.dimensions.contains(&of.dimension));
    }
    check_transactions(&plan, id, now);

    let mut again = table.clone();
    let again =
        again.update(id, update, PERIOD.of_update(now, table_detail(table, id).gauge_period));
    let increments = update.counters.values().any(|change| matches!(change, CounterChange::Add(_)));
    assert!(increments || again.is_empty(), "sent again, it changes {again:?}");
    assert!(again.members.is_empty() && again.dimensions.is_empty() && again.departures.is_empty());
}

fn table_detail(table: &PlannedTable, id: &str) -> Detail {
    table.details.get(id).cloned().unwrap_or_default()
}

fn check_transactions(plan: &Plan, id: &str, now: UnixSeconds) {
    // The cell with the longest expressions.
    let cell = Cell::new(Cell::MOST - 1).unwrap();
    let transactions = Transactions::of(plan, id, true, now, cell);
    for transaction in transactions.iter() {
        check_transaction(transaction);
    }
    let actions = || transactions.iter().flatten();
    let keys = actions().filter(|action| action.target == Target::NewKey);
    assert!(transactions.last.is_none() || keys.count() == plan.keys.len());
    let written = actions().filter(|action| action.target == Target::Members);
    assert_eq!(written.count() > 0, !plan.members.is_empty());
    let detail = actions().filter(|action| action.target == Target::Detail).map(written_detail);
    let detail: Vec<_> = detail.collect();
    match &transactions.last {
        Some(_) => assert_eq!(detail.first(), plan.detail.as_ref(), "as it is stored, it differs"),
        None => assert!(detail.is_empty() && !plan.members.is_empty()),
    }
    assert!(transactions.are_apart(), "what runs at once touches the same item");
}

fn check_transaction(transaction: &Transaction) {
    let items = items(transaction);
    assert!((1..=MAX_ACTIONS).contains(&items.len()), "{} actions", items.len());
    assert_eq!(items.iter().collect::<BTreeSet<_>>().len(), items.len(), "two on one item");
    for action in transaction {
        let condition = action.write.put().and_then(Put::condition_expression);
        let update = action.write.update();
        let expressions = [
            condition,
            update.map(UpdateItem::update_expression),
            update.and_then(UpdateItem::condition_expression),
        ];
        for expression in expressions.into_iter().flatten() {
            let fits = (1..=MAX_EXPRESSION_BYTES).contains(&expression.len());
            assert!(fits, "an expression of {} bytes", expression.len());
        }
    }
}

fn written_detail(action: &Action) -> Detail {
    let put = action.write.put().expect("a detail is put");
    decode_detail(put.item()).unwrap().detail
}

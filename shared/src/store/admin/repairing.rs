//! Repairing: rollups become what ids and sets add up to.
//!
//! What is wrong stays wrong by as much, whatever is reported meanwhile. So a repair adds what is
//! missing, and requires only that no other repair has done so.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::{
    auditing::{AuditFailure, AuditMode, AuditRun, Discrepancy},
    verifying::CountedKeys,
};
use crate::{
    domain::{Cell, DimensionName, Spread, Sum},
    store::{Store, StoreError, failure::Failure, update::Consistency},
    table::{
        EscapedKey, ItemKey, KeyRepair, Number, Stocktaking, UpdateToken, decode_dimension,
        last_repair, list_dimension, repair_key_count,
    },
};

const OVERTAKEN: &str = "another repair was faster; run the audit again";
const NAMELESS: &str = "the name is longer than 255 bytes, and nothing in the table has it";

impl Store {
    /// Reports what is wrong with a key, or repairs it.
    pub(super) async fn settle_key(
        &self,
        of: &EscapedKey,
        is_key: bool,
        last: Option<u64>,
        found: Vec<(Number, Discrepancy)>,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        if run.mode == AuditMode::Report {
            for (_, wrong) in found {
                run.report_wrong(wrong, None);
            }
            return Ok(());
        }
        let (mut is_key, mut last) = (is_key, last);
        for chunk in found.chunks(KeyRepair::MOST_SUMS) {
            let token = self.new_update_token();
            let (table, names) = (&self.settings.table[..], &stock.names);
            let repair = KeyRepair { table, of, names, is_key, last, token };
            let why = self.repair_key(&repair, chunk, run).await?;
            for (number, wrong) in chunk {
                let is_nameless = stat_name(number, stock).is_none();
                match why.or(is_nameless.then_some(NAMELESS)) {
                    None => run.report_repaired(wrong.clone()),
                    why => run.report_wrong(wrong.clone(), why),
                }
            }
            (is_key, last) = (true, Some(token.0));
        }
        Ok(())
    }

    /// Adds what is missing; if that can't be done, why.
    async fn repair_key(
        &self,
        repair: &KeyRepair<'_>,
        found: &[(Number, Discrepancy)],
        run: &mut AuditRun<'_>,
    ) -> Result<Option<&'static str>, AuditFailure> {
        let (mut counters, mut members) = (BTreeMap::new(), BTreeMap::new());
        for (number, wrong) in found {
            let missing = wrong.computed.checked_sub(wrong.stored)?;
            match number {
                Number::Key => {}
                Number::Counter(stat) => drop(counters.insert(stat.clone(), missing)),
                Number::Members(stat) => {
                    members.extend(repair.names.known(stat).map(|stat| (stat, missing)));
                }
            }
        }
        let Some(writes) = repair.writes(&counters, &members).map_err(StoreError::from)? else {
            return Ok(Some(NAMELESS));
        };
        let first_cell = repair.of.first_cell();
        let is_done = self.repair_once(writes, &first_cell, repair.last, repair.token, run).await?;
        Ok((!is_done).then_some(OVERTAKEN))
    }

    /// Carries out a repair, once: whether it was done. It is conditional on the repair before, which
    /// has left its number in the item `marked`.
    async fn repair_once(
        &self,
        writes: Vec<TransactWriteItem>,
        marked: &ItemKey,
        last: Option<u64>,
        token: UpdateToken,
        run: &mut AuditRun<'_>,
    ) -> Result<bool, AuditFailure> {
        let mut backoff = self.backoff(run.deadline());
        loop {
            let transaction = self.transact(writes.clone(), run.deadline());
            let Err(cause) = run.pacer.run(transaction).await? else {
                return Ok(true);
            };
            // Another writer was in the way, an attempt whose answer was lost was ours, or another
            // repair was faster.
            let read = self.get([marked.clone()].into(), Consistency::Strong, run.deadline());
            let found = last_repair(run.pacer.run(read).await?.get(marked));
            if found == Some(token.0) {
                return Ok(true);
            }
            if found != last {
                return Ok(false);
            }
            backoff.wait(Failure::InTheWay, cause).await?;
        }
    }

    /// Reports that readers read too few partitions of a dimension, or has them read those that hold
    /// something.
    pub(super) async fn settle_partitions(
        &self,
        dimension: &str,
        held: u8,
        wrong: Discrepancy,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        if run.mode == AuditMode::Report {
            run.report_wrong(wrong, None);
            return Ok(());
        }
        let name = stock.names.known(dimension).and_then(|name| DimensionName::new(&name).ok());
        let (Some(name), Some(last)) = (name, Cell::new(held.saturating_sub(1))) else {
            run.report_wrong(wrong, Some(NAMELESS));
            return Ok(());
        };
        let entry_write = list_dimension(&self.settings.table, dimension, name.as_str());
        let entry_write = vec![entry_write.map_err(StoreError::from)?];
        let mut backoff = self.backoff(run.deadline());
        loop {
            let listed = self.transact(entry_write.clone(), run.deadline());
            let mut cause = run.pacer.run(listed).await?.err();
            let entry = ItemKey::entry_of(dimension);
            let read = self.get([entry.clone()].into(), Consistency::Strong, run.deadline());
            let item = run.pacer.run(read).await?.remove(&entry);
            let spread =
                item.as_ref().map(decode_dimension).transpose().map_err(StoreError::from)?;
            let spread = spread.map_or(Spread::ONE, |entry| entry.spread);
            if item.is_some() && spread.cells >= held {
                run.report_repaired(wrong);
                return Ok(());
            }
            let wider = spread.widened_to(last).unwrap_or(Spread { narrowing: None, ..spread });
            let change = self.change_spread(&name, spread, wider, run.deadline());
            if !run.pacer.run(change).await? {
                cause = cause.or(Some("the spread has changed".into()));
            }
            if let Some(cause) = cause {
                backoff.wait(Failure::InTheWay, cause).await?;
            }
        }
    }

    /// Reports that a dimension counts too many keys or too few, or makes the number right.
    pub(super) async fn settle_key_count(
        &self,
        dimension: &str,
        counted: &CountedKeys,
        wrong: Discrepancy,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        if run.mode == AuditMode::Report {
            run.report_wrong(wrong, None);
            return Ok(());
        }
        let (token, last) = (self.new_update_token(), counted.last_repair);
        let missing: Sum = wrong.computed.checked_sub(wrong.stored)?;
        let table = &self.settings.table;
        let writes = repair_key_count(table, dimension, &counted.cells, missing, last, token);
        let writes = writes.map_err(StoreError::from)?;
        let first = ItemKey::key_count_of(dimension, Cell::FIRST);
        match self.repair_once(writes, &first, last, token, run).await? {
            true => run.report_repaired(wrong),
            false => run.report_wrong(wrong, Some(OVERTAKEN)),
        }
        Ok(())
    }
}

/// The name of a number's stat, if it is known. A key has none to know.
fn stat_name(number: &Number, stock: &Stocktaking) -> Option<String> {
    match number {
        Number::Key => Some(String::new()),
        Number::Counter(stat) => Some(stat.clone()),
        Number::Members(stat) => stock.names.known(stat),
    }
}

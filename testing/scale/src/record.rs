//! The figures that docs/scale.md is written from.

use std::time::Duration;

use contract::fleet_costs::{Costs, HOURS, Load, of_load};
use serde::{Deserialize, Serialize};

use crate::{figures::Figures, runs::Fleet};

/// Everything that was simulated.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Fleets within the template's defaults.
    pub template: Vec<Row>,
    /// Fleets within the quotas of a new account.
    pub new_account: Vec<Row>,
    /// Fleets with raised quotas.
    pub raised: Vec<Row>,
    /// The same, all clients under one key.
    pub one_key: Vec<Row>,
    /// The same as `raised`, in batches of 100.
    pub batches: Vec<Row>,
    /// Fleets that report for the first time, on a new table.
    pub start: Vec<Row>,
    /// What moves the figures of one fleet.
    pub moves: Vec<Row>,
    /// … and of one under one key.
    pub one_key_moves: Vec<Row>,
    /// How many clients each limit bears.
    pub borne: Vec<Borne>,
    /// What the real code was measured under.
    pub contention: Vec<ContentionRow>,
}

/// What was found of a fleet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What is special about it.
    pub what: String,
    /// How many clients there are.
    pub clients: f64,
    /// What was found.
    pub figures: Figures,
    /// What it costs.
    pub costs: Dollars,
}

/// Dollars a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Dollars {
    /// Units and what is stored.
    pub dynamodb: f64,
    /// Requests.
    pub api: f64,
    /// Requests, and memory while they last.
    pub lambda: f64,
    /// Of the API and the function.
    pub logs: f64,
    /// All of these, answers, alarms and metrics.
    pub together: f64,
}

/// The number of clients that a limit bears.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Borne {
    /// Under which limits, with which keys.
    pub what: String,
    /// With so many clients, at most 1 % of the updates are refused.
    pub clients: f64,
    /// What refuses most of them, with some more.
    pub refused_by: String,
}

/// What was found of the writers that the real code is measured by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ContentionRow {
    /// Keys that are written to.
    pub keys: usize,
    /// The most cells of a sum.
    pub max_cells: u8,
    /// What a partition takes, as a part of what DynamoDB's take.
    #[serde(default)]
    pub part: f64,
    /// What was found.
    pub figures: Figures,
}

impl Row {
    /// A row of a fleet. Costs are those of a month of such seconds.
    #[must_use]
    pub fn new(what: &str, fleet: &Fleet, figures: Figures) -> Self {
        let month = Duration::from_secs(3_600).as_secs_f64() * HOURS;
        let costs = of_load(Load {
            clients: fleet.clients,
            write_units: figures.write_units * month,
            read_units: figures.read_units * month,
            calls: figures.calls * month,
            billed: figures.billed * month,
        });
        Self { what: what.to_owned(), clients: fleet.clients, costs: Dollars::of(&costs), figures }
    }

    /// The same without its course, which most pages don't show.
    #[must_use]
    pub fn without_course(mut self) -> Self {
        self.figures.course = Vec::new();
        self
    }
}

impl Dollars {
    fn of(costs: &Costs) -> Self {
        Self {
            dynamodb: costs.dynamodb,
            api: costs.api,
            lambda: costs.lambda,
            logs: costs.logs,
            together: costs.together(),
        }
    }
}

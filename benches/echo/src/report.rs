//! The table and the JSON.

use crate::{
    cases::{Bound, Case, Goal, Subject},
    run::Series,
    sample::{Figure, Median},
};
use bench_echo::peer::Peer;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// All that was measured.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    case: &'static Case,
    result: Result<Vec<Series>, String>,
}

const SAMPAN: Subject = Subject::Peer(Peer::Sampan);
const TONIC: Subject = Subject::Peer(Peer::Tonic);
const AGAIN: Subject = Subject::Peer(Peer::TonicAgain);

// === impl Report ===

impl Report {
    /// Keeps and prints what the subjects of a case gave.
    pub(crate) fn add(&mut self, case: &'static Case, result: Result<Vec<Series>, String>) {
        let row = Row { case, result };
        row.print_subjects();
        self.rows.push(row);
    }

    /// Prints the table: what was to be reached and what was.
    pub(crate) fn print(&self) {
        println!(
            "\n{:<16}{:<15}{:>9}{:>9}{:>9}   {:<27}{:<42}{:<8}noise",
            "case", "figure", "raw", "tonic", "sampan", "ratio [95 %]", "goal", "met"
        );
        for row in &self.rows {
            row.print_goals();
        }
        println!(
            "\nmedians over the blocks; ratios are made block by block, with the interval of their \
             median; noise: tonic against tonic"
        );
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        format!("{:#}\n", json!({ "cases": rows }))
    }
}

// === impl Row ===

impl Row {
    fn series(&self, subject: Subject) -> Option<&Series> {
        let all = self.result.as_ref().ok()?;
        all.iter().find(|series| series.subject == subject)
    }

    fn print_subjects(&self) {
        println!("\n{}: {}", self.case.name, self.case.about);
        let all = match &self.result {
            Ok(all) => all,
            Err(problem) => {
                println!("  not measured: {problem}");
                return;
            }
        };
        let samples = all.iter().flat_map(|series| &series.samples);
        let figures: BTreeSet<Figure> = samples.flat_map(|sample| sample.keys().copied()).collect();
        print!("  {:<22}", "");
        for figure in &figures {
            print!("{:>16}", figure.title());
        }
        println!();
        for series in all {
            print!("  {:<22}", series.subject);
            for figure in &figures {
                print!(
                    "{:>16}",
                    series.median(*figure).map_or_else(String::new, short)
                );
            }
            println!();
        }
    }

    fn print_goals(&self) {
        let without_goal = [Goal {
            figure: self.case.shows,
            subject: SAMPAN,
            bound: Bound::Times(TONIC),
            aim: None,
        }];
        let goals = match self.case.goals {
            [] => &without_goal[..],
            goals => goals,
        };
        for (index, goal) in goals.iter().enumerate() {
            let name = if index == 0 { self.case.name } else { "" };
            let cell = |subject| {
                let series = self.series(subject);
                let median = series.and_then(|series| series.median(goal.figure));
                median.map_or_else(|| "–".to_owned(), short)
            };
            let result = self.result_of(goal);
            let ratio = match (goal.bound.against(), result) {
                (Some(_), Some(result)) => format!(
                    "{:.3} [{:.3} to {:.3}]",
                    result.value, result.low, result.high
                ),
                _ => "–".to_owned(),
            };
            let noise = self.ratio(goal.figure, AGAIN, TONIC);
            println!(
                "{name:<16}{:<15}{:>9}{:>9}{:>9}   {ratio:<27}{:<42}{:<8}{}",
                goal.figure.title(),
                cell(Subject::Raw),
                cell(TONIC),
                cell(goal.subject),
                goal_words(goal),
                self.verdict(goal, result),
                noise.map_or_else(String::new, |noise| format!(
                    "{:+.1} %",
                    (noise.value - 1.0) * 100.0
                )),
            );
        }
    }

    fn verdict(&self, goal: &Goal, result: Option<Median>) -> &'static str {
        match result.map(|result| goal.bound.is_met(result.value)) {
            Some(Some(true)) => "yes",
            Some(Some(false)) => "NO",
            Some(None) => "",
            None => "not run",
        }
    }

    /// The value that the bound is about.
    fn result_of(&self, goal: &Goal) -> Option<Median> {
        match goal.bound.against() {
            Some(against) => self.ratio(goal.figure, goal.subject, against),
            None => self.series(goal.subject)?.median_of(goal.figure),
        }
    }

    /// The median of the ratios of each block.
    fn ratio(&self, figure: Figure, subject: Subject, against: Subject) -> Option<Median> {
        let (own, other) = (self.series(subject)?, self.series(against)?);
        let pairs = own.samples.iter().zip(&other.samples);
        let ratios = pairs.filter_map(|(own, other)| Some(own.get(&figure)? / other.get(&figure)?));
        Median::of(ratios)
    }

    fn json(&self) -> Value {
        let mut row = json!({ "case": self.case.name, "about": self.case.about });
        let all = match &self.result {
            Ok(all) => all,
            Err(problem) => {
                row["not_measured"] = json!(problem);
                return row;
            }
        };
        let subjects = all.iter().map(|series| {
            let mut subject = json!({ "subject": series.subject.to_string() });
            let figures: BTreeSet<_> = series.samples.iter().flat_map(|s| s.keys()).collect();
            for figure in figures {
                subject[figure.key()] = json!(series.median(*figure));
            }
            subject["blocks"] = json!(series.samples.len());
            subject
        });
        row["subjects"] = subjects.collect();
        let goals = self.case.goals.iter().map(|goal| {
            let result = self.result_of(goal);
            json!({
                "figure": goal.figure.key(),
                "subject": goal.subject.to_string(),
                "goal": goal.bound.to_string(),
                "aim": goal.aim,
                "value": result.map(|r| r.value),
                "low": result.map(|r| r.low),
                "high": result.map(|r| r.high),
                "is_met": result.and_then(|r| goal.bound.is_met(r.value)),
            })
        });
        row["goals"] = goals.collect();
        let noise = self.ratio(self.case.shows, AGAIN, TONIC);
        row["tonic_against_tonic"] = json!(noise.map(|noise| noise.value));
        row
    }
}

// === impl Series ===

impl Series {
    fn median_of(&self, figure: Figure) -> Option<Median> {
        Median::of(self.samples.iter().filter_map(|s| s.get(&figure).copied()))
    }

    fn median(&self, figure: Figure) -> Option<f64> {
        self.median_of(figure).map(|median| median.value)
    }
}

fn goal_words(goal: &Goal) -> String {
    let mut words = goal.bound.to_string();
    if let Some(aim) = goal.aim {
        words.push_str(&format!(", aim {aim:.2}"));
    }
    if goal.subject != SAMPAN {
        words = format!("{}: {words}", goal.subject);
    }
    words
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1} k", value / 1e3)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

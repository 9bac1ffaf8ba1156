//! Medians over the blocks, and ratios made block by block.

use crate::subject::{Load, Turn};
use serde_json::json;
use std::time::Duration;

const PEER: &str = "tonic";

#[derive(Default)]
pub(crate) struct Report {
    raw: Vec<Duration>,
    rows: Vec<Row>,
}

struct Row {
    subject: &'static str,
    load: Load,
    turns: Vec<Turn>,
}

/// What one figure of a turn is.
type Figure = fn(&Turn) -> f64;

const P50: Figure = |turn| micros(turn.p50);
const RATE: Figure = |turn| turn.calls_per_second;
const CPU: Figure = |turn| micros(turn.client_cpu + turn.server_cpu);

// === impl Report ===

impl Report {
    pub(crate) fn raw(&mut self, p50: Duration) {
        self.raw.push(p50);
    }

    pub(crate) fn add(&mut self, subject: &'static str, load: Load, turn: Turn) {
        match self
            .rows
            .iter_mut()
            .find(|row| row.subject == subject && row.load == load)
        {
            Some(row) => row.turns.push(turn),
            None => self.rows.push(Row {
                subject,
                load,
                turns: vec![turn],
            }),
        }
    }

    pub(crate) fn print(&self) {
        println!(
            "raw ping-pong, 32 B: p50 {:.1} µs",
            median(self.raw.iter().map(|p| micros(*p)))
        );
        println!(
            "{:<13}{:>10}{:>10}{:>9}{:>11}{:>15}{:>15}{:>9}{:>9}{:>9}",
            "unary 32 B",
            "in flight",
            "p50 µs",
            "× raw",
            "calls/s",
            "client CPU µs",
            "server CPU µs",
            "p50 ×",
            "rate ×",
            "CPU ×",
        );
        for row in &self.rows {
            println!(
                "{:<13}{:>10}{:>10.1}{:>9.2}{:>11.0}{:>15.2}{:>15.2}{:>9.2}{:>9.2}{:>9.2}",
                row.subject,
                row.load.in_flight,
                row.median(P50),
                median(
                    row.turns
                        .iter()
                        .zip(&self.raw)
                        .map(|(t, raw)| P50(t) / micros(*raw))
                ),
                row.median(RATE),
                row.median(|turn| micros(turn.client_cpu)),
                row.median(|turn| micros(turn.server_cpu)),
                self.ratio(row, P50),
                self.ratio(row, RATE),
                self.ratio(row, CPU),
            );
        }
        println!("×: this row against {PEER}'s, median of the ratios of each block");
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "subject": row.subject,
                    "in_flight": row.load.in_flight,
                    "p50_micros": row.median(P50),
                    "calls_per_second": row.median(RATE),
                    "cpu_micros_per_call": row.median(CPU),
                    "p50_ratio": self.ratio(row, P50),
                    "rate_ratio": self.ratio(row, RATE),
                    "cpu_ratio": self.ratio(row, CPU),
                })
            })
            .collect();
        let raw = median(self.raw.iter().map(|p| micros(*p)));
        let report = json!({ "raw_p50_micros": raw, "blocks": self.raw.len(), "rows": rows });
        format!("{report:#}\n")
    }

    /// This row's figure against the peer's under the same load.
    fn ratio(&self, row: &Row, figure: Figure) -> f64 {
        let peer = self
            .rows
            .iter()
            .find(|peer| peer.subject == PEER && peer.load == row.load);
        let peer = peer.expect("the peer runs under every load");
        median(
            row.turns
                .iter()
                .zip(&peer.turns)
                .map(|(own, peer)| figure(own) / figure(peer)),
        )
    }
}

// === impl Row ===

impl Row {
    fn median(&self, figure: Figure) -> f64 {
        median(self.turns.iter().map(figure))
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

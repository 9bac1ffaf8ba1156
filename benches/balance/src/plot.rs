//! The picture of a run.

use crate::{Cell, policies, published::Ramp, scenarios, tally::Tally};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const COLOURS: [&str; 8] = [
    "#9aa5b1", "#c2782e", "#1769aa", "#8ec1ea", "#2e8b57", "#7a3fa0", "#b8860b", "#c0334d",
];
const LEFT: f64 = 230.0;
const RIGHT: f64 = 40.0;
const BAND: f64 = 66.0;
const TOP: f64 = 70.0;

/// 99 of a hundred calls over ten replicas at 80 %, and over load beside antagonists.
pub(crate) fn draw(rows: &[(Cell, Tally)], ramps: &[Ramp]) -> String {
    let mut svg = Svg::default();
    let mut y = TOP;
    svg.text(
        20.0,
        30.0,
        "title",
        "99 of 100 calls take less: 10 replicas, 100 clients, load 80 %",
    );
    for (place, contender) in policies::ALL.iter().enumerate() {
        let x = 20.0 + 215.0 * (place % 4) as f64;
        let row = 52.0 + 18.0 * (place / 4) as f64;
        svg.dot(x, row - 4.0, COLOURS[place]);
        let name = if contender.ejects() {
            contender.name().to_owned()
        } else {
            "least_request without ejection".to_owned()
        };
        svg.text(x + 10.0, row, "small", &name);
    }
    y += 30.0;
    let bottom = y + BAND * scenarios::ALL.len() as f64;
    for millis in [100.0, 200.0, 500.0, 1000.0] {
        let x = across(millis);
        svg.line((x, y - 8.0), (x, bottom - 10.0), "#dde2e8", 1.0);
        svg.text(x - 14.0, bottom + 6.0, "small", &format!("{millis} ms"));
    }
    for scenario in scenarios::ALL {
        svg.text(20.0, y + 24.0, "label", scenario.name());
        let is_it = |cell: &Cell| {
            cell.scenario == scenario
                && (cell.replicas, cell.clients) == (10, 100)
                && (cell.load - 0.8).abs() < 1e-9
        };
        for (cell, tally) in rows.iter().filter(|(cell, _)| is_it(cell)) {
            let place = policies::ALL.iter().position(|one| *one == cell.contender);
            let place = place.unwrap_or(0);
            let at = (across(tally.quantile_ms(0.99)), y + 6.0 * place as f64);
            svg.dot(at.0, at.1, COLOURS[place]);
            let failed = tally.failed_percent();
            if failed >= 3.0 {
                svg.text(
                    at.0 + 8.0,
                    at.1 + 4.0,
                    "small",
                    &format!("{failed:.0} % fail"),
                );
            }
        }
        y += BAND;
    }
    let height = ramp(&mut svg, ramps, bottom + 60.0);
    svg.finish(height)
}

/// Draws from `top` on and gives where it ends.
fn ramp(svg: &mut Svg, ramps: &[Ramp], top: f64) -> f64 {
    let title = "99 of 100 calls take less, by load of what replicas were granted; at 1000 ms calls time out";
    svg.text(20.0, top, "title", title);
    let (top, bottom) = (top + 30.0, top + 230.0);
    let loads: Vec<f64> = ramps
        .iter()
        .flat_map(|ramp| ramp.points.iter().map(|point| point.0))
        .collect();
    let least = loads.iter().copied().fold(f64::MAX, f64::min);
    let most = loads.iter().copied().fold(f64::MIN, f64::max);
    let x = |load: f64| 80.0 + (load - least) / (most - least) * (WIDTH - 300.0);
    let y =
        |millis: f64| bottom - (millis.min(1000.0) / 40.0).ln() / 25.0_f64.ln() * (bottom - top);
    for millis in [50.0, 100.0, 200.0, 500.0, 1000.0] {
        svg.line((80.0, y(millis)), (x(most), y(millis)), "#dde2e8", 1.0);
        svg.text(20.0, y(millis) + 4.0, "small", &format!("{millis} ms"));
    }
    if let Some(first) = ramps.first() {
        for (load, _) in &first.points {
            // These two stand too near to each other for two numbers.
            if (*load - 1.03).abs() > 1e-9 {
                svg.text(
                    x(*load) - 12.0,
                    bottom + 18.0,
                    "small",
                    &format!("{load:.2}"),
                );
            }
        }
    }
    for (number, ramp) in ramps.iter().enumerate() {
        let place = policies::ALL.iter().position(|one| one.name() == ramp.name);
        let colour = COLOURS[place.unwrap_or(0)];
        let at = |point: &(f64, Tally)| (x(point.0), y(point.1.quantile_ms(0.99)));
        for two in ramp.points.windows(2) {
            svg.line(at(&two[0]), at(&two[1]), colour, 2.0);
        }
        if let Some(last) = ramp.points.last() {
            let end = at(last);
            // The first is the worst, and others come near to it.
            let down = if number == 0 { -6.0 } else { 6.0 };
            svg.text(end.0 + 8.0, end.1 + down, "small", ramp.name);
        }
    }
    bottom + 40.0
}

/// On a scale where ten times as long is as far as ten times as long anywhere.
fn across(millis: f64) -> f64 {
    let (least, most) = (80.0_f64, 1100.0_f64);
    let part = (millis.max(least) / least).ln() / (most / least).ln();
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

#[derive(Default)]
struct Svg {
    body: String,
}

// === impl Svg ===

impl Svg {
    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#
        );
    }

    fn dot(&mut self, x: f64, y: f64, colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    fn finish(self, height: f64) -> String {
        let Self { body } = self;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">
<style>text {{ font-family: sans-serif; fill: #243b53 }} .title {{ font-size: 17px; font-weight: bold }} .label {{ font-size: 14px }} .small {{ font-size: 12px }}</style>
<rect width="100%" height="100%" fill="#ffffff"/>
{body}</svg>
"##
        )
    }
}

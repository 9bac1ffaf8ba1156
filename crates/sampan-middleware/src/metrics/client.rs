//! Counts a program's calls of others: by target, method and status, with all attempts.
//!
//! All channels to one target count together, and what was counted stays for as long as the
//! process lives: series that come and go tell nothing. So both targets and methods are capped,
//! and what is beyond counts as `other`. A method counts under its name where generated code, or
//! the channel's settings, name it. Source: gRFC A66, A78, A91, A94, A96.

mod cache;
mod encode;
mod methods;
mod series;
mod upkeep;

pub use cache::CacheSeries;
pub(super) use series::SeriesTotals;
pub use series::{MethodSeries, Repeats};
pub use upkeep::{Ejection, OpenConnection, Upkeep, WeightUpdate};

use methods::Methods;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry};
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// What is counted of all channels to one target.
#[derive(Debug)]
pub struct ClientMetrics {
    target: Box<str>,
    /// The methods that it is called by.
    pub methods: Methods,
    /// What happens beside calls.
    pub upkeep: Upkeep,
    /// The answers that are kept.
    pub cache: CacheSeries,
}

/// All targets of the process.
#[derive(Debug)]
struct AllTargets;

/// One target alone.
#[derive(Debug)]
struct OneTarget(&'static ClientMetrics);

static TARGETS: Mutex<Vec<&'static ClientMetrics>> = Mutex::new(Vec::new());

/// Programs that dial more have made their names up.
const MOST_TARGETS: usize = 256;
const OTHER: &str = "other";

// === impl ClientMetrics ===

impl ClientMetrics {
    /// Those of this target.
    #[must_use]
    pub fn of(target: &str) -> &'static Self {
        let mut targets = TARGETS.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |name: &str| targets.iter().find(|known| &*known.target == name).copied();
        if let Some(known) = find(target) {
            return known;
        }
        let target = if targets.len() < MOST_TARGETS {
            target
        } else if let Some(other) = find(OTHER) {
            return other;
        } else {
            OTHER
        };
        let new: &'static Self = Box::leak(Box::new(Self::new(target)));
        targets.push(new);
        new
    }

    fn new(target: &str) -> Self {
        Self {
            target: target.into(),
            methods: Methods::new(),
            upkeep: Upkeep::default(),
            cache: CacheSeries::default(),
        }
    }

    /// What was counted, as OpenMetrics has it.
    #[must_use]
    pub fn text(&'static self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(OneTarget(self)));
        text(&registry)
    }
}

/// Adds the series of all targets, those that come later too, to `registry`.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(AllTargets));
}

/// What was counted of all targets, as OpenMetrics has it.
#[must_use]
pub fn all_text() -> String {
    let mut registry = Registry::default();
    register(&mut registry);
    text(&registry)
}

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => text,
        // A text takes all that is written to it.
        Err(fmt::Error) => String::new(),
    }
}

// === impl collectors ===

impl Collector for AllTargets {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let targets = TARGETS.lock().unwrap_or_else(PoisonError::into_inner);
        let targets = targets.clone();
        encode::encode(encoder, &targets)
    }
}

impl Collector for OneTarget {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode::encode(encoder, &[self.0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_wire::Code;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(
                text.lines().any(|one| one == *line),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[test]
    fn attempts_and_calls_are_counted_apart_and_a_call_of_one_attempt_as_both() {
        let metrics = ClientMetrics::of("dns:///counted-apart:1");
        let get = metrics.methods.named("/a.B/Get");
        get.start();
        get.whole(2 * MS, 100, 2000);
        get.start();
        get.attempt(Code::Unavailable, MS, 100, 0);
        get.start();
        get.attempt(Code::Ok, MS, 100, 5);
        get.call(Code::Ok, 4 * MS);
        get.repeat(&Repeats {
            retries: 1,
            retry_delay: 2 * MS,
            ..Repeats::default()
        });
        let labels = r#"grpc_method="a.B/Get",grpc_target="dns:///counted-apart:1""#;
        let line =
            |name: &str, more: &str, value: &str| format!("{name}{{{labels}{more}}} {value}");
        let ok = r#",grpc_status="OK""#;
        let lines = [
            line("grpc_client_attempt_started_total", "", "3"),
            line("grpc_client_attempt_duration_seconds_count", ok, "2"),
            line("grpc_client_attempt_duration_seconds_sum", ok, "0.003"),
            line(
                "grpc_client_attempt_duration_seconds_count",
                r#",grpc_status="UNAVAILABLE""#,
                "1",
            ),
            line("grpc_client_call_duration_seconds_count", ok, "2"),
            line("grpc_client_call_duration_seconds_sum", ok, "0.006"),
            line(
                "grpc_client_attempt_sent_total_compressed_message_size_bytes_sum",
                ok,
                "200.0",
            ),
            line(
                "grpc_client_attempt_rcvd_total_compressed_message_size_bytes_sum",
                ok,
                "2005.0",
            ),
            line("grpc_client_call_retries_count", "", "1"),
            line("grpc_client_call_retry_delay_seconds_sum", "", "0.002"),
        ];
        has(&metrics.text(), &lines.each_ref().map(String::as_str));
        has(&all_text(), &lines.each_ref().map(String::as_str));
        let text = metrics.text();
        assert!(!text.contains("grpc_client_call_hedges{"), "none were made");
        assert!(text.contains(r#"le="0.00001""#));
    }

    #[test]
    fn channels_to_one_target_count_together_and_methods_beyond_the_cap_as_other() {
        let metrics = ClientMetrics::of("dns:///many-methods:1");
        assert!(std::ptr::eq(
            metrics,
            ClientMetrics::of("dns:///many-methods:1")
        ));
        for n in 0..3000 {
            metrics.methods.named(&format!("/a.B/M{n}")).start();
        }
        let text = metrics.text();
        let count = text.matches("grpc_client_attempt_started_total{").count();
        assert_eq!(count, 2000);
        has(
            &text,
            &[
                r#"grpc_client_attempt_started_total{grpc_method="other",grpc_target="dns:///many-methods:1"} 1001"#,
            ],
        );
    }

    #[test]
    fn connections_are_open_until_they_are_let_go_of() {
        let metrics = ClientMetrics::of("dns:///connections:1");
        metrics.upkeep.connect_failed();
        let open = metrics.upkeep.connected();
        let second = metrics.upkeep.connected();
        drop(open);
        let target = r#"{grpc_target="dns:///connections:1"}"#;
        has(
            &metrics.text(),
            &[
                &format!("grpc_subchannel_connection_attempts_succeeded_total{target} 2"),
                &format!("grpc_subchannel_connection_attempts_failed_total{target} 1"),
                &format!("grpc_subchannel_disconnections_total{target} 1"),
                &format!("grpc_subchannel_open_connections{target} 1"),
            ],
        );
        drop(second);
    }

    #[test]
    fn threads_count_the_same_series() {
        let metrics = ClientMetrics::of("dns:///threads:1");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        metrics.methods.named("/a.B/Get").start();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        has(
            &metrics.text(),
            &[
                r#"grpc_client_attempt_started_total{grpc_method="a.B/Get",grpc_target="dns:///threads:1"} 8000"#,
            ],
        );
    }
}

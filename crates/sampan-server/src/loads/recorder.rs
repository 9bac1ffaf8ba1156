//! What handlers, and the rest of a program, tell of its load.

use sampan_wire::orca::LoadReport;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Takes down what one call costs, and what its handler knows of the server's load; it leaves in
/// the call's trailers.
///
/// Found in the extensions of a request when the server tells its load
/// ([`RequestExt::call_metrics`](crate::RequestExt::call_metrics)). Clones record for the same
/// call. What is recorded twice is told as it was last; what makes no sense (below 0, no number,
/// over 1 where a part of a whole is meant) is not taken down. Source: gRFC A51.
#[derive(Clone, Debug, Default)]
pub struct CallMetricsRecorder(Arc<Mutex<LoadReport>>);

/// Takes down what a program knows of its load, beyond what the server measures; told with every
/// call and beside calls until it is changed or taken back.
///
/// Clones record for the same server. What makes no sense is not taken down, as with
/// [`CallMetricsRecorder`]. Source: gRFC A51.
#[derive(Clone, Debug, Default)]
pub struct ServerMetricsRecorder(Arc<Mutex<LoadReport>>);

fn change<R>(report: &Mutex<LoadReport>, change: impl FnOnce(&mut LoadReport) -> R) -> R {
    // No code that can panic runs under it.
    change(&mut report.lock().unwrap_or_else(PoisonError::into_inner))
}

fn is_load(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn is_part(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

// === impl CallMetricsRecorder ===

impl CallMetricsRecorder {
    /// How much of the granted processor time is used; may be over 1.
    pub fn record_cpu_utilization(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.cpu_utilization = value);
        }
    }

    /// How much of the granted memory is used, from 0 to 1.
    pub fn record_memory_utilization(&self, value: f64) {
        if is_part(value) {
            change(&self.0, |report| report.memory_utilization = value);
        }
    }

    /// How busy the application is as it sees it; may be over 1. Weighs before the processor.
    pub fn record_application_utilization(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.application_utilization = value);
        }
    }

    /// Calls each second.
    pub fn record_qps(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.calls_per_second = value);
        }
    }

    /// Failed calls each second.
    pub fn record_eps(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.errors_per_second = value);
        }
    }

    /// How much of another resource is used, from 0 to 1.
    pub fn record_utilization(&self, name: impl Into<String>, value: f64) {
        if is_part(value) {
            change(&self.0, |report| {
                report.utilization.insert(name.into(), value)
            });
        }
    }

    /// What the call cost, in whatever unit the name stands for.
    pub fn record_request_cost(&self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            change(&self.0, |report| {
                report.request_cost.insert(name.into(), value)
            });
        }
    }

    /// Anything else that balancers may want to know.
    pub fn record_named(&self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            change(&self.0, |report| report.named.insert(name.into(), value));
        }
    }

    pub(super) fn report(&self) -> LoadReport {
        change(&self.0, |report| report.clone())
    }
}

// === impl ServerMetricsRecorder ===

impl ServerMetricsRecorder {
    /// How much of the granted processor time is used; may be over 1. Goes before what the server
    /// measures.
    pub fn set_cpu_utilization(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.cpu_utilization = value);
        }
    }

    /// Takes it back.
    pub fn delete_cpu_utilization(&self) {
        change(&self.0, |report| report.cpu_utilization = 0.0);
    }

    /// How much of the granted memory is used, from 0 to 1. Goes before what the server measures.
    pub fn set_memory_utilization(&self, value: f64) {
        if is_part(value) {
            change(&self.0, |report| report.memory_utilization = value);
        }
    }

    /// Takes it back.
    pub fn delete_memory_utilization(&self) {
        change(&self.0, |report| report.memory_utilization = 0.0);
    }

    /// How busy the application is as it sees it; may be over 1. Weighs before the processor.
    pub fn set_application_utilization(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.application_utilization = value);
        }
    }

    /// Takes it back.
    pub fn delete_application_utilization(&self) {
        change(&self.0, |report| report.application_utilization = 0.0);
    }

    /// Calls each second. Goes before what the server measures.
    pub fn set_qps(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.calls_per_second = value);
        }
    }

    /// Takes it back.
    pub fn delete_qps(&self) {
        change(&self.0, |report| report.calls_per_second = 0.0);
    }

    /// Failed calls each second. Goes before what the server measures.
    pub fn set_eps(&self, value: f64) {
        if is_load(value) {
            change(&self.0, |report| report.errors_per_second = value);
        }
    }

    /// Takes it back.
    pub fn delete_eps(&self) {
        change(&self.0, |report| report.errors_per_second = 0.0);
    }

    /// How much of another resource is used, from 0 to 1.
    pub fn set_utilization(&self, name: impl Into<String>, value: f64) {
        if is_part(value) {
            change(&self.0, |report| {
                report.utilization.insert(name.into(), value)
            });
        }
    }

    /// Takes it back.
    pub fn delete_utilization(&self, name: &str) {
        change(&self.0, |report| report.utilization.remove(name));
    }

    /// All other resources at once: those that are not named are taken back.
    pub fn set_all_utilization(&self, all: BTreeMap<String, f64>) {
        let all = all.into_iter().filter(|(_, value)| is_part(*value));
        let all = all.collect();
        change(&self.0, |report| report.utilization = all);
    }

    /// Anything else that balancers may want to know.
    pub fn set_named(&self, name: impl Into<String>, value: f64) {
        if value.is_finite() {
            change(&self.0, |report| report.named.insert(name.into(), value));
        }
    }

    /// Takes it back.
    pub fn delete_named(&self, name: &str) {
        change(&self.0, |report| report.named.remove(name));
    }

    pub(super) fn report(&self) -> LoadReport {
        change(&self.0, |report| report.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_not_taken_down() {
        let call = CallMetricsRecorder::default();
        for wrong in [f64::NAN, f64::INFINITY, -0.1] {
            call.record_cpu_utilization(wrong);
            call.record_application_utilization(wrong);
            call.record_qps(wrong);
            call.record_eps(wrong);
        }
        for wrong in [f64::NAN, -0.1, 1.1] {
            call.record_memory_utilization(wrong);
            call.record_utilization("disk", wrong);
        }
        call.record_named("queue", f64::NAN);
        call.record_request_cost("rows", f64::INFINITY);
        assert_eq!(call.report(), LoadReport::default());
        call.record_cpu_utilization(1.5);
        assert_eq!(call.report().cpu_utilization, 1.5);
    }

    #[test]
    fn what_is_taken_back_is_told_no_more() {
        let server = ServerMetricsRecorder::default();
        server.set_cpu_utilization(0.5);
        server.set_utilization("disk", 0.5);
        server.set_utilization("net", 0.1);
        server.delete_cpu_utilization();
        server.set_all_utilization(BTreeMap::from([
            ("disk".to_owned(), 0.7),
            ("fan".to_owned(), 7.0),
        ]));
        assert_eq!(
            server.report(),
            LoadReport {
                utilization: BTreeMap::from([("disk".to_owned(), 0.7)]),
                ..LoadReport::default()
            }
        );
        server.delete_utilization("disk");
        assert_eq!(server.report(), LoadReport::default());
    }
}

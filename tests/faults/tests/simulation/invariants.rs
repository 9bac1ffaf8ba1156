//! What holds in every run.

use crate::{
    schedule::{FAULTS_END, NAMES, Schedule, What},
    world::{Call, Run, TICK},
};
use sampan::Code;
use std::{collections::HashMap, time::Duration};

/// A timer fires in the tick that its time lies in, and its task may run in the next.
const GRAIN: Duration = TICK.saturating_mul(2);
/// After the last fault: until a dead connection is found, and the longest wait before the next.
const SETTLED: Duration = Duration::from_millis(2500);
const MOST_ATTEMPTS: usize = 3;

/// The invariants that this run breaks, in words.
pub(crate) fn broken(schedule: &Schedule, run: &Run) -> Vec<String> {
    let mut broken = Vec::new();
    let mut runs = HashMap::new();
    for (_, id) in &run.journal {
        *runs.entry(*id).or_insert(0) += 1;
    }
    for call in &run.calls {
        let Call { id, is_read, .. } = call;
        let mut breaks = |what: &str| broken.push(format!("{what}: {call:?}"));
        let most = if *is_read { MOST_ATTEMPTS } else { 1 };
        let ran = runs.get(id).copied().unwrap_or(0);
        if ran > most {
            breaks("ran more often than its policy allows");
        }
        if ran == 0 && call.outcome.is_ok() {
            breaks("was answered and never ran");
        }
        if call.took > call.deadline + GRAIN {
            breaks("outlived its deadline");
        }
        match &call.outcome {
            Ok(_) => {}
            Err((code, _)) => {
                if !matches!(code, Code::Unavailable | Code::DeadlineExceeded) {
                    breaks("failed by another code");
                }
                if *code == Code::DeadlineExceeded && call.took < call.deadline {
                    breaks("gave up before its deadline");
                }
                // Nothing tells a replica that never answers from one that takes its time.
                let is_unanswered =
                    *code == Code::DeadlineExceeded && met(schedule, run, call, What::Mute);
                if *is_read && schedule.is_gentle && !is_unanswered {
                    breaks("failed though it may be tried again and two replicas are well");
                }
                if call.at > FAULTS_END + SETTLED {
                    breaks("failed when all was well again");
                }
            }
        }
    }
    if run.calls.is_empty() {
        broken.push("there were no calls".to_owned());
    }
    if run.left_open > 0 || run.in_flight > 0 {
        let (server, client) = (run.left_open, run.in_flight);
        broken.push(format!(
            "calls are left: {server} on the replicas, {client} on the channel"
        ));
    }
    broken
}

/// Whether a replica ran the call while this was its fault.
fn met(schedule: &Schedule, run: &Run, call: &Call, what: What) -> bool {
    let ran = |replica: usize| {
        let is_it =
            |(name, id): &(std::sync::Arc<str>, u64)| **name == *NAMES[replica] && *id == call.id;
        run.journal.iter().any(is_it)
    };
    schedule
        .faults
        .iter()
        .any(|fault| fault.what == what && call.at < fault.until && ran(fault.replica))
}

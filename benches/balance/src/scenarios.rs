//! What can be the matter with replicas.

use crate::{
    policies::Contender,
    server::{MILLI, Nature, SECOND},
    world::{Changes, Plan},
};

/// One thing that can be the matter with one of the replicas, or with all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Equal,
    Mixed,
    AllFailSome,
    OneSlow,
    OneFails,
    OnePauses,
    Antagonists,
}

pub(crate) const ALL: [Scenario; 7] = [
    Scenario::Equal,
    Scenario::Mixed,
    Scenario::AllFailSome,
    Scenario::OneSlow,
    Scenario::OneFails,
    Scenario::OnePauses,
    Scenario::Antagonists,
];

const WORKERS: usize = 4;
const MEAN_WORK: u64 = 20 * MILLI;
/// What a replica can do in a second: 200 calls.
#[allow(clippy::cast_precision_loss, reason = "a small number")]
const CAPACITY: f64 = WORKERS as f64 * 1e9 / MEAN_WORK as f64;

// === impl Scenario ===

impl Scenario {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Mixed => "equal, 1 call of 10 is long",
            Self::AllFailSome => "all fail 1 call of 50",
            Self::OneSlow => "one 10 × slower",
            Self::OneFails => "one fails fast",
            Self::OnePauses => "one pauses 0.5 s of 5",
            Self::Antagonists => "antagonists: speeds 0.5 to 1.5",
        }
    }

    /// `load` is a share of what the replicas together can do as they are.
    pub(crate) fn plan(
        self,
        contender: Contender,
        replicas: usize,
        clients: usize,
        load: f64,
    ) -> Plan {
        let equal = Nature {
            workers: WORKERS,
            mean_work: MEAN_WORK,
            speed: 1.0,
            queue_limit: 200,
            pushback: Some(100 * MILLI),
            one_long_of: None,
            one_fails_of: None,
            pause: None,
            tells_work: false,
        };
        let mut servers = vec![equal; replicas];
        let mut missing = 0.0;
        let mut changes = Changes::None;
        match self {
            Self::Equal => {}
            Self::Mixed => {
                for server in &mut servers {
                    server.one_long_of = Some(10);
                    // Ten times for one of ten is 1.9 for all.
                    server.mean_work = MEAN_WORK * 10 / 19;
                }
            }
            Self::AllFailSome => {
                for server in &mut servers {
                    server.one_fails_of = Some(50);
                }
            }
            Self::OneSlow => {
                servers[replicas - 1].speed = 0.1;
                missing = 0.9;
            }
            Self::OneFails => {
                servers[replicas - 1].one_fails_of = Some(1);
                missing = 1.0;
            }
            Self::OnePauses => {
                servers[replicas - 1].pause = Some((SECOND / 2, 5 * SECOND));
                missing = 0.1;
            }
            Self::Antagonists => {
                changes = Changes::Speeds(vec![0.5, 0.75, 1.0, 1.25, 1.5], 5 * SECOND);
            }
        }
        // Enough calls for the last of a thousand, and few enough to be done in seconds.
        let (warm_up, span) = match replicas {
            0..=10 => (10 * SECOND, 30 * SECOND),
            11..=100 => (4 * SECOND, 6 * SECOND),
            _ => (3 * SECOND / 2, SECOND / 2),
        };
        #[allow(clippy::cast_precision_loss, reason = "a thousand at most")]
        let capacity = (replicas as f64 - missing) * CAPACITY;
        Plan {
            contender,
            servers,
            clients,
            calls_per_second: capacity * load,
            deadline: SECOND,
            warm_up,
            span,
            changes,
            seed: 11,
        }
    }
}

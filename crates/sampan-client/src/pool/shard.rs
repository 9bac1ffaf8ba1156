//! The part of a pool that lives on one runtime: a socket's reactor is its runtime's.

use super::{
    Live, Pool,
    chooser::Chooser,
    endpoints::Endpoints,
    eyeballs::Eyeballs,
    member::{self, Member},
    view::{Ready, View},
};
use crate::{
    Error,
    balance::{Connects, Keeper},
    chance::Dice,
    endpoint::Endpoint,
    timers::Timers,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    runtime::{self, Handle},
    sync::watch,
    task::AbortHandle,
    time::Instant,
};

/// The connections of one runtime.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) local: Arc<Local>,
    runtime: Handle,
    /// Watches the deadlines, and sees the runtime's end.
    keeper: Option<AbortHandle>,
    /// Sorted as the endpoints are.
    members: Vec<Member>,
    chooser: Chooser,
    /// Looked at where one endpoint is enough.
    eyeballs: Eyeballs,
    last_used: Instant,
}

/// What the calls of one runtime have in common.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) timers: Arc<Timers>,
    /// Calls began since the driver looked last.
    pub(super) is_used: AtomicBool,
    /// Calls that found no free stream wait here, and one of them for a stream.
    pub(super) queue: Arc<tokio::sync::Mutex<()>>,
}

/// Takes a shard out of its pool when its keeper goes, by its runtime's end or otherwise.
pub(super) struct KeeperGuard {
    pool: Arc<Pool>,
    local: Arc<Local>,
}

// === impl Shard ===

impl Shard {
    pub(super) fn new(runtime: Handle, now: Instant) -> Self {
        Self {
            local: Arc::default(),
            runtime,
            keeper: None,
            members: Vec::new(),
            chooser: Chooser::default(),
            eyeballs: Eyeballs::new(rand::Rng::random(&mut Dice), now),
            last_used: now,
        }
    }

    pub(super) fn runtime(&self) -> runtime::Id {
        self.runtime.id()
    }

    pub(super) fn set_keeper(&mut self, keeper: AbortHandle) {
        self.keeper = Some(keeper);
    }

    /// Takes `endpoints` as the whole set: new ones are connected, those that stay keep their
    /// connections, removed ones only finish their calls.
    pub(super) fn follow(&mut self, pool: &Arc<Pool>, endpoints: &Endpoints) {
        self.members.retain(|member| {
            let stays = endpoints.contains(&member.endpoint);
            if !stays {
                member.task.abort();
            }
            stays
        });
        for endpoint in endpoints.list() {
            if self.find(endpoint).is_none() {
                let connects = pool.keeper.load().connects();
                let gate = watch::Sender::new(connects == Connects::All);
                let task = member::keep_connected(
                    Arc::clone(pool),
                    Arc::clone(&self.local),
                    Arc::clone(endpoint),
                    gate.subscribe(),
                );
                let task = self.runtime.spawn(task).abort_handle();
                let endpoint = Arc::clone(endpoint);
                let member = Member::new(endpoint, endpoints.backoff(), gate, task);
                self.members.push(member);
            }
        }
        self.members.sort_by_key(|member| member.endpoint.place());
    }

    /// Has one endpoint connected, and no more.
    pub(super) fn steer(&mut self, is_shuffled: bool, now: Instant) {
        self.eyeballs.steer(&mut self.members, is_shuffled, now);
    }

    /// Ends its tasks. Calls under way keep their connections to their end.
    pub(super) fn end(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
        for member in &self.members {
            member.task.abort();
        }
    }

    /// Nobody uses the channel: failures are forgotten.
    pub(super) fn rest(&mut self) {
        for member in &mut self.members {
            member.rest();
        }
    }

    /// Whether calls began since this was asked last.
    pub(super) fn was_used(&mut self, now: Instant) -> bool {
        let was_used = self.local.is_used.swap(false, Relaxed);
        if was_used {
            self.last_used = now;
        }
        was_used
    }

    pub(super) fn unused_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_used)
    }

    pub(super) fn connections(&self) -> usize {
        self.members.iter().map(|member| member.lives.len()).sum()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn find(&mut self, endpoint: &Arc<Endpoint>) -> Option<&mut Member> {
        self.members
            .iter_mut()
            .find(|member| Arc::ptr_eq(&member.endpoint, endpoint))
    }

    /// What calls get to see.
    pub(super) fn view(
        &mut self,
        name: &str,
        unresolved: Option<&Error>,
        keeper: &Keeper,
        is_due: bool,
    ) -> View {
        let ready: Vec<_> = self.members.iter().filter_map(Member::ready).collect();
        let seen = |is_ready: bool| {
            let members = self.members.iter();
            let are_so = members.filter(move |member| member.is_ready() == is_ready);
            are_so.map(move |member| member.endpoint.member(is_ready))
        };
        // In front those that are ready: a pick is a place among them.
        let seen: Vec<_> = seen(true).chain(seen(false)).collect();
        let picker = self.chooser.picker(&seen, keeper, is_due);
        let failure = if !ready.is_empty() {
            None
        } else if self.members.is_empty() {
            unresolved.cloned()
        } else if self.members.iter().all(Member::is_failing) {
            self.all_failed(name)
        } else {
            None
        };
        View {
            runtime: self.runtime(),
            local: Arc::clone(&self.local),
            ready,
            picker,
            is_asked_always: keeper.is_asked_always(),
            failure,
        }
    }

    fn all_failed(&self, name: &str) -> Option<Error> {
        let mut failures = self.members.iter().filter_map(|one| one.failure.clone());
        let first = failures.next()?;
        let what = match failures.count() {
            // A target that is an address stands in the failure already.
            0 if self.members.iter().any(|one| one.endpoint.label() == name) => {
                "cannot connect".to_owned()
            }
            0 => format!("cannot connect to {name}"),
            more => format!("cannot connect to any of {} endpoints of {name}", more + 1),
        };
        Some(Error::connect(what).with_source(first))
    }
}

// === impl Member ===

impl Member {
    fn ready(&self) -> Option<Ready> {
        self.is_ready().then(|| Ready {
            lives: self.lives.iter().map(Arc::<Live>::clone).collect(),
            more: Arc::clone(&self.more),
        })
    }
}

// === impl KeeperGuard ===

impl KeeperGuard {
    pub(super) const fn new(pool: Arc<Pool>, local: Arc<Local>) -> Self {
        Self { pool, local }
    }

    pub(super) async fn keep(self) {
        self.local.timers.run().await;
    }
}

impl Drop for KeeperGuard {
    fn drop(&mut self) {
        self.pool.shard_ended(&self.local);
        // Calls that outlive it look for another timer.
        self.local.timers.end();
    }
}

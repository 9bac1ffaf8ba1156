//! Clients that call replicas, in virtual time: one thing happens after the other, and all
//! chance comes from one seed.

use crate::{
    policies::Contender,
    server::{MILLI, Nanos, Nature, SECOND, Server},
    tally::Tally,
};
use http::HeaderMap;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sampan_client::balance::{
    CallInfo, Member, Outcome, OutlierSettings, Outliers, Pick, Picker, Policy, Replica, Verdict,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// What is simulated.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) contender: Contender,
    pub(crate) servers: Vec<Nature>,
    pub(crate) clients: usize,
    /// Of all clients together.
    pub(crate) calls_per_second: f64,
    pub(crate) deadline: Nanos,
    /// Not counted.
    pub(crate) warm_up: Nanos,
    pub(crate) span: Nanos,
    pub(crate) changes: Changes,
    pub(crate) seed: u64,
}

/// How replicas change while it runs.
#[derive(Clone, Debug)]
pub(crate) enum Changes {
    None,
    /// Each gets another of these speeds every so often.
    Speeds(Vec<f64>, Nanos),
    /// The last one has this mean work from this moment on.
    Work(Nanos, Nanos),
}

struct Client {
    policy: Arc<dyn Policy>,
    outliers: Option<Arc<Outliers>>,
    members: Vec<Member>,
    picker: Arc<dyn Picker>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Call {
    client: u32,
    server: u32,
    /// Another each time that the place is used.
    turn: u32,
    with: u32,
    sent: Nanos,
    began: Nanos,
    /// What the server had stood still when its worker began.
    paused: Nanos,
    /// Its caller still waits.
    is_open: bool,
    is_in_work: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    Finish(u32),
    Fail(u32),
    Tick,
    Pause(u32),
    Resume(u32),
    Speed(u32),
    Work,
}

pub(crate) struct World {
    plan: Plan,
    now: Nanos,
    start: Instant,
    rng: SmallRng,
    /// For what happens to replicas: the same whatever is picked.
    fate: SmallRng,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    number: u64,
    deadlines: VecDeque<(Nanos, u32, u32)>,
    clients: Vec<Client>,
    servers: Vec<Server>,
    calls: Vec<Call>,
    free: Vec<u32>,
    headers: HeaderMap,
    tally: Tally,
}

/// An answer without work takes this long.
const FAST: Nanos = MILLI / 10;

// === impl World ===

impl World {
    pub(crate) fn run(plan: Plan) -> Tally {
        let mut world = Self::new(plan);
        let end = world.plan.warm_up + world.plan.span;
        while let Some(Reverse((at, _, event))) = world.events.pop() {
            if at > end {
                break;
            }
            world.expire(at);
            world.now = at;
            world.handle(event);
        }
        let taken = world.servers.iter().map(|server| server.taken).collect();
        world.tally.taken = taken;
        world.tally
    }

    fn new(plan: Plan) -> Self {
        let start = Instant::now();
        let mut rng = SmallRng::seed_from_u64(plan.seed);
        let servers: Vec<_> = plan.servers.iter().copied().map(Server::new).collect();
        let clients = (0..plan.clients)
            .map(|_| Client::new(&plan, start, &mut rng))
            .collect();
        let mut world = Self {
            now: 0,
            start,
            rng,
            fate: SmallRng::seed_from_u64(plan.seed + 1),
            events: BinaryHeap::new(),
            number: 0,
            deadlines: VecDeque::new(),
            clients,
            servers,
            calls: Vec::new(),
            free: Vec::new(),
            headers: HeaderMap::new(),
            tally: Tally::default(),
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        self.later(0, Event::Arrive);
        self.later(SECOND / 10, Event::Tick);
        for server in 0..self.servers.len() {
            let place = u32::try_from(server).unwrap_or(0);
            if let Some((_, every)) = self.servers[server].nature.pause {
                self.later(every / 2, Event::Pause(place));
            }
            if let Changes::Speeds(..) = self.plan.changes {
                self.later(0, Event::Speed(place));
            }
        }
        if let Changes::Work(_, at) = self.plan.changes {
            self.later(at, Event::Work);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Finish(call) => self.finish(call),
            Event::Fail(call) => {
                let server = self.calls[call as usize].server as usize;
                self.servers[server].failed(self.now);
                self.answer(call, Verdict::Failed, None);
                self.forget(call);
            }
            Event::Tick => self.tick(),
            Event::Pause(place) => {
                let server = &mut self.servers[place as usize];
                if let Some((pause, every)) = server.nature.pause {
                    server.is_paused = true;
                    server.paused += pause;
                    self.later(pause, Event::Resume(place));
                    self.later(every, Event::Pause(place));
                }
            }
            Event::Resume(place) => {
                self.servers[place as usize].is_paused = false;
                while self.next_in_queue(place as usize) {}
            }
            Event::Speed(place) => {
                if let Changes::Speeds(speeds, every) = &self.plan.changes {
                    let every = *every;
                    let speed = speeds[self.fate.random_range(0..speeds.len())];
                    self.servers[place as usize].nature.speed = speed;
                    let after = exponential(every, &mut self.fate);
                    self.later(after, Event::Speed(place));
                }
            }
            Event::Work => {
                if let (Changes::Work(work, _), Some(last)) =
                    (&self.plan.changes, self.servers.last_mut())
                {
                    last.nature.mean_work = *work;
                }
            }
        }
    }

    fn arrive(&mut self) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some seconds at most"
        )]
        let mean = (1e9 / self.plan.calls_per_second) as Nanos;
        let after = exponential(mean, &mut self.rng);
        self.later(after, Event::Arrive);
        let client = self.rng.random_range(0..self.clients.len());
        let now = self.instant();
        let info = CallInfo {
            path: "/bench.Balance/Call",
            headers: &self.headers,
            tried: &[],
        };
        let place = &self.clients[client];
        let Pick::Ready(server, _) = place.picker.pick(now, &mut self.rng, &info) else {
            return;
        };
        place.members[server].replica.begin();
        self.servers[server].taken += u64::from(self.is_counted());
        let call = self.remember(client, server);
        self.deadlines.push_back((
            self.now + self.plan.deadline,
            call,
            self.calls[call as usize].turn,
        ));
        let server = &mut self.servers[server];
        let one_of = server.nature.one_fails_of;
        if one_of.is_some_and(|of| self.rng.random_range(0..of) == 0) {
            return self.later(FAST, Event::Fail(call));
        }
        if server.queue.len() >= server.nature.queue_limit {
            let pushback = server.nature.pushback;
            server.failed(self.now);
            self.answer(call, Verdict::Failed, pushback);
            return self.forget(call);
        }
        server.queue.push_back(call);
        let server = self.calls[call as usize].server as usize;
        self.next_in_queue(server);
    }

    /// A free worker takes the next call.
    fn next_in_queue(&mut self, place: usize) -> bool {
        let server = &mut self.servers[place];
        if server.is_paused || server.busy >= server.nature.workers {
            return false;
        }
        while let Some(call) = server.queue.pop_front() {
            if !self.calls[call as usize].is_open {
                // Its caller gave up: nobody works on it.
                self.free.push(call);
                continue;
            }
            server.busy += 1;
            let work = server.work(&mut self.rng);
            let paused = server.paused;
            let slot = &mut self.calls[call as usize];
            slot.is_in_work = true;
            slot.began = self.now;
            slot.paused = paused;
            self.later(work, Event::Finish(call));
            return true;
        }
        false
    }

    fn finish(&mut self, call: u32) {
        let slot = self.calls[call as usize];
        let place = slot.server as usize;
        let server = &mut self.servers[place];
        let stood = server.paused - slot.paused;
        if stood > 0 {
            // The pause began after its work did.
            self.calls[call as usize].paused = server.paused;
            return self.later(stood, Event::Finish(call));
        }
        server.busy -= 1;
        server.ended(
            self.now,
            slot.sent,
            slot.with as usize,
            self.now - slot.began,
        );
        if slot.is_open {
            self.answer(call, Verdict::Served, None);
        }
        self.forget(call);
        self.next_in_queue(place);
    }

    /// Callers give up whose deadlines come before `until`.
    fn expire(&mut self, until: Nanos) {
        while let Some((at, call, turn)) = self.deadlines.front().copied() {
            if at > until {
                return;
            }
            self.deadlines.pop_front();
            let slot = self.calls[call as usize];
            if slot.is_open && slot.turn == turn {
                self.now = at;
                self.answer(call, Verdict::Failed, None);
                self.tally.late += u64::from(self.is_counted());
            }
        }
    }

    /// The caller hears of the end of its call.
    fn answer(&mut self, call: u32, verdict: Verdict, pushback: Option<Nanos>) {
        let slot = self.calls[call as usize];
        self.calls[call as usize].is_open = false;
        let server = &self.servers[slot.server as usize];
        let replica = &self.clients[slot.client as usize].members[slot.server as usize].replica;
        let took = self.now - slot.sent;
        let sent = self.start + Duration::from_nanos(slot.sent);
        let mut outcome = Outcome::new(sent, Duration::from_nanos(took), verdict);
        outcome.pushback = pushback.map(Duration::from_nanos);
        // Whoever gives up hears nothing.
        let is_told = took < self.plan.deadline;
        outcome.report = is_told.then(|| server.report());
        replica.learn(self.instant(), &outcome);
        replica.leave();
        if self.is_counted() {
            self.tally.add(took, verdict == Verdict::Served);
        }
    }

    fn tick(&mut self) {
        self.later(SECOND, Event::Tick);
        let now = self.instant();
        for client in &mut self.clients {
            client.tick(now, &mut self.rng);
        }
    }

    fn remember(&mut self, client: usize, server: usize) -> u32 {
        let call = self.free.pop().unwrap_or_else(|| {
            self.calls.push(Call::default());
            u32::try_from(self.calls.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.calls[call as usize];
        *slot = Call {
            client: u32::try_from(client).unwrap_or(0),
            server: u32::try_from(server).unwrap_or(0),
            turn: slot.turn + 1,
            with: u32::try_from(self.servers[server].open()).unwrap_or(0),
            sent: self.now,
            is_open: true,
            ..Call::default()
        };
        call
    }

    fn forget(&mut self, call: u32) {
        self.free.push(call);
    }

    fn is_counted(&self) -> bool {
        self.now >= self.plan.warm_up
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    fn later(&mut self, after: Nanos, event: Event) {
        self.number += 1;
        self.events
            .push(Reverse((self.now + after, self.number, event)));
    }
}

// === impl Client ===

impl Client {
    fn new(plan: &Plan, start: Instant, rng: &mut SmallRng) -> Self {
        let policy = plan.contender.policy(start);
        let outliers = plan
            .contender
            .ejects()
            .then(|| Arc::new(Outliers::new(OutlierSettings::default())));
        let member = |number| {
            let replica = Replica::new(start, policy.learns(), outliers.clone());
            Member::new(format!("10.0.0.{number}:1"), Arc::new(replica))
        };
        let members: Vec<_> = (0..plan.servers.len()).map(member).collect();
        if let Some(outliers) = &outliers {
            outliers.follow(&members);
        }
        Self {
            picker: policy.picker(&members, start, rng),
            policy,
            outliers,
            members,
        }
    }

    fn tick(&mut self, now: Instant, rng: &mut SmallRng) {
        let outliers = self.outliers.as_ref();
        let has_changed = outliers.is_some_and(|outliers| outliers.tick(now, rng));
        if has_changed || self.policy.refresh().is_some() {
            self.picker = self.policy.picker(&self.members, now, rng);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "some seconds at most"
)]
fn exponential(mean: Nanos, rng: &mut SmallRng) -> Nanos {
    let drawn: f64 = rng.random();
    (-(1.0 - drawn).ln() * mean as f64) as Nanos
}

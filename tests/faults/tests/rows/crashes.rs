//! Servers and networks that go without a word.

use crate::REPLICA;
use faults::{
    fleet::{Process, Program, target},
    load::{Kind, Load, Settings, Tally},
    replica::Behaviour,
    row::{Row, attempts, holds, rate, ready, seconds, wait_until},
};
use sampan::{Channel, client::ClientHttp2Settings};
use sampan_testing::{FaultProxy, Faults};
use std::{
    collections::BTreeMap,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// How often each call has run, by the journals of all replicas.
fn runs(folder: &Path) -> BTreeMap<u64, usize> {
    let mut runs = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            *runs.entry(line.parse().unwrap()).or_default() += 1;
        }
    }
    runs
}

/// Kills one of three under calls of this kind, several of which it has at that moment; gives
/// what came of them, the attempts, and how often each has run.
fn killed(row: &Row, kind: Kind) -> (Tally, u64, BTreeMap<u64, usize>) {
    let folder = tempfile::tempdir().unwrap();
    let slowly = Behaviour {
        delay: Duration::from_millis(10),
        ..Behaviour::default()
    };
    let mut fleet = ["a", "b", "c"].map(|name| {
        let program = Program::new(REPLICA, name);
        program.with_journal(&folder.path().join(name)).start()
    });
    fleet.iter_mut().for_each(|one| one.behave(slowly));
    let channel = Channel::dial(target(&fleet)).unwrap();
    row.until_ready(&channel, 3);
    let settings = Settings {
        kind,
        rate: rate(),
        deadline: Duration::from_secs(10),
    };
    let load = Load::start(row.runtime(), &channel, settings);
    let length = seconds(4, 30);
    let mut turn = 0;
    while load.elapsed() < length {
        sleep(length / 6);
        let replica = &mut fleet[turn % 3];
        replica.kill();
        sleep(Duration::from_millis(300));
        replica.restart();
        replica.behave(slowly);
        turn += 1;
    }
    let tally = Tally::of(&load.finish());
    let attempts = attempts(&channel);
    row.figure(format_args!(
        "{kind:?}: {turn} kills, {} calls, {} failed {:?}, {:.3} attempts a call",
        tally.calls,
        tally.failures(),
        tally.failed,
        attempts as f64 / tally.calls as f64
    ));
    (tally, attempts, runs(folder.path()))
}

#[test]
fn when_one_of_three_is_killed_no_idempotent_call_fails_and_no_other_runs_twice() {
    let row = Row::begin("kill -9 one of three");
    let (tally, attempts, _) = killed(&row, Kind::Read);
    assert!(tally.calls > 500);
    assert_eq!(tally.failures(), 0, "{:?}", tally.failed);
    assert!(attempts as f64 <= 1.2 * tally.calls as f64);

    let (tally, _, runs) = killed(&row, Kind::Write);
    let is_unavailable = |why: &String| why.starts_with("Unavailable");
    assert!(
        tally.failed.keys().all(is_unavailable),
        "{:?}",
        tally.failed
    );
    let twice = runs.values().filter(|count| **count > 1).count();
    row.figure(format_args!(
        "{} calls ran, {twice} of them twice",
        runs.len()
    ));
    assert_eq!(twice, 0);
    assert!(runs.len() + tally.failures() >= tally.calls);
}

#[test]
fn a_replica_that_is_stopped_has_no_share_and_no_waiting_call_within_five_seconds() {
    let row = Row::begin("SIGSTOP one of three");
    row.judge(|| {
    let fleet = Process::three(REPLICA, |program| program);
    let channel = Channel::dial(target(&fleet)).unwrap();
    row.until_ready(&channel, 3);
    let settings = Settings {
        kind: Kind::Read,
        rate: rate(),
        deadline: Duration::from_secs(1),
    };
    let load = Load::start(row.runtime(), &channel, settings);
    sleep(Duration::from_secs(1));
    fleet[1].freeze();
    let frozen = load.elapsed();
    let seen = || {
        let address = fleet[1].address().to_string();
        let all = channel.endpoints();
        let one = all.into_iter().find(|one| one.address == address).unwrap();
        (one.attempts, one.in_flight)
    };
    sleep(Duration::from_secs(5));
    let after = seen();
    let waiting = after.1;
    sleep(seconds(2, 15));
    let share = seen().0 - after.0;
    let samples = load.finish();
    let since = |from: Duration| samples.iter().filter(move |one| one.at >= from);
    let first = Tally::of(since(frozen));
    let later = Tally::of(since(frozen + Duration::from_secs(5)));
    row.figure(format_args!(
        "{} of {} calls failed in all; after 5 s {waiting} wait on it, {share} of {} go there, {} fail",
        first.failures(),
        first.calls,
        later.calls,
        later.failures()
    ));
    fleet[1].thaw();
    holds(
        (waiting, share) == (0, 0),
        format_args!("{waiting} calls wait and {share} came"),
    )?;
    holds(later.failures() == 0, format_args!("{:?}", later.failed))
    });
}

#[test]
fn a_connection_that_falls_silent_is_found_by_keepalive() {
    let row = Row::begin("blackhole");
    row.judge(|| {
        let (time, timeout) = (seconds(1, 10), seconds(1, 5));
        let replica = [Program::new(REPLICA, "a").start()];
        let start = FaultProxy::start(replica[0].address());
        let proxy = row.runtime().block_on(start).unwrap();
        let mut http2 = ClientHttp2Settings::default();
        http2.keepalive_interval = Some(time);
        http2.keepalive_timeout = timeout;
        http2.keepalive_while_idle = true;
        let channel = Channel::configure(proxy.address().to_string())
            .http2(http2)
            .build()
            .unwrap();
        row.until_ready(&channel, 1);
        sleep(Duration::from_millis(300));
        proxy.set(Faults::none().with_blackhole());
        let silent = Instant::now();
        let limit = time + timeout + Duration::from_millis(500);
        // One call is under way, and hears of it too.
        let call = row
            .runtime()
            .spawn(faults::load::call(channel.clone(), Kind::Write, 6 * limit));
        wait_until("the loss is found", 6 * limit, || ready(&channel) == 0);
        let found = silent.elapsed();
        let (_, outcome) = row.runtime().block_on(call).unwrap();
        let told = silent.elapsed();
        let (code, message) = outcome.unwrap_err();
        row.figure(format_args!(
            "found after {found:?}, its call told after {told:?} ({message}); allowed {limit:?}"
        ));
        proxy.heal();
        row.until_ready(&channel, 1);
        holds(
            found.max(told) <= limit && code == tonic::Code::Unavailable,
            format_args!("found after {found:?}, told {code:?} after {told:?}"),
        )
    });
}

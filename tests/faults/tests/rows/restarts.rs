//! Servers that go and come in good order.

use crate::REPLICA;
use faults::{
    fleet::{Process, target},
    load::{Kind, Load, Settings, Tally},
    row::{Row, attempts, holds, rate, seconds, wait_until},
};
use sampan::Channel;
use std::{thread::sleep, time::Duration};

const DEADLINE: Duration = Duration::from_secs(10);

fn writes() -> Settings {
    Settings {
        kind: Kind::Write,
        rate: rate(),
        deadline: DEADLINE,
    }
}

#[test]
fn a_rolling_restart_of_three_replicas_fails_no_call() {
    let row = Row::begin("rolling restart");
    let mut fleet = Process::three(REPLICA, |program| program);
    let channel = Channel::dial(target(&fleet)).unwrap();
    row.until_ready(&channel, 3);
    let load = Load::start(row.runtime(), &channel, writes());
    let length = seconds(6, 60);
    let mut restarts = 0;
    while load.elapsed() < length {
        for replica in &mut fleet {
            replica.drain();
            replica.restart();
            restarts += 1;
            sleep(length / 12);
        }
    }
    let tally = Tally::of(&load.finish());
    row.figure(format_args!(
        "{restarts} restarts, {} calls, {} failed {:?}, p99 {:?}",
        tally.calls,
        tally.failures(),
        tally.failed,
        tally.percentile(99.0)
    ));
    assert!(tally.calls > 1000);
    assert_eq!(tally.failures(), 0, "{:?}", tally.failed);
}

/// Calls one replica that sends its connections away; gives how many calls there were.
fn sent_away(row: &Row, word: &str) -> (usize, usize) {
    let replica = [faults::fleet::Program::new(REPLICA, "a").with(word).start()];
    let channel = Channel::dial(target(&replica)).unwrap();
    row.until_ready(&channel, 1);
    let load = Load::start(row.runtime(), &channel, writes());
    sleep(seconds(5, 30));
    let tally = Tally::of(&load.finish());
    row.figure(format_args!(
        "{word}: {} calls, {} failed {:?}, {} attempts, p99 {:?}",
        tally.calls,
        tally.failures(),
        tally.failed,
        attempts(&channel),
        tally.percentile(99.0)
    ));
    (tally.calls, tally.failures())
}

#[test]
fn goaway_every_thousand_streams_and_after_two_seconds_fails_no_call() {
    let row = Row::begin("GOAWAY");
    for word in ["goaway_every=1000", "max_age_ms=2000"] {
        let (calls, failed) = sent_away(&row, word);
        assert!(calls > 1000);
        assert_eq!(failed, 0);
    }
}

#[test]
fn when_all_are_down_calls_fail_fast_or_wait_and_succeed_within_a_second_of_the_first() {
    let row = Row::begin("all down, then back");
    row.judge(|| {
    let mut fleet = Process::three(REPLICA, |program| program);
    let channel = Channel::dial(target(&fleet)).unwrap();
    let waiting = Channel::configure(target(&fleet))
        .policy(sampan::policy::CallPolicy::default().with_wait_for_ready(true))
        .build()
        .unwrap();
    row.until_ready(&channel, 3);
    row.until_ready(&waiting, 3);
    fleet.iter_mut().for_each(Process::kill);
    let call = |channel: &Channel| {
        let began = std::time::Instant::now();
        let call = faults::load::call(channel.clone(), Kind::Write, DEADLINE);
        let (_, outcome) = row.runtime().block_on(call);
        (outcome, began.elapsed())
    };
    // Until it knows of all three.
    let known = wait_until("calls fail", DEADLINE, || {
        call(&channel).0.is_err()
    });
    let (mut failures, mut slowest) = (0, Duration::ZERO);
    let began = std::time::Instant::now();
    while began.elapsed() < seconds(1, 5) {
        let (outcome, took) = call(&channel);
        let (code, message) = outcome.unwrap_err();
        assert_eq!(code, tonic::Code::Unavailable, "{message}");
        failures += 1;
        slowest = slowest.max(took);
        sleep(Duration::from_millis(2));
    }
    holds(
        slowest < Duration::from_millis(100),
        format_args!("fails fast: {slowest:?}"),
    )?;

    let waits = Load::start(
        row.runtime(),
        &waiting,
        Settings {
            rate: 50.0,
            deadline: Duration::from_secs(30),
            ..writes()
        },
    );
    sleep(seconds(1, 3));
    assert!(waits.samples().is_empty(), "{:?}", waits.samples());
    fleet[0].restart();
    let first = wait_until("the first success", DEADLINE, || {
        call(&channel).0.is_ok()
    });
    let waited = wait_until("the first that waited", DEADLINE, || {
        !waits.samples().is_empty()
    });
    let waited = first + waited;
    let tally = Tally::of(&waits.finish());
    row.figure(format_args!(
        "known after {known:?}, {failures} calls failed fast (slowest {slowest:?}); first success {first:?} \
         after the first was back; {} calls waited, {} failed, the first was answered within {waited:?}",
        tally.calls,
        tally.failures()
    ));
    assert_eq!(tally.failures(), 0, "{:?}", tally.failed);
    holds(
        first.max(waited) <= Duration::from_secs(1),
        format_args!("the first success after {first:?}, of those that waited after {waited:?}"),
    )
    });
}

//! Replicas that answer, and should not be asked so often.

use crate::REPLICA;
use faults::{
    fleet::{Process, Program, target},
    load::{Kind, Load, Settings, Tally, call},
    replica::Behaviour,
    row::{Row, attempts, holds, is_full, rate, seconds},
};
use sampan::{Channel, Code};
use std::{thread::sleep, time::Duration};

fn calls(kind: Kind, rate: f64) -> Settings {
    Settings {
        kind,
        rate,
        deadline: Duration::from_secs(5),
    }
}

/// Attempts that each replica has got so far, in their order.
fn attempts_of(channel: &Channel, fleet: &[Process]) -> Vec<u64> {
    let endpoints = channel.endpoints();
    let of = |one: &Process| {
        let address = one.address().to_string();
        let found = endpoints.iter().find(|other| other.address == address);
        found.map_or(0, |found| found.attempts)
    };
    fleet.iter().map(of).collect()
}

fn gained(after: &[u64], before: &[u64]) -> Vec<u64> {
    after.iter().zip(before).map(|(a, b)| a - b).collect()
}

#[test]
fn a_replica_that_fails_every_call_at_once_has_two_percent_after_ten_seconds() {
    let row = Row::begin("fails at once");
    row.judge(|| {
        for code in [Code::Internal, Code::Unavailable] {
            let mut fleet = Process::three(REPLICA, |program| program);
            let channel = Channel::dial(target(&fleet)).unwrap();
            row.until_ready(&channel, 3);
            let load = Load::start(row.runtime(), &channel, calls(Kind::Read, rate()));
            sleep(Duration::from_millis(500));
            fleet[2].behave(Behaviour {
                fails: Some(code as i32),
                ..Behaviour::default()
            });
            // What holds after ten seconds holds after two.
            sleep(seconds(2, 10));
            let before = attempts_of(&channel, &fleet);
            sleep(seconds(2, 10));
            let gained = gained(&attempts_of(&channel, &fleet), &before);
            let tally = Tally::of(&load.finish());
            let share = gained[2] as f64 / gained.iter().sum::<u64>() as f64;
            row.figure(format_args!(
            "{code:?}: {:.2} % of the attempts; {} of {} calls failed in all, {} were tried again",
            100.0 * share,
            tally.failures(),
            tally.calls,
            channel.counts().retries
        ));
            holds(share <= 0.02, format_args!("a share of {share}"))?;
            // Those that it takes to find out, of which a half may be tried again.
            holds(tally.failures() <= 20, format_args!("{:?}", tally.failed))?;
        }
        Ok(())
    });
}

#[test]
fn an_endpoint_alone_is_tried_on_each_of_a_hundred_calls_though_all_fail() {
    let row = Row::begin("one endpoint alone, failing");
    let mut alone = [Program::new(REPLICA, "a").start()];
    let channel = Channel::dial(target(&alone)).unwrap();
    row.until_ready(&channel, 1);
    alone[0].behave(Behaviour {
        fails: Some(Code::Internal as i32),
        ..Behaviour::default()
    });
    let one = || {
        row.runtime()
            .block_on(call(channel.clone(), Kind::Write, Duration::from_secs(5)))
            .1
    };
    faults::row::wait_until("it fails", Duration::from_secs(10), || one().is_err());
    let before = attempts(&channel);
    for _ in 0..100 {
        assert_eq!(one().unwrap_err(), (Code::Internal, "as told".to_owned()));
    }
    let tried = attempts(&channel) - before;
    row.figure(format_args!("{tried} of 100 calls reached it"));
    assert_eq!(tried, 100);
    alone[0].behave(Behaviour::default());
    faults::row::wait_until("it is well again", Duration::from_secs(10), || {
        one().is_ok()
    });
}

#[test]
fn a_replica_that_sheds_with_pushback_has_a_third_of_the_others_share() {
    let row = Row::begin("sheds with pushback");
    row.judge(|| {
        let mut fleet = Process::three(REPLICA, |program| program);
        let channel = Channel::dial(target(&fleet)).unwrap();
        row.until_ready(&channel, 3);
        let load = Load::start(row.runtime(), &channel, calls(Kind::Read, rate()));
        sleep(Duration::from_millis(500));
        fleet[0].behave(Behaviour {
            sheds: Some(Duration::from_millis(100)),
            ..Behaviour::default()
        });
        sleep(Duration::from_millis(500));
        let before = attempts_of(&channel, &fleet);
        sleep(seconds(3, 15));
        let gained = gained(&attempts_of(&channel, &fleet), &before);
        fleet[0].behave(Behaviour::default());
        sleep(Duration::from_secs(1));
        let tally = Tally::of(&load.finish());
        let other = gained[1].min(gained[2]) as f64;
        row.figure(format_args!(
            "{} attempts beside {} and {}: {:.3} of a share; {} of {} calls failed in all {:?}",
            gained[0],
            gained[1],
            gained[2],
            gained[0] as f64 / other,
            tally.failures(),
            tally.calls,
            tally.failed
        ));
        assert!(gained[0] > 0, "it is asked again when its time is over");
        holds(
            gained[0] as f64 <= other / 3.0,
            format_args!("{} attempts beside {other}", gained[0]),
        )
    });
}

/// Calls a second that replicas answer with so many slots in all, none of which is ever free.
fn capacity(row: &Row, channel: &Channel, slots: usize) -> f64 {
    const LENGTH: Duration = Duration::from_secs(2);
    let workers: Vec<_> = (0..2 * slots)
        .map(|_| {
            let channel = channel.clone();
            row.runtime().spawn(async move {
                let (began, mut answered) = (tokio::time::Instant::now(), 0);
                while began.elapsed() < LENGTH {
                    let call = call(channel.clone(), Kind::Write, Duration::from_secs(1));
                    answered += usize::from(call.await.1.is_ok());
                }
                answered
            })
        })
        .collect();
    let answers = workers
        .into_iter()
        .map(|worker| row.runtime().block_on(worker).unwrap());
    answers.sum::<usize>() as f64 / LENGTH.as_secs_f64()
}

#[test]
fn three_times_what_replicas_can_do_gets_what_they_can_do_and_no_storm_of_retries() {
    let row = Row::begin("3 x overload");
    row.judge(|| {
    // Each 4 x 50 a second, less what a timer takes longer on this machine; fewer in the short form,
    // so that the machine is not what is overloaded.
    let (slots, work) = (4, Duration::from_millis(if is_full() { 20 } else { 50 }));
    let mut fleet = Process::three(REPLICA, |program| program);
    for replica in &mut fleet {
        replica.behave(Behaviour {
            delay: work,
            slots,
            ..Behaviour::default()
        });
    }
    let channel = Channel::dial(target(&fleet)).unwrap();
    row.until_ready(&channel, 3);
    let capacity = capacity(&row, &channel, 3 * slots);
    let before = (channel.counts().calls, attempts(&channel));
    let load = Load::start(row.runtime(), &channel, calls(Kind::Read, 3.0 * capacity));
    let length = seconds(6, 30);
    sleep(length);
    let samples = load.finish();
    let began = attempts(&channel) - before.1;
    let tally = Tally::of(&samples);
    assert_eq!(tally.calls as u64, channel.counts().calls - before.0);
    // The first second is for finding out.
    let steady = Tally::of(
        samples
            .iter()
            .filter(|one| one.at >= Duration::from_secs(1)),
    );
    let lasted = (length - Duration::from_secs(1)).as_secs_f64();
    let good = (steady.calls - steady.failures()) as f64 / lasted;
    let per_call = began as f64 / tally.calls as f64;
    row.figure(format_args!(
        "{good:.0} calls/s answered of {capacity:.0} possible ({:.1} %), {:.0} asked; {per_call:.3} attempts a call; {:?}",
        100.0 * good / capacity,
        tally.calls as f64 / length.as_secs_f64(),
        tally.failed
    ));
    holds(
        good >= 0.9 * capacity,
        format_args!("{good} calls a second are answered"),
    )?;
    holds(
        per_call <= 1.2,
        format_args!("{per_call} attempts a call"),
    )
    });
}

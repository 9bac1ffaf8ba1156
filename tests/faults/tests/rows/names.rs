//! Names whose addresses change.

use crate::REPLICA;
use faults::{
    fleet::{Process, Program},
    load::{Kind, Load, Settings, Tally},
    names::{Names, Says},
    row::{Row, is_full, rate, seconds, wait_until},
};
use sampan::Channel;
use std::{
    net::{Ipv4Addr, SocketAddr},
    thread::sleep,
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(6);

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// Replicas of one port at four addresses, the last not there yet.
fn fleet() -> [Process; 4] {
    for _ in 0..20 {
        let first = Program::new(REPLICA, "1").start();
        let port = first.address().port();
        let others: Result<Vec<_>, _> = (2..=4)
            .map(|last| {
                let at = SocketAddr::new(ip(last).into(), port);
                Program::new(REPLICA, &last.to_string()).start_at(at)
            })
            .collect();
        // Another may have that port at one of them.
        if let Ok(others) = others {
            return <[Process; 4]>::try_from(
                [vec![first], others]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>(),
            )
            .unwrap();
        }
    }
    panic!("no port is free at four addresses");
}

#[test]
fn endpoints_that_a_name_gains_loses_and_replaces_are_used_or_left_within_six_seconds() {
    let row = Row::begin("DNS gains, loses, replaces");
    let fleet = fleet();
    let names = Names::start(&[ip(1), ip(2)]);
    let channel = Channel::dial(names.target(fleet[0].address().port())).unwrap();
    row.until_ready(&channel, 2);
    let settings = Settings {
        kind: Kind::Write,
        rate: rate(),
        deadline: Duration::from_secs(10),
    };
    let load = Load::start(row.runtime(), &channel, settings);
    sleep(Duration::from_millis(500));
    let users = |window: Duration| {
        let from = load.elapsed().saturating_sub(window);
        let samples = load.samples();
        let mut users: Vec<_> = Tally::of(samples.iter().filter(|one| one.at >= from))
            .shares
            .into_keys()
            .collect();
        users.sort();
        users.concat()
    };
    let mut took = Vec::new();
    let all: [(&str, &[u8]); 3] = [("123", &[1, 2, 3]), ("13", &[1, 3]), ("34", &[3, 4])];
    let steps = if is_full() { &all[..] } else { &all[2..] };
    for &(expected, addresses) in steps {
        names.say(Says::Addresses(
            addresses.iter().map(|last| ip(*last)).collect(),
        ));
        let window = Duration::from_millis(300);
        took.push(wait_until(expected, LIMIT, || users(window) == expected));
        sleep(seconds(0, 3));
    }
    // While nobody answers, or the name is gone, what was known holds.
    let asked = names.asked();
    for says in [Says::Silence, Says::Failure, Says::NoSuchName] {
        names.say(says);
        sleep(seconds(0, 8));
    }
    let window = Duration::from_millis(300);
    wait_until("all are still in use", LIMIT, || users(window) == "34");
    let tally = Tally::of(&load.finish());
    row.figure(format_args!(
        "{} after {took:?}; {} calls, {} failed {:?}; asked {} and {} times",
        if is_full() {
            "gained, lost, replaced"
        } else {
            "replaced"
        },
        tally.calls,
        tally.failures(),
        tally.failed,
        asked,
        names.asked() - asked
    ));
    assert_eq!(tally.failures(), 0, "{:?}", tally.failed);
}

//! One channel, and runtimes that end.

use crate::REPLICA;
use faults::{
    fleet::{Program, target},
    load::{Kind, Load, Settings, Tally, call},
    replica::Behaviour,
    row::{Row, rate, seconds},
};
use sampan::Channel;
use std::{
    sync::OnceLock,
    thread::sleep,
    time::{Duration, Instant},
};

const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn one_static_channel_serves_twenty_runtimes_and_outlives_one_with_open_calls() {
    static CHANNEL: OnceLock<Channel> = OnceLock::new();
    let row = Row::begin("20 runtimes, one channel");
    let mut replica = [Program::new(REPLICA, "a").start()];
    let channel = CHANNEL.get_or_init(|| Channel::dial(target(&replica)).unwrap());
    let single = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        let runtime = single();
        for _ in 0..10 {
            let (_, outcome) = runtime.block_on(call(channel.clone(), Kind::Write, DEADLINE));
            outcome.unwrap();
        }
        drop(runtime);
        slowest = slowest.max(began.elapsed());
    }

    // The others' calls go on while runtimes end with calls open.
    replica[0].behave(Behaviour {
        delay: Duration::from_millis(20),
        ..Behaviour::default()
    });
    let settings = Settings {
        kind: Kind::Write,
        rate: rate() / 4.0,
        deadline: DEADLINE,
    };
    let load = Load::start(row.runtime(), channel, settings);
    let mut ended = 0;
    while load.elapsed() < seconds(2, 20) {
        let runtime = single();
        let calls: Vec<_> = (0..50)
            .map(|_| runtime.spawn(call(channel.clone(), Kind::Write, DEADLINE)))
            .collect();
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        ended += calls.iter().filter(|call| !call.is_finished()).count();
        drop(runtime);
        sleep(Duration::from_millis(20));
    }
    let tally = Tally::of(&load.finish());
    row.figure(format_args!(
        "the slowest of 20 took {slowest:?}; {ended} calls ended with their runtimes, {} of others, {} failed {:?}",
        tally.calls,
        tally.failures(),
        tally.failed
    ));
    assert!(slowest < Duration::from_secs(2));
    assert!(ended > 100 && tally.calls > 100);
    assert_eq!(tally.failures(), 0, "{:?}", tally.failed);
}

//! Sockets of the same host that go bad under calls.

use crate::REPLICA;
use faults::{
    fleet::Program,
    load::{Kind, Load, Settings, Tally},
    row::{Row, rate, seconds, wait_until},
};
use sampan::Channel;
use sampan_transport::LocalDir;
use std::{fs, os::unix::net::UnixListener, thread::sleep, time::Duration};

/// Until the next connection, which looks for the socket, and until the next look.
const LIMIT: Duration = Duration::from_secs(7);

#[test]
fn a_socket_of_the_same_host_that_is_removed_stale_or_refused_fails_no_call() {
    let row = Row::begin("same-host socket");
    let dir = tempfile::tempdir().unwrap();
    // So that there are new connections all the time.
    let replica = Program::new(REPLICA, "a")
        .with(format!("local_dir={}", dir.path().display()))
        .with("max_age_ms=300")
        .start();
    let local = LocalDir::new(dir.path());
    let path = local.socket(&local.name(replica.address()));
    let aside = dir.path().join("aside");
    let channel = Channel::configure(replica.address().to_string())
        .local_dir(dir.path())
        .local_trust(true)
        .build()
        .unwrap();
    row.until_ready(&channel, 1);
    let is_local = || channel.endpoints()[0].is_local;
    assert!(is_local());
    let settings = Settings {
        kind: Kind::Write,
        rate: rate(),
        deadline: Duration::from_secs(10),
    };
    let load = Load::start(row.runtime(), &channel, settings);
    let mut left = Vec::new();
    let mut faults_of = |name: &'static str, put: &dyn Fn() -> Option<UnixListener>| {
        sleep(Duration::from_millis(300));
        fs::rename(&path, &aside).unwrap();
        let kept = put();
        left.push((name, wait_until(name, LIMIT, || !is_local())));
        sleep(seconds(0, 5));
        if path.exists() {
            fs::remove_file(&path).unwrap();
        }
        drop(kept);
        fs::rename(&aside, &path).unwrap();
        wait_until("the socket is in use again", LIMIT, is_local);
    };
    faults_of("removed", &|| None);
    faults_of("stale", &|| {
        drop(UnixListener::bind(&path).unwrap());
        None
    });
    faults_of("mute", &|| Some(UnixListener::bind(&path).unwrap()));
    let tally = Tally::of(&load.finish());
    row.figure(format_args!(
        "left after {left:?}; {} calls, {} failed {:?}, p99 {:?}",
        tally.calls,
        tally.failures(),
        tally.failed,
        tally.percentile(99.0)
    ));
    assert_eq!(tally.failures(), 0, "{:?}", tally.failed);
}

//! Random programs of calls, cancels, resets, settings and GOAWAYs, played between our client and
//! hyper's server, hyper's client and ours, ours and ours. Every call must end as the program
//! says, whoever plays.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;
mod outcome;
mod play;
mod program;
mod server;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// As many as take a few seconds; `scripts/suite oracle` plays more.
const PROGRAMS: u32 = 200;

/// The programs of CI are always the same; more of them are others.
fn runner() -> TestRunner {
    let more = std::env::var("ORACLE_PROGRAMS").ok();
    let cases = more.map_or(PROGRAMS, |number| number.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let seed = u64::from(cases).to_be_bytes().repeat(4);
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fn check(client: play::Player, server: play::Player) {
    let played = runner().run(&program::any(), |program| {
        let program = match client {
            play::Player::Ours => program,
            play::Player::Hyper => program.for_hypers_client(),
        };
        let wrong = play::play(&program, client, server);
        proptest::prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
    if let Err(error) = played {
        panic!("{error}");
    }
}

#[test]
fn our_client_plays_with_hypers_server() {
    check(play::Player::Ours, play::Player::Hyper);
}

#[test]
fn hypers_client_plays_with_our_server() {
    check(play::Player::Hyper, play::Player::Ours);
}

#[test]
fn our_client_plays_with_our_server() {
    check(play::Player::Ours, play::Player::Ours);
}

/// Whether the programs are right: who has been judged for years agrees with them.
#[test]
fn hyper_plays_with_itself() {
    check(play::Player::Hyper, play::Player::Hyper);
}

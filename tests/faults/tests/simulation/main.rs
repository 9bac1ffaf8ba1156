//! A channel and three replicas in a simulated network, in virtual time: each seed is a schedule
//! of faults, and the same seed is the same run.
//!
//! `just simulate` runs a thousand, `just simulate-seed 17` one, and tells what happened in it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod invariants;
mod schedule;
mod world;

use invariants::broken;
use schedule::Schedule;
use std::{
    panic::catch_unwind,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Instant,
};
use world::{Run, simulate};

const SEEDS: u64 = 200;
const THREADS: usize = 2;

fn number(key: &str) -> Option<u64> {
    std::env::var(key).ok().map(|text| text.parse().unwrap())
}

/// In a thread of its own: what is left to chance there follows from the seed alone.
fn run(seed: u64) -> (Schedule, Run) {
    let fresh = thread::spawn(move || {
        let schedule = Schedule::of(seed);
        let run = simulate(seed, &schedule);
        (schedule, run)
    });
    fresh.join().unwrap()
}

fn judge(seed: u64) -> Result<usize, String> {
    let judged = catch_unwind(|| {
        let (schedule, run) = run(seed);
        (broken(&schedule, &run), run.calls.len(), schedule)
    });
    match judged {
        Err(_) => Err("it panicked".to_owned()),
        Ok((broken, calls, _)) if broken.is_empty() => Ok(calls),
        Ok((broken, _, schedule)) => Err(format!("{}\n{schedule}", broken.join("\n"))),
    }
}

#[test]
fn every_seed_keeps_the_invariants() {
    if let Some(seed) = number("FAULTS_SEED") {
        let (schedule, run) = run(seed);
        println!("{schedule}\n{run}");
        assert_eq!(broken(&schedule, &run), [""; 0]);
        return;
    }
    let (began, seeds) = (Instant::now(), number("FAULTS_SEEDS").unwrap_or(SEEDS));
    let (next, calls) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures: Vec<_> = thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Relaxed);
                if seed >= seeds {
                    return failures;
                }
                match judge(seed) {
                    Ok(count) => drop(calls.fetch_add(count as u64, Relaxed)),
                    Err(why) => failures.push((seed, why)),
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    println!(
        "{seeds} seeds, {} calls, {} seeds failed, {:.1} s",
        calls.load(Relaxed),
        failures.len(),
        began.elapsed().as_secs_f64()
    );
    for (seed, why) in &failures {
        println!(
            "\nseed {seed} fails; again by `just simulate-seed {seed}`, or\n  \
             FAULTS_SEED={seed} cargo test --package faults --test simulation -- --nocapture every_seed\n{why}"
        );
    }
    assert!(failures.is_empty(), "{} seeds fail", failures.len());
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    for seed in 0..4 {
        let (first, second) = (run(seed).1.to_string(), run(seed).1.to_string());
        let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len());
        assert_ne!(first, run(seed + 100).1.to_string());
    }
}

use super::*;
use proptest::prelude::*;
use sampan_wire::policy::CodeSet;

const MILLI: Duration = Duration::from_millis(1);
const OK: HedgeOutcome = ended_with(Code::Ok, None);
const AGAIN: HedgeOutcome = ended_with(Code::Unavailable, None);

const fn ended_with(code: Code, pushback: Option<Pushback>) -> HedgeOutcome {
    HedgeOutcome { code, pushback }
}

fn policy(max_attempts: u32) -> HedgePolicy {
    HedgePolicy {
        max_attempts,
        delay: 100 * MILLI,
        non_fatal_codes: CodeSet::of(&[Code::Unavailable]),
    }
}

/// A call whose first attempt is under way.
fn begun(max_attempts: u32) -> (Hedging, Instant) {
    let now = Instant::now();
    let mut call = Hedging::new(&policy(max_attempts), now, Some(now + 1000 * MILLI));
    assert_eq!(call.step(now, || false), HedgeStep::Send(0));
    (call, now)
}

#[test]
fn attempts_go_out_a_delay_apart_until_there_are_enough() {
    let (mut call, start) = begun(3);
    assert_eq!(
        call.step(start, || true),
        HedgeStep::Until(start + 100 * MILLI)
    );
    assert_eq!(call.step(start + 100 * MILLI, || true), HedgeStep::Send(1));
    // Asked late, it does not catch up in a burst.
    assert_eq!(call.step(start + 950 * MILLI, || true), HedgeStep::Send(2));
    assert_eq!(call.step(start + 960 * MILLI, || true), HedgeStep::Wait);
}

#[test]
fn without_a_delay_all_go_out_at_once_and_never_more_than_five() {
    let now = Instant::now();
    let policy = HedgePolicy {
        delay: Duration::ZERO,
        ..policy(99)
    };
    let mut call = Hedging::new(&policy, now, None);
    let sent = (0..99).take_while(|_| matches!(call.step(now, || true), HedgeStep::Send(_)));
    assert_eq!(sent.count(), 5);
}

#[test]
fn an_attempt_that_is_not_let_go_is_the_last_and_ends_nobody_else() {
    let (mut call, _) = begun(3);
    assert!(matches!(call.refused(0), HedgeVerdict::Take(_)));

    let (mut other, start) = begun(3);
    other.step(start + 100 * MILLI, || true);
    assert_eq!(other.refused(1), HedgeVerdict::GoOn);
    let late = start + 900 * MILLI;
    assert_eq!(other.step(late, || true), HedgeStep::Wait);
    assert!(matches!(
        other.ended(0, late, &AGAIN),
        HedgeVerdict::Take(_)
    ));
}

#[test]
fn the_first_answer_is_taken_and_the_others_are_cancelled() {
    for end in [OK, ended_with(Code::NotFound, None)] {
        let (mut call, start) = begun(3);
        call.step(start + 100 * MILLI, || true);
        call.step(start + 200 * MILLI, || true);
        let HedgeVerdict::Take(others) = call.ended(1, start + 250 * MILLI, &end) else {
            panic!("not taken");
        };
        assert!(others.iter().eq([0, 2]));
        assert_eq!(call.ended(0, start + 251 * MILLI, &OK), HedgeVerdict::Late);
        assert_eq!(call.step(start + 300 * MILLI, || true), HedgeStep::Wait);
    }
}

#[test]
fn a_code_that_is_not_fatal_sends_the_next_at_once_and_the_last_one_is_the_answer() {
    let (mut call, start) = begun(2);
    let soon = start + 10 * MILLI;
    assert_eq!(call.ended(0, soon, &AGAIN), HedgeVerdict::GoOn);
    assert_eq!(call.step(soon, || true), HedgeStep::Send(1));
    let end = call.ended(1, soon, &AGAIN);
    assert_eq!(end, HedgeVerdict::Take(AttemptSet::default()));
}

#[test]
fn pushback_is_exact_and_a_bad_one_stops_further_attempts_but_not_those_under_way() {
    let (mut call, start) = begun(4);
    call.step(start + 100 * MILLI, || true);
    let told = |pushback| ended_with(Code::Unavailable, Some(pushback));
    let later = told(Pushback::After(333 * MILLI));
    assert_eq!(
        call.ended(0, start + 110 * MILLI, &later),
        HedgeVerdict::GoOn
    );
    let due = start + 443 * MILLI;
    assert_eq!(
        call.step(start + 300 * MILLI, || true),
        HedgeStep::Until(due)
    );
    assert_eq!(call.step(due, || true), HedgeStep::Send(2));
    assert_eq!(
        call.ended(2, due, &told(Pushback::Stop)),
        HedgeVerdict::GoOn
    );
    assert_eq!(call.step(due + 500 * MILLI, || true), HedgeStep::Wait);
    let nobody = HedgeVerdict::Take(AttemptSet::default());
    assert_eq!(call.ended(1, due, &AGAIN), nobody);
}

#[test]
fn a_throttle_gives_the_rest_up_and_the_last_failure_is_the_answer() {
    let (mut call, start) = begun(3);
    assert_eq!(call.step(start + 100 * MILLI, || false), HedgeStep::Wait);
    assert_eq!(call.step(start + 200 * MILLI, || true), HedgeStep::Wait);
    let end = call.ended(0, start + 200 * MILLI, &AGAIN);
    assert_eq!(end, HedgeVerdict::Take(AttemptSet::default()));
}

#[test]
fn a_throttle_that_takes_the_last_attempt_back_ends_the_call() {
    let (mut call, start) = begun(3);
    let later = ended_with(Code::Unavailable, Some(Pushback::After(50 * MILLI)));
    assert_eq!(call.ended(0, start, &later), HedgeVerdict::GoOn);
    assert_eq!(call.step(start + 50 * MILLI, || false), HedgeStep::GiveUp);
}

#[test]
fn nothing_is_sent_at_or_after_the_deadline() {
    let (mut call, start) = begun(5);
    let late = ended_with(Code::Unavailable, Some(Pushback::After(1000 * MILLI)));
    let end = call.ended(0, start + 10 * MILLI, &late);
    assert_eq!(end, HedgeVerdict::Take(AttemptSet::default()));
    let (mut call, start) = begun(5);
    assert_eq!(call.step(start + 1000 * MILLI, || true), HedgeStep::Wait);
}

#[test]
fn when_the_request_is_not_kept_the_furthest_attempt_goes_on_alone() {
    let (mut call, start) = begun(3);
    call.step(start + 100 * MILLI, || true);
    let (furthest, others) = call.commit(|attempt| 10 - u64::from(attempt)).unwrap();
    assert_eq!(furthest, 0);
    assert!(others.iter().eq([1]));
    assert_eq!(call.ended(1, start + 110 * MILLI, &OK), HedgeVerdict::Late);
    assert_eq!(call.step(start + 300 * MILLI, || true), HedgeStep::Wait);
    assert!(matches!(
        call.ended(0, start, &AGAIN),
        HedgeVerdict::Take(_)
    ));
}

#[test]
fn only_failures_that_could_be_tried_again_count_for_the_throttle() {
    let (call, _) = begun(2);
    let stop = Some(Pushback::Stop);
    assert!(call.is_throttling(&AGAIN));
    assert!(call.is_throttling(&ended_with(Code::NotFound, stop)));
    assert!(!call.is_throttling(&ended_with(Code::NotFound, None)));
    assert!(!call.is_throttling(&ended_with(Code::Ok, stop)));
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many milliseconds pass; the throttle allows or not.
    Pass(u64, bool),
    /// Of those under way, this one ends.
    End(usize, HedgeOutcome),
}

fn event() -> impl Strategy<Value = Event> {
    let code = prop_oneof![
        Just(Code::Ok),
        Just(Code::Unavailable),
        Just(Code::NotFound)
    ];
    let pushback = prop_oneof![
        3 => Just(None),
        1 => Just(Some(Pushback::Stop)),
        1 => (0u64..400).prop_map(|wait| Some(Pushback::After(MILLI * wait as u32))),
    ];
    prop_oneof![
        (0u64..300, prop::bool::weighted(0.9)).prop_map(|(wait, may)| Event::Pass(wait, may)),
        (0usize..5, code, pushback)
            .prop_map(|(which, code, pushback)| Event::End(which, ended_with(code, pushback))),
    ]
}

proptest! {
    /// Whatever happens: one end at most, and none is forgotten; attempts within their number,
    /// their times and their deadline.
    #[test]
    fn a_call_ends_once_and_keeps_its_limits(
        max_attempts in 1u32..8,
        events in prop::collection::vec(event(), 1..40),
    ) {
        let start = Instant::now();
        let deadline = start + 1000 * MILLI;
        let mut call = Hedging::new(&policy(max_attempts), start, Some(deadline));
        let (mut now, mut open, mut ends) = (start, Vec::new(), 0);
        let (mut sent_at, mut earliest, mut is_stopped) = (Vec::new(), start, false);
        let pass = Event::Pass(0, true);
        for event in [pass].into_iter().chain(events) {
            match event {
                Event::Pass(wait, may_repeat) => {
                    now += MILLI * wait as u32;
                    loop {
                        let attempt = match call.step(now, || may_repeat) {
                            HedgeStep::Send(attempt) => attempt,
                            HedgeStep::GiveUp => {
                                prop_assert!(ends == 0 && open.is_empty());
                                ends += 1;
                                break;
                            }
                            HedgeStep::Until(_) | HedgeStep::Wait => break,
                        };
                        prop_assert!(ends == 0 && !is_stopped);
                        prop_assert!(now >= earliest && (now < deadline || attempt == 0));
                        prop_assert!(may_repeat || attempt == 0);
                        prop_assert_eq!(attempt as usize, sent_at.len());
                        sent_at.push(now);
                        open.push(attempt);
                        earliest = now + 100 * MILLI;
                    }
                }
                Event::End(which, outcome) if !open.is_empty() => {
                    let attempt = open.remove(which % open.len());
                    match call.ended(attempt, now, &outcome) {
                        HedgeVerdict::Take(others) => {
                            prop_assert_eq!(ends, 0);
                            prop_assert!(others.iter().eq(open.iter().copied()));
                            ends += 1;
                        }
                        HedgeVerdict::GoOn => {
                            prop_assert_eq!(outcome.code, Code::Unavailable);
                            earliest = now;
                            match outcome.pushback {
                                Some(Pushback::Stop) => is_stopped = true,
                                Some(Pushback::After(wait)) => earliest = now + wait,
                                None => {}
                            }
                        }
                        HedgeVerdict::Late => prop_assert_eq!(ends, 1),
                    }
                }
                Event::End(..) => {}
            }
        }
        prop_assert!(sent_at.len() <= max_attempts.min(5) as usize);
        // Nobody waits for nothing.
        if ends == 0 && open.is_empty() {
            let step = call.step(now, || true);
            prop_assert!(step != HedgeStep::Wait, "waits for nothing");
        }
    }
}

//! A slice of what `scripts/suite hpack` compares at length.

#[test]
fn our_hpack_and_another_agree_on_random_lists() {
    let outcome = fuzz_targets::differential::run(1_000, 7541, |_| {});
    assert_eq!(
        (outcome.passed, outcome.failed),
        (1_000, 0),
        "{:#?}",
        outcome.differences
    );
}

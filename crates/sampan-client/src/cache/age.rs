//! What an answer that is kept is good for. Pure.

use sampan_wire::policy::CachePolicy;
use std::time::Duration;

/// What an answer of some age is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// For everything.
    Fresh,
    /// For this call, while a new one is fetched.
    Revalidate,
    /// For a call that cannot have a new one.
    IfError,
    /// For nothing.
    Gone,
}

pub(super) fn judge(policy: &CachePolicy, age: Duration) -> Age {
    let too_old = age.saturating_sub(policy.ttl);
    if age <= policy.ttl {
        Age::Fresh
    } else if too_old <= policy.stale_while_revalidate {
        Age::Revalidate
    } else if too_old <= policy.stale_if_error {
        Age::IfError
    } else {
        Age::Gone
    }
}

/// How long an answer is good for anything.
pub(super) fn lifetime(policy: &CachePolicy) -> Duration {
    let stale = policy.stale_while_revalidate.max(policy.stale_if_error);
    policy.ttl.saturating_add(stale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_wire::policy::CacheScope;

    #[test]
    fn an_answer_is_fresh_then_stale_then_a_last_resort_then_nothing() {
        let seconds = Duration::from_secs;
        let policy = |stale_while_revalidate, stale_if_error| CachePolicy {
            ttl: seconds(2),
            vary: &[],
            scope: CacheScope::Private,
            stale_while_revalidate: seconds(stale_while_revalidate),
            stale_if_error: seconds(stale_if_error),
        };
        let ages = |policy| [0, 2, 3, 4, 5, 6].map(|age| judge(&policy, seconds(age)));
        let (fresh, gone) = (Age::Fresh, Age::Gone);
        let (new, last) = (Age::Revalidate, Age::IfError);
        assert_eq!(ages(policy(0, 0)), [fresh, fresh, gone, gone, gone, gone]);
        assert_eq!(ages(policy(1, 3)), [fresh, fresh, new, last, last, gone]);
        assert_eq!(ages(policy(2, 1)), [fresh, fresh, new, new, gone, gone]);
        assert_eq!(lifetime(&policy(1, 3)), seconds(5));
    }
}

//! Which calls have the same answer.

use crate::{call::Call, credentials::Proof};
use http::{HeaderMap, HeaderName};
use sampan_wire::policy::{CachePolicy, CacheScope};
use std::sync::Arc;

/// All that an answer depends on, itself and no hash of it: nobody gets another's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(Arc<[u8]>);

/// Tells callers apart: an answer to one is none of the others' business.
const CREDENTIALS: [HeaderName; 3] = [
    http::header::AUTHORIZATION,
    http::header::COOKIE,
    http::header::PROXY_AUTHORIZATION,
];

/// How the request's message is encoded, and how the answer's may be.
const ENCODINGS: [HeaderName; 2] = [
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

/// Longer requests are not worth their key.
const MAX_MESSAGE: usize = 64 << 10;

// === impl Key ===

impl Key {
    /// That of a call on the channel of this number; None when it must not be looked up.
    pub(super) fn of(
        channel: u64,
        call: &Call,
        proof: Option<&Proof>,
        policy: &CachePolicy,
        message: &[u8],
    ) -> Option<Self> {
        // What it will prove is not known, and may matter.
        if proof.is_none() && call.credentials().is_some() && !policy.vary.is_empty() {
            return None;
        }
        let varies_by = |name: &HeaderName| policy.vary.contains(&name.as_str());
        let tells = |name: &HeaderName| call.headers().contains_key(name) && !varies_by(name);
        let proves_more = match proof {
            None => call.credentials().is_some(),
            Some(proof) => !proof.metadata.keys().all(varies_by),
        };
        let is_someones =
            policy.scope == CacheScope::Private && (proves_more || CREDENTIALS.iter().any(tells));
        if is_someones || message.len() > MAX_MESSAGE {
            return None;
        }
        let path = call.path.as_str();
        let mut key = Vec::with_capacity(8 + 4 + path.len() + message.len());
        key.extend_from_slice(&channel.to_be_bytes());
        push(&mut key, path.as_bytes());
        for name in policy.vary {
            // What credentials set is sent in place of the call's own.
            let proven = proof.filter(|proof| proof.metadata.contains_key(*name));
            let headers = proven.map_or(call.headers(), |proof| &proof.metadata);
            push_values(&mut key, headers, name);
        }
        for name in ENCODINGS {
            push_values(&mut key, call.headers(), name.as_str());
        }
        key.extend_from_slice(message);
        Some(Self(key.into()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What follows cannot be taken for a part of it.
fn push(key: &mut Vec<u8>, part: &[u8]) {
    push_len(key, part.len());
    key.extend_from_slice(part);
}

fn push_len(key: &mut Vec<u8>, len: usize) {
    // Headers and paths are far shorter than 4 GiB.
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    key.extend_from_slice(&len.to_be_bytes());
}

fn push_values(key: &mut Vec<u8>, headers: &HeaderMap, name: &str) {
    let values = headers.get_all(name);
    push_len(key, values.iter().count());
    for value in values {
        push(key, value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use sampan_wire::policy::{Method, MethodKind};
    use std::time::Duration;

    static READ: Method = Method::new("/a.B/Read", MethodKind::Unary);

    fn policy(scope: CacheScope, vary: &'static [&'static str]) -> CachePolicy {
        CachePolicy {
            ttl: Duration::from_secs(1),
            vary,
            scope,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        }
    }

    fn key(policy: &CachePolicy, headers: &[(&'static str, &'static str)]) -> Option<Key> {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            map.append(name, value);
        }
        let path = http::uri::PathAndQuery::from_static(READ.path());
        let call = Call::direct(path, map, &READ, usize::MAX);
        Key::of(1, &call, None, policy, b"message")
    }

    #[test]
    fn who_has_credentials_shares_nothing_unless_the_policy_says_what_tells_callers_apart() {
        for name in ["authorization", "cookie", "proxy-authorization"] {
            let (a, b) = ([(name, "a")], [(name, "b")]);
            assert_eq!(key(&policy(CacheScope::Private, &[]), &a), None);
            let public = policy(CacheScope::Public, &[]);
            assert_eq!(key(&public, &a).unwrap(), key(&public, &b).unwrap());
        }
        let (a, b) = ([("authorization", "a")], [("authorization", "b")]);
        for scope in [CacheScope::Private, CacheScope::Public] {
            let varied = policy(scope, &["authorization"]);
            assert_ne!(key(&varied, &a).unwrap(), key(&varied, &b).unwrap());
        }
        let cookie = policy(CacheScope::Private, &["authorization"]);
        let both = [("authorization", "a"), ("cookie", "c")];
        assert_eq!(key(&cookie, &both), None);
    }

    #[test]
    fn metadata_counts_only_where_it_varies_and_cannot_be_confused() {
        let varied = policy(CacheScope::Private, &["x-a", "x-b"]);
        let of = |headers: &[_]| key(&varied, headers).unwrap();
        assert_eq!(of(&[]), of(&[("x-c", "1")]));
        let all = [
            of(&[]),
            of(&[("x-a", "")]),
            of(&[("x-a", "12")]),
            of(&[("x-a", "1"), ("x-a", "2")]),
            of(&[("x-a", "1"), ("x-b", "2")]),
            of(&[("x-b", "12")]),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}

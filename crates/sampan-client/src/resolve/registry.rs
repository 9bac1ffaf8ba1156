//! Schemes of targets that are not built in.

use super::Resolve;
use crate::{error::BoxError, proxy::Proxy};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// The text of a target, in parts: `scheme://authority/endpoint`, `scheme:///endpoint` or
/// `scheme:endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetName {
    text: String,
    scheme: usize,
    authority: (usize, usize),
    endpoint: usize,
}

/// Text that cannot be the scheme of a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no scheme: lower-case letters, digits, \"+\", \"-\" and \".\", a letter first")]
pub struct InvalidScheme(String);

/// Makes a resolver of a target.
pub(crate) type MakeResolver =
    dyn Fn(&TargetName) -> Result<Arc<dyn Resolve>, BoxError> + Send + Sync;

/// Schemes, and who makes their resolvers.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    makers: BTreeMap<String, Arc<MakeResolver>>,
    /// Names are asked for a service config too.
    pub(crate) config_from_dns: bool,
    pub(crate) proxy: Option<Proxy>,
}

static OF_THE_PROCESS: RwLock<Registry> = RwLock::new(Registry {
    makers: BTreeMap::new(),
    config_from_dns: false,
    proxy: None,
});

/// Lets all channels that are made from now on dial targets of `scheme`, by the resolvers that
/// `make` makes of them; its error makes the channel fail to build. A scheme that is registered
/// or built in already is replaced.
///
/// # Errors
///
/// When the scheme is none.
pub fn register<F>(scheme: &str, make: F) -> Result<(), InvalidScheme>
where
    F: Fn(&TargetName) -> Result<Arc<dyn Resolve>, BoxError> + Send + Sync + 'static,
{
    check(scheme)?;
    // Nothing under the lock panics.
    let mut all = OF_THE_PROCESS
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    all.insert(scheme.to_owned(), Arc::new(make));
    Ok(())
}

pub(crate) fn check(scheme: &str) -> Result<(), InvalidScheme> {
    let is_lower = |c: char| c.is_ascii_lowercase();
    let is_part = |c: char| is_lower(c) || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    if scheme.starts_with(is_lower) && scheme.chars().all(is_part) {
        Ok(())
    } else {
        Err(InvalidScheme(scheme.to_owned()))
    }
}

// === impl Registry ===

impl Registry {
    pub(crate) fn with_proxy(proxy: Option<Proxy>) -> Self {
        Self {
            proxy,
            ..Self::default()
        }
    }

    pub(crate) fn insert(&mut self, scheme: String, make: Arc<MakeResolver>) {
        self.makers.insert(scheme, make);
    }

    /// Who makes resolvers for `scheme`: this, else what all channels have.
    pub(crate) fn find(&self, scheme: &str) -> Option<Arc<MakeResolver>> {
        let own = self.makers.get(scheme).cloned();
        own.or_else(|| {
            let all = OF_THE_PROCESS
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            all.makers.get(scheme).cloned()
        })
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.makers.keys()).finish()
    }
}

// === impl TargetName ===

impl TargetName {
    /// `text` is `scheme` and `rest`, with a colon between them.
    pub(crate) fn new(text: &str, scheme: &str) -> Self {
        let start = scheme.len() + 1;
        let rest = text.get(start..).unwrap_or_default();
        let (authority, endpoint) = match rest.strip_prefix("//") {
            None => ((start, start), start),
            Some(after) => {
                let at = start + 2;
                let slash = after.find('/').unwrap_or(after.len());
                let endpoint = (at + slash + 1).min(text.len());
                ((at, at + slash), endpoint)
            }
        };
        Self {
            text: text.to_owned(),
            scheme: scheme.len(),
            authority,
            endpoint,
        }
    }

    /// All of it, as the channel was given it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `consul` of `consul://10.0.0.2:8500/orders`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.text[..self.scheme]
    }

    /// `10.0.0.2:8500` of `consul://10.0.0.2:8500/orders`; often empty.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.text[self.authority.0..self.authority.1]
    }

    /// `orders` of `consul://10.0.0.2:8500/orders`. Unless the channel's builder is told
    /// otherwise it is also what `:authority` says, where it can stand there.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.text[self.endpoint..]
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_scheme_an_authority_and_an_endpoint() {
        for (text, authority, endpoint) in [
            ("consul:orders", "", "orders"),
            ("consul:///orders", "", "orders"),
            ("consul:///a/b:1", "", "a/b:1"),
            ("consul://10.0.0.2:8500/orders", "10.0.0.2:8500", "orders"),
            ("consul://10.0.0.2", "10.0.0.2", ""),
            ("consul:", "", ""),
        ] {
            let name = TargetName::new(text, "consul");
            assert_eq!(name.scheme(), "consul");
            assert_eq!((name.authority(), name.endpoint()), (authority, endpoint));
            assert_eq!(name.as_str(), text);
        }
    }

    #[test]
    fn a_scheme_begins_with_a_letter_and_has_no_odd_ones() {
        for right in ["a", "my-names", "k8s+x.1"] {
            check(right).unwrap();
        }
        for wrong in ["", "1a", "A", "a_b", "a:b", "ä"] {
            check(wrong).unwrap_err();
        }
    }
}

//! Proof of who calls: metadata for each call, made anew where it has to be.
//!
//! ```
//! use sampan_client::{Channel, credentials::{Credentials, TokenFile}};
//! # fn main() -> Result<(), sampan_client::Error> {
//! let token = TokenFile::new("/var/run/secrets/tokens/orders");
//! let channel = Channel::configure("unix:/run/orders.sock")
//!     .credentials(Credentials::new(token))
//!     .build()?;
//! # Ok(())
//! # }
//! ```

mod token_file;

pub use token_file::TokenFile;

use crate::{
    endpoint::Endpoint,
    failure::{Failure, Progress},
};
use http::HeaderMap;
use std::{fmt, sync::Arc};
use tonic::{Code, Status, async_trait, metadata::MetadataMap};

/// What proves who calls. Asked for each attempt of a call, within its deadline; it is for the
/// implementation to keep what lasts longer.
#[async_trait]
pub trait CallCredentials: Send + Sync + 'static {
    /// The metadata for a call.
    ///
    /// # Errors
    /// The status that the call ends with. Codes that only a service may give (such as NOT_FOUND)
    /// become INTERNAL. Source: gRFC A54.
    async fn metadata(&self, call: &CalledMethod<'_>) -> Result<MetadataMap, Status>;

    /// Whether they are refused to connections that others may read: all but TLS and Unix
    /// sockets. Default: true.
    fn need_secrecy(&self) -> bool {
        true
    }
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub struct CalledMethod<'a> {
    authority: &'a str,
    path: &'a str,
}

/// Credentials of a channel, or of one call: then in the extensions of its request.
#[derive(Clone)]
pub struct Credentials(Arc<dyn CallCredentials>);

/// All that a call carries: its channel's credentials, and its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialsOfCall {
    channel: Option<Credentials>,
    own: Option<Credentials>,
    may_be_read: bool,
    /// What all attempts prove, where that is settled already.
    settled: Option<Arc<Proof>>,
}

/// What one attempt proves.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) metadata: HeaderMap,
    pub(crate) needs_secrecy: bool,
}

struct Bearer(MetadataMap);

/// A connection that others may read was to carry what is secret.
pub(crate) struct NotSecret(Arc<Endpoint>);

// === impl CalledMethod ===

impl<'a> CalledMethod<'a> {
    pub(crate) const fn new(authority: &'a str, path: &'a str) -> Self {
        Self { authority, path }
    }

    /// What the channel's connections are for: `orders:50051`.
    #[must_use]
    pub const fn authority(&self) -> &'a str {
        self.authority
    }

    /// `/pkg.Service/Method`
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// Whom tokens are for that name their audience: `https://orders:50051/pkg.Service`.
    #[must_use]
    pub fn audience(&self) -> String {
        let service = self
            .path
            .rsplit_once('/')
            .map_or("", |(service, _)| service);
        let authority = self
            .authority
            .strip_suffix(":443")
            .unwrap_or(self.authority);
        format!("https://{authority}{service}")
    }
}

// === impl Credentials ===

impl Credentials {
    /// Wraps an implementation.
    pub fn new(credentials: impl CallCredentials) -> Self {
        Self(Arc::new(credentials))
    }

    /// `authorization: Bearer …`, always the same.
    ///
    /// # Errors
    /// When `token` has bytes that no header may have.
    pub fn bearer(token: &str) -> Result<Self, crate::Error> {
        let metadata = bearer(token).ok_or_else(|| {
            crate::Error::configuration("the token is empty or has bytes that no header may have")
        })?;
        Ok(Self::new(Bearer(metadata)))
    }

    pub(crate) fn need_secrecy(&self) -> bool {
        self.0.need_secrecy()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What they prove stays out of logs.
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[async_trait]
impl CallCredentials for Bearer {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        Ok(self.0.clone())
    }
}

/// None where that is no header.
fn bearer(token: &str) -> Option<MetadataMap> {
    let is_visible = |byte: u8| byte.is_ascii_graphic();
    if token.is_empty() || !token.bytes().all(is_visible) {
        return None;
    }
    let mut value: http::HeaderValue = format!("Bearer {token}").parse().ok()?;
    value.set_sensitive(true);
    let headers = HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]);
    Some(MetadataMap::from_headers(headers))
}

// === impl CredentialsOfCall ===

impl CredentialsOfCall {
    /// None where nobody has any. With `may_be_read`, connections in plaintext get them too.
    pub(crate) fn new(
        channel: Option<&Credentials>,
        own: Option<Credentials>,
        may_be_read: bool,
    ) -> Option<Self> {
        (channel.is_some() || own.is_some()).then(|| Self {
            channel: channel.cloned(),
            own,
            may_be_read,
            settled: None,
        })
    }

    /// Every attempt proves this.
    pub(crate) fn settle(&mut self, proof: Proof) {
        self.settled = Some(Arc::new(proof));
    }

    /// What the next attempt proves; of two that say the same, the call's own.
    pub(crate) async fn prove(&self, call: &CalledMethod<'_>) -> Result<Proof, Failure> {
        if let Some(settled) = &self.settled {
            return Ok(Proof::clone(settled));
        }
        let mut proof = Proof {
            metadata: HeaderMap::new(),
            needs_secrecy: false,
        };
        for credentials in [&self.channel, &self.own].into_iter().flatten() {
            let given = credentials
                .0
                .metadata(call)
                .await
                .map_err(|status| of_call(&status))?;
            let mut given = given.into_headers();
            for name in RESERVED {
                given.remove(name);
            }
            let names: Vec<_> = given.keys().cloned().collect();
            for name in names {
                proof.metadata.remove(&name);
                for value in given.get_all(&name) {
                    proof.metadata.append(&name, value.clone());
                }
            }
            proof.needs_secrecy |= credentials.need_secrecy() && !self.may_be_read;
        }
        Ok(proof)
    }
}

// === impl Proof ===

impl Proof {
    /// What its call's own headers are with it.
    pub(crate) fn beside(&self, headers: &HeaderMap) -> HeaderMap {
        let mut all = headers.clone();
        for name in self.metadata.keys() {
            all.remove(name);
            for value in self.metadata.get_all(name) {
                all.append(name, value.clone());
            }
        }
        all
    }

    /// Whether it may be sent there.
    pub(crate) fn check(&self, endpoint: &Arc<Endpoint>) -> Result<(), NotSecret> {
        if self.needs_secrecy && !endpoint.site.is_secret() {
            return Err(NotSecret(Arc::clone(endpoint)));
        }
        Ok(())
    }
}

// === impl NotSecret ===

impl NotSecret {
    /// What its call fails with.
    pub(crate) fn failure(self, progress: &mut Progress) -> Failure {
        progress.endpoint = Some(self.0);
        let what = "its credentials are not sent in plaintext; use TLS, or \
                    credentials_in_plaintext where the network encrypts";
        Failure::fault(Code::Unauthenticated, what)
    }
}

/// What the protocol itself says.
const RESERVED: [&str; 5] = [
    "te",
    "content-type",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-status",
];

/// Source: gRFC A54.
fn of_call(status: &Status) -> Failure {
    let is_of_services_alone = matches!(
        status.code(),
        Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss
    );
    let (code, text) = (status.code(), status.message());
    let what = format!("the call's credentials cannot be had: {code:?}: {text}");
    let code = if is_of_services_alone {
        Code::Internal
    } else {
        code
    };
    Failure::fault(code, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_is_the_service_at_its_authority() {
        let called = CalledMethod::new("orders:443", "/orders.v1.Orders/Get");
        assert_eq!(called.audience(), "https://orders/orders.v1.Orders");
        let called = CalledMethod::new("orders:50051", "/orders.v1.Orders/Get");
        assert_eq!(called.audience(), "https://orders:50051/orders.v1.Orders");
    }

    #[test]
    fn codes_that_only_services_give_become_internal() {
        for (given, told) in [
            (Code::NotFound, Code::Internal),
            (Code::Ok, Code::Internal),
            (Code::DataLoss, Code::Internal),
            (Code::Unavailable, Code::Unavailable),
            (Code::PermissionDenied, Code::PermissionDenied),
            (Code::Unauthenticated, Code::Unauthenticated),
        ] {
            assert_eq!(of_call(&Status::new(given, "x")).code(), told, "{given:?}");
        }
    }

    #[test]
    fn a_token_is_a_header_or_refused() {
        assert!(Credentials::bearer("abc.def-_~+/=").is_ok());
        for bad in ["", "a b", "a\nb", "ä"] {
            assert!(Credentials::bearer(bad).is_err(), "{bad:?}");
        }
    }
}

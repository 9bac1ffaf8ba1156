//! Code of the program's own around calls and attempts.

use http::{HeaderMap, uri::PathAndQuery};
use sampan_wire::policy::Method;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status, metadata::MetadataMap};

/// Looks at calls on their way: changes their metadata, refuses them, hears how they ended.
///
/// Added by [`ChannelBuilder::intercept`](crate::ChannelBuilder::intercept). Whatever it waits for
/// counts against the call's deadline. A status that it gives is the call's own, as it is.
///
/// ```
/// use sampan_client::{Interceptor, OutgoingCall};
/// use tonic::Status;
///
/// struct Tokens;
///
/// # async fn fetch_token(_: &str) -> Result<String, Status> { Ok("Bearer x".into()) }
/// #[tonic::async_trait]
/// impl Interceptor for Tokens {
///     async fn before_call(&self, call: &mut OutgoingCall) -> Result<(), Status> {
///         let token = fetch_token(call.path()).await?;
///         let token = token.parse().map_err(|_| Status::internal("the token is no text"))?;
///         call.metadata_mut().insert("authorization", token);
///         Ok(())
///     }
/// }
/// ```
#[tonic::async_trait]
pub trait Interceptor: Send + Sync + 'static {
    /// Once for each call, before it is looked for in the cache.
    ///
    /// # Errors
    ///
    /// When the call is refused.
    async fn before_call(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// Before each attempt. What it changes holds for that attempt alone, and the cache does not
    /// see it: what tells callers apart belongs to [`before_call`](Self::before_call).
    ///
    /// # Errors
    ///
    /// When the call is to end here.
    async fn before_attempt(&self, call: &mut OutgoingCall) -> Result<(), Status> {
        let _ = call;
        Ok(())
    }

    /// Once for each call that is over: at its last trailer, at its failure, or when it is dropped.
    /// Must not block.
    fn after_call(&self, call: &EndedCall<'_>) {
        let _ = call;
    }
}

/// A call, or an attempt of it, that is about to be sent.
#[derive(Debug)]
pub struct OutgoingCall {
    pub(crate) path: PathAndQuery,
    pub(crate) method: Option<&'static Method>,
    pub(crate) metadata: MetadataMap,
    pub(crate) previous_attempts: u32,
    pub(crate) deadline: Option<Instant>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug)]
pub struct EndedCall<'a> {
    pub(crate) path: &'a str,
    pub(crate) method: Option<&'static Method>,
    pub(crate) code: Code,
    pub(crate) elapsed: Duration,
    pub(crate) trailers: Option<&'a HeaderMap>,
}

// === impl OutgoingCall ===

impl OutgoingCall {
    /// `/package.Service/Method`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Its kind, whether it may be repeated, its policy, and where it is
    /// [described](Method::descriptor_set). None where neither a generated client nor the channel's
    /// settings tell.
    #[must_use]
    pub const fn method(&self) -> Option<&'static Method> {
        self.method
    }

    /// What the caller sends with it.
    #[must_use]
    pub const fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    /// What the caller sends with it, to be changed.
    pub const fn metadata_mut(&mut self) -> &mut MetadataMap {
        &mut self.metadata
    }

    /// How many attempts went before this one; 0 also before the call.
    #[must_use]
    pub const fn previous_attempts(&self) -> u32 {
        self.previous_attempts
    }

    /// When the call must have ended. Told before the call, not before its attempts.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

// === impl EndedCall ===

impl<'a> EndedCall<'a> {
    /// `/package.Service/Method`.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// Its kind, whether it may be repeated, its policy.
    #[must_use]
    pub const fn method(&self) -> Option<&'static Method> {
        self.method
    }

    /// Its status; CANCELLED when it was dropped.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// From its beginning.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What the server sent behind its answer, where it sent more than OK.
    #[must_use]
    pub const fn trailers(&self) -> Option<&'a HeaderMap> {
        self.trailers
    }
}

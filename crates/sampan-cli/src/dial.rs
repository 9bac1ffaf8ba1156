//! From flags to a channel and the types of what lies behind it.

use crate::{
    args::{self, ConnectionArgs, SchemaArgs},
    config::env,
    failure::{self, Failure},
    schema::{Reflection, Schema},
};
use sampan_client::Channel;
use sampan_transport::{Certificate, ClientTls, ConnectError, Identity, Spoken};
use std::{error::Error as StdError, path::Path, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Status, metadata::MetadataMap};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A channel to what the user named.
#[derive(Clone, Debug)]
pub(crate) struct Dialed {
    pub(crate) channel: Channel,
    pub(crate) context: Context,
}

/// What holds for every call of a run.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    address: String,
    plaintext: bool,
    /// When `--max-time` is up.
    deadline: Option<Instant>,
}

/// Where types come from and, unless files are all there is, where calls go.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) dialed: Option<Dialed>,
    pub(crate) schema: Schema,
    /// The server's reflection, whether or not `schema` uses it.
    pub(crate) reflection: Option<Reflection>,
}

/// Reads the files that are named and prepares a channel; nothing is connected yet.
pub(crate) fn open(
    connection: &ConnectionArgs,
    schema: &SchemaArgs,
    address: Option<&str>,
) -> Result<Opened, Failure> {
    if !schema.uses_reflection() && !schema.has_files() {
        return Err(Failure::usage(
            "without reflection types need --proto or --protoset",
        ));
    }
    let dialed = address
        .map(|address| dial(connection, address))
        .transpose()?;
    let reflect_metadata = metadata(connection, &schema.reflect_headers)?;
    let reflection = dialed
        .clone()
        .map(|Dialed { channel, context }| Reflection::new(channel, context, reflect_metadata));
    let source = reflection.clone().filter(|_| schema.uses_reflection());
    if source.is_none() && !schema.has_files() {
        return Err(Failure::usage(
            "the line lacks an address, or files by --proto or --protoset",
        ));
    }
    let schema = Schema::open(schema, source)?;
    Ok(Opened {
        dialed,
        schema,
        reflection,
    })
}

/// Prepares a channel; nothing is connected yet.
pub(crate) fn dial(args: &ConnectionArgs, address: &str) -> Result<Dialed, Failure> {
    let target = match address {
        path if args.unix && !path.starts_with("unix:") => format!("unix:{path}"),
        address => address.to_owned(),
    };
    let plaintext = args.plaintext || target.starts_with("http://");
    let mut builder = Channel::configure(&target)
        .connect_timeout(args.connect_timeout.unwrap_or(CONNECT_TIMEOUT));
    if let Some(limit) = args.max_msg_sz {
        builder = builder.max_message_bytes(limit);
    }
    if let Some(authority) = &args.authority {
        builder = builder.authority(authority);
    }
    if !plaintext {
        builder = builder.tls(tls(args)?);
    }
    let channel = builder
        .build()
        .map_err(|error| Failure::runtime(error.to_string()))?;
    let max_time = args.max_time.filter(|limit| !limit.is_zero());
    let deadline = max_time.and_then(|limit| Instant::now().checked_add(limit));
    let context = Context {
        address: address.to_owned(),
        plaintext,
        deadline,
    };
    Ok(Dialed { channel, context })
}

fn tls(args: &ConnectionArgs) -> Result<ClientTls, Failure> {
    let mut tls = ClientTls::new();
    if args.insecure {
        tls = tls.with_insecure_skip_verify();
    }
    if let Some(path) = &args.cacert {
        tls = tls.with_roots(Certificate::from_pem(read(path)?));
    }
    if let (Some(certificate), Some(key)) = (&args.cert, &args.key) {
        tls = tls.with_identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    if let Some(name) = args
        .servername
        .as_deref()
        .or_else(|| args.authority.as_deref().map(host_of))
    {
        tls = tls.with_domain_name(name);
    }
    Ok(tls)
}

/// The host of `host:port`, `[::1]:port` or `host`.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::because(format!("cannot read {}", path.display()), error))
}

/// The headers of `-H` and `more`.
pub(crate) fn metadata(args: &ConnectionArgs, more: &[String]) -> Result<MetadataMap, Failure> {
    let mut metadata = MetadataMap::new();
    for header in args.headers.iter().chain(more) {
        let header = if args.expand_headers {
            args::expand(header, env::variable).map_err(Failure::usage)?
        } else {
            header.clone()
        };
        args::parse_header(&header, &mut metadata).map_err(Failure::usage)?;
    }
    Ok(metadata)
}

// === impl Context ===

impl Context {
    /// Sets what is left of `--max-time` on a request.
    pub(crate) fn apply<T>(&self, request: &mut Request<T>) -> Result<(), Status> {
        let Some(deadline) = self.deadline else {
            return Ok(());
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Status::deadline_exceeded(
                "--max-time was up before the call began",
            ));
        }
        request.set_timeout(left);
        Ok(())
    }

    /// A status as a failure: one that only says that nothing could be connected is not the
    /// server's.
    pub(crate) fn failure(&self, status: Status) -> Failure {
        let cause = find::<ConnectError>(&status);
        let unreachable = find::<sampan_client::Error>(&status)
            .is_some_and(|error| error.is_connect() || error.is_configuration());
        let (said, hint) = match cause {
            Some(cause) => (failure::chain(cause).join(": "), self.hint(cause)),
            None if unreachable => (status.message().to_owned(), None),
            None => return status.into(),
        };
        Failure::because(format!("cannot connect to {}", self.address), said).with_hint(hint)
    }

    /// What to change on the command line.
    fn hint(&self, error: &ConnectError) -> Option<String> {
        let hint = match error {
            ConnectError::NotHttp2(Spoken::Tls) => "it speaks TLS: leave --plaintext away",
            ConnectError::Closed if self.plaintext => "does it want TLS? Leave --plaintext away",
            ConnectError::Tls(error) => match error.to_string() {
                text if text.contains("corrupt message") => "it speaks no TLS: try --plaintext",
                text if text.contains("UnknownIssuer") => {
                    "name the roots that signed its certificate by --cacert FILE; --insecure \
                     accepts any certificate"
                }
                text if text.contains("not valid for name") => {
                    "say what its certificate is for by --authority NAME"
                }
                _ => "does it speak TLS? If not, try --plaintext",
            },
            other => other.hint()?,
        };
        Some(hint.to_owned())
    }
}

/// The first cause of a status that is an `E`.
fn find<E: StdError + 'static>(status: &Status) -> Option<&E> {
    let first = status as &(dyn StdError + 'static);
    std::iter::successors(Some(first), |error| error.source())
        .find_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(plaintext: bool) -> Context {
        Context {
            address: "a:1".to_owned(),
            plaintext,
            deadline: None,
        }
    }

    #[test]
    fn a_connection_that_failed_is_no_status_of_the_server() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let mut status = Status::unavailable("x");
        status.set_source(std::sync::Arc::new(ConnectError::Socket(refused)));
        let failure = context(true).failure(status);
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(
            crate::report::render(&failure),
            "sampan: cannot connect to a:1\n  because: cannot connect: connection refused\n  \
             hint: is it listening?\n"
        );
        assert_eq!(
            context(true).failure(Status::unavailable("x")).exit_code(),
            78
        );
    }

    #[test]
    fn hints_speak_of_flags() {
        let hint = |error, plaintext| context(plaintext).hint(&error).unwrap();
        assert!(hint(ConnectError::NotHttp2(Spoken::Tls), true).contains("--plaintext away"));
        assert!(hint(ConnectError::Closed, true).contains("--plaintext away"));
        let corrupt = std::io::Error::other("received corrupt message of type InvalidContentType");
        assert!(hint(ConnectError::Tls(corrupt), false).contains("try --plaintext"));
    }

    #[test]
    fn the_host_of_an_authority_is_what_a_certificate_is_checked_against() {
        assert_eq!(host_of("a.example:443"), "a.example");
        assert_eq!(host_of("a.example"), "a.example");
        assert_eq!(host_of("[::1]:443"), "[::1]");
    }

    #[tokio::test]
    async fn what_is_left_of_the_time_goes_with_each_request() {
        let mut request = Request::new(());
        let deadline = Instant::now().checked_add(Duration::from_secs(5));
        let context = Context {
            deadline,
            ..context(true)
        };
        context.apply(&mut request).unwrap();
        assert!(request.metadata().get("grpc-timeout").is_some());
        let context = Context {
            deadline: Some(Instant::now()),
            ..context
        };
        assert!(context.apply(&mut request).is_err());
    }
}

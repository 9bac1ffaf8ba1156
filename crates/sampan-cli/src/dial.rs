//! From flags to a channel and the types of what lies behind it.

use crate::{
    args::{self, ConnectionArgs, SchemaArgs},
    config::env,
    failure::{self, Failure},
    schema::{Reflection, Schema, files},
};
use sampan_client::Channel;
use sampan_transport::{Certificate, ClientTls, ConnectError, Identity, Spoken};
use std::{path::Path, time::Duration};
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

/// Reads the files that are named and connects to the address, if there is one.
pub(crate) async fn open(
    connection: &ConnectionArgs,
    schema: &SchemaArgs,
    address: Option<&str>,
) -> Result<Opened, Failure> {
    if !schema.uses_reflection() && !schema.has_files() {
        return Err(Failure::usage(
            "without reflection types need --proto or --protoset",
        ));
    }
    if address.is_none() && !schema.has_files() {
        return Err(Failure::usage(
            "the line lacks an address, or files by --proto or --protoset",
        ));
    }
    let files = files::load(schema)?;
    let reflect_metadata = metadata(connection, &schema.reflect_headers)?;
    let dialed = match address {
        Some(address) => Some(dial(connection, address).await?),
        None => None,
    };
    let reflection = dialed
        .clone()
        .map(|Dialed { channel, context }| Reflection::new(channel, context, reflect_metadata));
    let source = reflection.clone().filter(|_| schema.uses_reflection());
    Ok(Opened {
        dialed,
        schema: Schema::new(files, source),
        reflection,
    })
}

/// Connects to an address.
pub(crate) async fn dial(args: &ConnectionArgs, address: &str) -> Result<Dialed, Failure> {
    let max_time = args.max_time.filter(|limit| !limit.is_zero());
    let deadline = max_time.and_then(|limit| Instant::now().checked_add(limit));
    let limit = args
        .connect_timeout
        .filter(|limit| !limit.is_zero())
        .unwrap_or(CONNECT_TIMEOUT);
    let limit = max_time.map_or(limit, |max_time| max_time.min(limit));

    let target = match address {
        path if args.unix && !path.starts_with("unix:") => format!("unix:{path}"),
        address => address.to_owned(),
    };
    let plaintext = args.plaintext || target.starts_with("http://");
    let mut builder = Channel::configure(&target).connect_timeout(limit);
    if let Some(authority) = &args.authority {
        builder = builder.authority(authority);
    }
    if let Some(user_agent) = &args.user_agent {
        builder = builder.user_agent(user_agent);
    }
    if !plaintext {
        builder = builder.tls(tls(args)?);
    }
    let channel = builder
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    match tokio::time::timeout(limit, channel.connect()).await {
        Ok(Ok(())) => Ok(Dialed {
            channel,
            context: Context { deadline },
        }),
        Ok(Err(error)) => Err(unreachable(address, plaintext, &error)),
        Err(_) => Err(
            Failure::runtime(format!("cannot connect to {address} within {limit:?}")).with_hint(
                Some("is the address right, and no firewall in between?".to_owned()),
            ),
        ),
    }
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
}

/// Why nothing could be connected, and what to change on the command line.
fn unreachable(address: &str, plaintext: bool, error: &sampan_client::Error) -> Failure {
    let cause = failure::causes(error).find_map(|cause| cause.downcast_ref::<ConnectError>());
    let what = format!("cannot connect to {address}");
    match cause {
        Some(cause) => Failure::because(what, failure::chain(cause).join(": "))
            .with_hint(hint(cause, plaintext).map(str::to_owned)),
        None => Failure::because(what, error.to_string()),
    }
}

fn hint(error: &ConnectError, plaintext: bool) -> Option<&'static str> {
    Some(match error {
        ConnectError::NotHttp2(Spoken::Tls) => "it speaks TLS: leave --plaintext away",
        ConnectError::Closed if plaintext => "does it want TLS? Leave --plaintext away",
        ConnectError::Tls(error) => match error.to_string() {
            text if text.contains("corrupt message") => "it speaks no TLS: try --plaintext",
            text if text.contains("UnknownIssuer") => {
                "name the roots that signed its certificate by --cacert FILE; --insecure accepts \
                 any certificate"
            }
            text if text.contains("not valid for name") => {
                "say what its certificate is for by --authority NAME"
            }
            text if text.contains("CaUsedAsEndEntity") => {
                "its certificate is a root itself (CA:TRUE): sign one for the server with it; \
                 --insecure accepts any certificate"
            }
            text if text.contains("invalid peer certificate") => {
                "--insecure accepts any certificate"
            }
            _ => "does it speak TLS? If not, try --plaintext",
        },
        other => other.hint()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_speak_of_flags() {
        let tls_to_plaintext = std::io::Error::other("received corrupt message of type X");
        for (error, plaintext, expected) in [
            (
                ConnectError::NotHttp2(Spoken::Tls),
                true,
                "--plaintext away",
            ),
            (ConnectError::Closed, true, "--plaintext away"),
            (
                ConnectError::Tls(tls_to_plaintext),
                false,
                "try --plaintext",
            ),
        ] {
            let hint = hint(&error, plaintext).unwrap();
            assert!(hint.contains(expected), "{hint}");
        }
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
        let context = Context { deadline };
        context.apply(&mut request).unwrap();
        assert!(request.metadata().get("grpc-timeout").is_some());
        let context = Context {
            deadline: Some(Instant::now()),
        };
        assert!(context.apply(&mut request).is_err());
    }
}

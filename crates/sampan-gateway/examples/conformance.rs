//! Runs the Connect conformance suite against a gateway that stands before the suite's own gRPC
//! server. `tests/conformance/run` installs the suite and calls this.
//!
//! `conformance suite BIN PROTO CONFIG`: BIN holds the suite's programs, PROTO its .proto files.
//! `conformance gateway UPSTREAM PROTO`: what the suite starts, once for each set of settings.

use http::Response;
use http_body_util::BodyExt;
use prost::Message;
use sampan_client::Channel;
use sampan_gateway::{Gateway, Upstream};
use sampan_transport::{PeerInfo, Protocols, ServeSettings, serve_connection};
use sampan_wire::policy::MethodKind;
use std::{
    error::Error,
    io::{self, Read, Write},
    process::{Command, ExitCode, Stdio},
};
use tokio::net::TcpListener;
use tower::util::{MapRequest, MapResponse};

const SERVICE: &str = "connectrpc/conformance/v1/service.proto";
const PROTOCOL_GRPC: i32 = 2;
const HTTP_VERSION_2: i32 = 2;

/// `connectrpc.conformance.v1.ServerCompatRequest`, without TLS.
#[derive(Clone, PartialEq, Message)]
struct ServerCompatRequest {
    #[prost(int32, tag = "1")]
    protocol: i32,
    #[prost(int32, tag = "2")]
    http_version: i32,
    #[prost(uint32, tag = "6")]
    message_receive_limit: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ServerCompatResponse {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(uint32, tag = "2")]
    port: u32,
}

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["suite", programs, proto, config] => suite(programs, proto, config),
        ["gateway", upstream, proto] => gateway(upstream, proto),
        _ => Err("conformance suite BIN PROTO CONFIG | conformance gateway UPSTREAM PROTO".into()),
    }
}

/// Starts the upstream, runs the suite to its end, and ends the upstream.
fn suite(programs: &str, proto: &str, config: &str) -> Result<ExitCode, Failure> {
    let mut upstream = Command::new(format!("{programs}/referenceserver"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut run = || -> Result<ExitCode, Failure> {
        let (Some(input), Some(output)) = (&mut upstream.stdin, &mut upstream.stdout) else {
            return Err("the upstream has no pipes".into());
        };
        let asked = ServerCompatRequest {
            protocol: PROTOCOL_GRPC,
            http_version: HTTP_VERSION_2,
            message_receive_limit: 64 * 1024 * 1024,
        };
        write(input, &asked)?;
        let at: ServerCompatResponse = read(output)?;
        let status = Command::new(format!("{programs}/connectconformance"))
            .args(["--mode", "server", "--conf", config, "--"])
            .arg(std::env::current_exe()?)
            .args(["gateway", &format!("{}:{}", at.host, at.port), proto])
            .status()?;
        let code = u8::try_from(status.code().unwrap_or(1))?;
        Ok(ExitCode::from(code))
    };
    let ran = run();
    upstream.kill()?;
    upstream.wait()?;
    ran
}

/// Serves until the suite ends the process.
#[tokio::main]
async fn gateway(upstream: &str, proto: &str) -> Result<ExitCode, Failure> {
    let asked: ServerCompatRequest = read(&mut io::stdin())?;
    let mut compiler = protox::Compiler::new([proto])?;
    compiler.include_imports(true);
    compiler.open_file(SERVICE)?;
    let channel = MapRequest::new(
        Channel::dial(upstream)?,
        |mut request: http::Request<tonic::body::Body>| {
            // The suite wants no deadline where its client set none; the channel sets one for
            // calls that it knows to be unary.
            request.extensions_mut().remove::<MethodKind>();
            request
        },
    );
    let upstream = Upstream::channel(upstream, channel)
        .with_descriptor_set(compiler.encode_file_descriptor_set());
    let mut builder = Gateway::builder().upstream(upstream);
    if asked.message_receive_limit > 0 {
        builder = builder.max_request_bytes(usize::try_from(asked.message_receive_limit)?);
    }
    let gateway = builder.build()?;
    let gateway = MapResponse::new(gateway, |answer: Response<_>| {
        answer.map(BodyExt::boxed_unsync)
    });

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = ServerCompatResponse {
        host: "127.0.0.1".to_owned(),
        port: listener.local_addr()?.port().into(),
    };
    write(&mut io::stdout(), &at)?;
    loop {
        let (socket, _) = listener.accept().await?;
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let settings = ServeSettings {
                protocols: Protocols::Http1AndHttp2,
                ..ServeSettings::default()
            };
            let peer = PeerInfo::of(&socket);
            let drain = std::future::pending();
            // Clients that break their connection are part of the suite.
            let _ = serve_connection(socket, peer, gateway, &settings, drain).await;
        });
    }
}

/// A message behind its length, as the suite's programs speak to one another.
fn read<M: Message + Default>(from: &mut impl Read) -> Result<M, Failure> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let mut bytes = vec![0; usize::try_from(u32::from_be_bytes(len))?];
    from.read_exact(&mut bytes)?;
    Ok(M::decode(bytes.as_slice())?)
}

fn write(to: &mut impl Write, message: &impl Message) -> Result<(), Failure> {
    let bytes = message.encode_to_vec();
    to.write_all(&u32::try_from(bytes.len())?.to_be_bytes())?;
    to.write_all(&bytes)?;
    Ok(to.flush()?)
}

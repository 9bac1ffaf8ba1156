//! Flags that several verbs share: how to reach a server, and where its types are found.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use clap::Args;
use std::{path::PathBuf, time::Duration};
use tonic::metadata::{
    AsciiMetadataKey, AsciiMetadataValue, BinaryMetadataKey, BinaryMetadataValue, MetadataMap,
};

/// Both spellings are met: with padding and, as gRPC sends it, without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How to reach a server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// Speaks HTTP/2 without TLS. Without this flag TLS is used
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// Uses TLS but accepts any certificate. Not the same as --plaintext: the bytes are
    /// encrypted, but whom they reach is not known
    #[arg(
        long,
        visible_alias = "insecure-skip-verify",
        conflicts_with = "plaintext"
    )]
    pub(crate) insecure: bool,
    /// Trusts these roots (PEM) instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Shows this certificate chain (PEM) to the server; needs --key
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        conflicts_with = "plaintext"
    )]
    pub(crate) cert: Option<PathBuf>,
    /// The private key (PEM) of --cert
    #[arg(
        long,
        value_name = "FILE",
        requires = "cert",
        conflicts_with = "plaintext"
    )]
    pub(crate) key: Option<PathBuf>,
    /// Sends this :authority; with TLS also the name that the certificate must carry
    #[arg(long, value_name = "NAME")]
    pub(crate) authority: Option<String>,
    /// The name that the certificate must carry
    #[arg(long, value_name = "NAME")]
    pub(crate) servername: Option<String>,
    /// The address is the path of a Unix socket
    #[arg(long)]
    pub(crate) unix: bool,
    /// Gives up connecting after so many seconds (10)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) connect_timeout: Option<Duration>,
    /// Gives up the whole call after so many seconds; the server is told. 0: never
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) max_time: Option<Duration>,
    /// Takes messages of at most so many bytes (4194304)
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_msg_sz: Option<usize>,
    /// Sends this header with every request, those for reflection too; repeatable
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Stands before sampan's own name in the header user-agent
    #[arg(long, value_name = "NAME")]
    pub(crate) user_agent: Option<String>,
    /// Replaces ${NAME} in headers by that environment variable
    #[arg(long)]
    pub(crate) expand_headers: bool,
    /// Tells on standard error what is sent and received
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// As --verbose, with the size and time of each message
    #[arg(long)]
    pub(crate) vv: bool,
}

/// Where types are found: reflection unless files are named.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Types")]
pub(crate) struct SchemaArgs {
    /// Takes types from this .proto file; repeatable
    #[arg(long = "proto", value_name = "FILE", conflicts_with = "protosets")]
    pub(crate) protos: Vec<PathBuf>,
    /// Looks here for .proto files and what they import; repeatable
    #[arg(long = "import-path", value_name = "FOLDER")]
    pub(crate) import_paths: Vec<PathBuf>,
    /// Takes types from this encoded FileDescriptorSet; repeatable
    #[arg(long = "protoset", value_name = "FILE")]
    pub(crate) protosets: Vec<PathBuf>,
    /// Asks the server for types, beside the files if any are named; true unless files are named
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) use_reflection: Option<bool>,
    /// Sends this header with requests for reflection only; repeatable
    #[arg(long = "reflect-header", value_name = "NAME: VALUE")]
    pub(crate) reflect_headers: Vec<String>,
}

// === impl SchemaArgs ===

impl SchemaArgs {
    pub(crate) fn has_files(&self) -> bool {
        !self.protos.is_empty() || !self.protosets.is_empty()
    }

    pub(crate) fn uses_reflection(&self) -> bool {
        self.use_reflection.unwrap_or(!self.has_files())
    }
}

/// Seconds with a fraction; 0 and less stand for no limit, as in grpcurl.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "want seconds, such as 5 or 0.5".to_owned())?;
    if seconds.is_nan() {
        return Err("want seconds, such as 5 or 0.5".to_owned());
    }
    Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|error| error.to_string())
}

/// Puts what `lookup` gives for NAME where `header` says `${NAME}`.
pub(crate) fn expand(
    header: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = header;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("\"{header}\" has a ${{ without its }}"))?;
        let value =
            lookup(name).ok_or_else(|| format!("environment variable {name} is not set"))?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Puts `name: value` into `metadata`; the value of a name that ends in `-bin` is base64.
pub(crate) fn parse_header(header: &str, metadata: &mut MetadataMap) -> Result<(), String> {
    let (name, value) = header.split_once(':').unwrap_or((header, ""));
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    if sampan_wire::metadata::is_reserved(&name) {
        return Err(format!("header \"{name}\" is set by gRPC itself"));
    }
    if name.ends_with("-bin") {
        let key: BinaryMetadataKey = name
            .parse()
            .map_err(|_| format!("\"{name}\" is no name of a header"))?;
        let bytes = BASE64
            .decode(value)
            .map_err(|_| format!("the value of \"{name}\" is not base64"))?;
        let value = BinaryMetadataValue::from_bytes(&bytes);
        metadata.append_bin(key, value);
    } else {
        let key: AsciiMetadataKey = name
            .parse()
            .map_err(|_| format!("\"{name}\" is no name of a header"))?;
        let value: AsciiMetadataValue = value
            .parse()
            .ok()
            .filter(|_| value.bytes().all(|byte| matches!(byte, b' '..=b'~')))
            .ok_or_else(|| format!("the value of \"{name}\" is not printable ASCII"))?;
        metadata.append(key, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_no_limit_is_zero() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("-1"), Ok(Duration::ZERO));
        for text in ["", "5s", "NaN", "inf"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn variables_in_a_header_are_replaced() {
        let lookup = |name: &str| (name == "TOKEN").then(|| "t0k".to_owned());
        assert_eq!(
            expand("auth: ${TOKEN}-${TOKEN}$", lookup).unwrap(),
            "auth: t0k-t0k$"
        );
        assert!(expand("auth: ${OTHER}", lookup).is_err());
        assert!(expand("auth: ${TOKEN", lookup).is_err());
    }

    #[test]
    fn a_header_is_a_name_and_all_that_follows_the_first_colon() {
        let mut metadata = MetadataMap::new();
        parse_header("Authorization: Bearer a:b ", &mut metadata).unwrap();
        parse_header("x-empty", &mut metadata).unwrap();
        assert_eq!(metadata.get("authorization").unwrap(), "Bearer a:b");
        assert_eq!(metadata.get("x-empty").unwrap(), "");
    }

    #[test]
    fn a_binary_header_is_base64_with_or_without_padding() {
        let mut metadata = MetadataMap::new();
        for value in ["AAE=", "AAE"] {
            parse_header(&format!("x-bin: {value}"), &mut metadata).unwrap();
        }
        for value in metadata.get_all_bin("x-bin") {
            assert_eq!(value.to_bytes().unwrap().as_ref(), [0, 1]);
        }
        assert!(parse_header("x-bin: %%", &mut metadata).is_err());
    }

    #[test]
    fn what_grpc_sets_itself_and_what_is_no_name_is_refused() {
        for header in [
            "content-type: x",
            "te: x",
            "grpc-status: 0",
            "a b: c",
            ": c",
            "a: \u{e9}",
        ] {
            assert!(
                parse_header(header, &mut MetadataMap::new()).is_err(),
                "{header}"
            );
        }
    }
}

//! The verbs' own flags, and what their words mean.

use super::connection::{ConnectionArgs, SchemaArgs, seconds};
use crate::failure::Failure;
use clap::{Args, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// `sampan call`
#[derive(Args, Debug)]
pub(crate) struct CallArgs {
    /// host:port and pkg.Service/Method; or, as in grpcurl, `list` or `describe` and a symbol
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,
    /// The request as JSON; `@` reads it from standard input. For a stream of requests: one
    /// message after the other, each sent as soon as it is read
    #[arg(short, long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// Sends this header with the call only, not with reflection; repeatable
    #[arg(long = "rpc-header", value_name = "NAME: VALUE")]
    pub(crate) rpc_headers: Vec<String>,
    /// How requests are written and responses printed; text messages are separated by the
    /// byte 0x1e
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
    /// Prints fields that have their default value, too
    #[arg(long)]
    pub(crate) emit_defaults: bool,
    /// Skips fields of the request that its type does not have
    #[arg(long)]
    pub(crate) allow_unknown_fields: bool,
    /// Prints the status of a failed call as JSON, on standard error
    #[arg(long)]
    pub(crate) format_error: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// proto3 JSON
    #[default]
    Json,
    /// protobuf's text format
    Text,
}

/// `sampan list`
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// host:port, and a service to list the methods of; no address is needed with files
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
}

/// `sampan describe`
#[derive(Args, Debug)]
pub(crate) struct DescribeArgs {
    /// host:port, and what to describe (all services without it); no address is needed with files
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,
    /// Shows a message also as JSON with every field, to fill in for --data
    #[arg(long)]
    pub(crate) msg_template: bool,
    /// Shows what holds for each method of a Sampan client (deadline, retries, sizes, cache) and
    /// who said so, instead of the .proto text
    #[arg(long)]
    pub(crate) policy: bool,
    /// Takes this service config (JSON) into account; what it has wrong is exit code 64
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub(crate) service_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
    #[command(flatten)]
    pub(crate) schema: SchemaArgs,
}

/// `sampan health`
#[derive(Args, Debug)]
pub(crate) struct HealthArgs {
    /// host:port
    pub(crate) address: String,
    /// The service to ask for; without it the server as a whole
    #[arg(default_value = "")]
    pub(crate) service: String,
    /// Prints every change until the server ends the stream
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

/// `sampan gateway`
#[derive(Args, Debug)]
pub(crate) struct GatewayArgs {
    /// Takes browsers' calls at this address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,
    /// Sends calls to this target; `pkg.Service=TARGET` sends only that service's. Repeatable
    #[arg(long = "upstream", value_name = "TARGET", required = true)]
    pub(crate) upstreams: Vec<String>,
    /// Takes types from this encoded FileDescriptorSet instead of the upstream's reflection;
    /// repeatable
    #[arg(long = "protoset", value_name = "FILE")]
    pub(crate) protosets: Vec<PathBuf>,
    /// Lets pages of this origin call, such as `https://app.example`; repeatable
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    pub(crate) allowed_origins: Vec<String>,
    /// Goes on taking calls for so many seconds when told to stop, so that balancers notice
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) lame_duck: Duration,
    /// Stops after so many seconds in all, whatever is still under way
    #[arg(long, value_name = "SECONDS", default_value = "25", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
}

/// What the words of grpcurl's own order ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Call {
        address: String,
        method: String,
    },
    List {
        address: Option<String>,
        service: Option<String>,
    },
    Describe {
        address: Option<String>,
        symbol: Option<String>,
    },
}

// === impl Task ===

impl Task {
    /// Reads the words of `sampan call`: `ADDRESS METHOD`, `[ADDRESS] list [SERVICE]` or
    /// `[ADDRESS] describe [SYMBOL]`.
    pub(crate) fn of_call(words: &[String]) -> Result<Self, Failure> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let owned = |word: &str| word.to_owned();
        match words[..] {
            [] => Err(missing("an address and a method")),
            ["list"] => Ok(Self::List {
                address: None,
                service: None,
            }),
            ["list", service] => Ok(Self::List {
                address: None,
                service: Some(owned(service)),
            }),
            ["describe"] => Ok(Self::Describe {
                address: None,
                symbol: None,
            }),
            ["describe", symbol] => Ok(Self::Describe {
                address: None,
                symbol: Some(owned(symbol)),
            }),
            [_] => Err(missing(
                "a method, such as pkg.Service/Method, after the address",
            )),
            [address, "list", ref rest @ ..] if rest.len() < 2 => Ok(Self::List {
                address: Some(owned(address)),
                service: rest.first().copied().map(owned),
            }),
            [address, "describe", ref rest @ ..] if rest.len() < 2 => Ok(Self::Describe {
                address: Some(owned(address)),
                symbol: rest.first().copied().map(owned),
            }),
            [address, method] => Ok(Self::Call {
                address: owned(address),
                method: owned(method),
            }),
            _ => Err(too_many(&words)),
        }
    }

    /// Reads the words of `sampan list` and `sampan describe`: an address, a symbol. With files
    /// a single word is a symbol unless it looks like an address.
    pub(crate) fn address_and_symbol(
        words: &[String],
        has_files: bool,
    ) -> Result<(Option<String>, Option<String>), Failure> {
        match words {
            [] if has_files => Ok((None, None)),
            [] => Err(missing("an address, or files by --proto or --protoset")),
            [word] if has_files && !word.contains([':', '/']) => Ok((None, Some(word.clone()))),
            [address] => Ok((Some(address.clone()), None)),
            [address, symbol] => Ok((Some(address.clone()), Some(symbol.clone()))),
            _ => Err(too_many(words)),
        }
    }
}

fn missing(what: &str) -> Failure {
    Failure::usage(format!("the line lacks {what}"))
}

fn too_many(words: &[impl AsRef<str>]) -> Failure {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    Failure::usage(format!("too many words: {}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_order_of_grpcurl_is_understood() {
        let some = |text: &str| Some(text.to_owned());
        for (text, task) in [
            (
                "a:1 p.S/M",
                Task::Call {
                    address: "a:1".into(),
                    method: "p.S/M".into(),
                },
            ),
            (
                "a:1 list",
                Task::List {
                    address: some("a:1"),
                    service: None,
                },
            ),
            (
                "a:1 list p.S",
                Task::List {
                    address: some("a:1"),
                    service: some("p.S"),
                },
            ),
            (
                "list p.S",
                Task::List {
                    address: None,
                    service: some("p.S"),
                },
            ),
            (
                "a:1 describe",
                Task::Describe {
                    address: some("a:1"),
                    symbol: None,
                },
            ),
            (
                "a:1 describe p.M",
                Task::Describe {
                    address: some("a:1"),
                    symbol: some("p.M"),
                },
            ),
        ] {
            assert_eq!(Task::of_call(&words(text)).unwrap(), task, "{text}");
        }
    }

    #[test]
    fn too_few_and_too_many_words_are_faults_of_use() {
        for text in ["", "a:1", "a:1 p.S/M x", "a:1 list p.S x", "describe a b c"] {
            assert_eq!(
                Task::of_call(&words(text)).unwrap_err().exit_code(),
                2,
                "{text}"
            );
        }
        for text in ["", "a b c"] {
            let fault = Task::address_and_symbol(&words(text), false).unwrap_err();
            assert_eq!(fault.exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn with_files_a_single_word_is_a_symbol_unless_it_looks_like_an_address() {
        let read = |text, files| Task::address_and_symbol(&words(text), files).unwrap();
        assert_eq!(read("p.S", true), (None, Some("p.S".into())));
        assert_eq!(read("a:1", true), (Some("a:1".into()), None));
        assert_eq!(read("host", false), (Some("host".into()), None));
        assert_eq!(
            read("a:1 p.S", true),
            (Some("a:1".into()), Some("p.S".into()))
        );
    }
}

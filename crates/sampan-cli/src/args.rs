//! The command line: raw arguments → clap's structs → checked values.

mod connection;
mod fault;
mod normalise;
mod verbs;

use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
pub(crate) use connection::{ConnectionArgs, SchemaArgs, expand, parse_header};
use normalise::{Flag, Takes};
use std::ffi::OsString;
pub(crate) use verbs::{CallArgs, DescribeArgs, Format, GatewayArgs, HealthArgs, ListArgs, Task};

/// Calls, inspects and fronts gRPC services.
///
/// A pasted grpcurl line works with `sampan call` in place of `grpcurl`; flags take one dash
/// or two.
#[derive(Debug, Parser)]
#[command(name = "sampan", version, after_help = crate::exit::HELP, arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Calls a method with JSON, as grpcurl does
    #[command(args_override_self = true, after_help = crate::exit::HELP)]
    #[command(override_usage = "sampan call [OPTIONS] ADDRESS METHOD\n       \
        sampan call [OPTIONS] [ADDRESS] list [SERVICE]\n       \
        sampan call [OPTIONS] [ADDRESS] describe [SYMBOL]")]
    Call(Box<CallArgs>),
    /// Lists the services of a server, or the methods of one service
    #[command(args_override_self = true)]
    #[command(override_usage = "sampan list [OPTIONS] [ADDRESS] [SERVICE]")]
    List(Box<ListArgs>),
    /// Shows services, methods, messages and enums as .proto text
    #[command(args_override_self = true)]
    #[command(override_usage = "sampan describe [OPTIONS] [ADDRESS] [SYMBOL]")]
    Describe(Box<DescribeArgs>),
    /// Asks grpc.health.v1 whether a server or one of its services is serving
    #[command(args_override_self = true)]
    Health(Box<HealthArgs>),
    /// Serves browsers: gRPC-Web, Connect and gRPC in front of gRPC services
    #[command(args_override_self = true)]
    Gateway(Box<GatewayArgs>),
}

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help or the version was asked for: goes to standard output.
    Asked(String),
    /// The line is wrong.
    Wrong(crate::failure::Failure),
}

/// Reads a command line, without the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Verb, Stop> {
    let command = Cli::command();
    let flags = flags_of(&command);
    let verbs: Vec<_> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    let line = std::iter::once(OsString::from("sampan")).chain(normalise::normalise(args, &flags));
    command
        .try_get_matches_from(line)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map(|cli| cli.verb)
        .map_err(|error| fault::stop(&error, &flags, &verbs))
}

/// Every flag of every verb; a name means the same in all of them.
fn flags_of(command: &clap::Command) -> Vec<Flag> {
    let mut flags = vec![
        Flag {
            long: "help".to_owned(),
            aliases: vec!["h".to_owned()],
            takes: Takes::Nothing,
        },
        Flag {
            long: "version".to_owned(),
            aliases: vec!["V".to_owned()],
            takes: Takes::Nothing,
        },
    ];
    for arg in command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
    {
        let Some(long) = arg.get_long() else { continue };
        if flags.iter().any(|flag| flag.long == long) {
            continue;
        }
        let aliases = arg
            .get_all_aliases()
            .unwrap_or_default()
            .into_iter()
            .map(str::to_owned);
        flags.push(Flag {
            long: long.to_owned(),
            aliases: aliases.chain(arg.get_short().map(String::from)).collect(),
            takes: takes(arg),
        });
    }
    flags
}

fn takes(arg: &clap::Arg) -> Takes {
    match arg.get_action() {
        _ if arg.is_require_equals_set() => Takes::Boolean,
        ArgAction::Set | ArgAction::Append => Takes::Value,
        _ => Takes::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn line(text: &str) -> Result<Verb, Stop> {
        parse(text.split_whitespace().map(OsString::from))
    }

    fn failure(text: &str) -> Failure {
        match line(text) {
            Err(Stop::Wrong(failure)) => failure,
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_name_takes_a_value_in_every_verb_or_in_none() {
        let command = Cli::command();
        let flags = flags_of(&command);
        for arg in command
            .get_subcommands()
            .flat_map(clap::Command::get_arguments)
        {
            let Some(long) = arg.get_long() else { continue };
            let flag = flags.iter().find(|flag| flag.long == long).unwrap();
            assert_eq!(flag.takes, takes(arg), "{long}");
        }
    }

    #[test]
    fn flags_of_grpcurl_are_understood_before_and_after_the_address() {
        let Ok(Verb::Call(args)) = line(
            "call -plaintext -H a:1 -H b:2 -rpc-header c:3 -max-time 1.5 -emit-defaults \
             -proto a.proto -proto b.proto -import-path . localhost:1 p.S/M -d {} -v",
        ) else {
            panic!("not understood")
        };
        assert!(args.connection.plaintext && args.connection.verbose && args.emit_defaults);
        assert_eq!(args.connection.headers, ["a:1", "b:2"]);
        assert_eq!(args.schema.protos.len(), 2);
        assert_eq!(
            args.connection.max_time,
            Some(std::time::Duration::from_millis(1500))
        );
        assert_eq!(args.words, ["localhost:1", "p.S/M"]);
        assert_eq!(args.data.as_deref(), Some("{}"));
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts() {
        let Ok(Verb::Call(args)) = line("call -v -v -d 1 -d 2 a:1 s") else {
            panic!("not understood")
        };
        assert_eq!(args.data.as_deref(), Some("2"));
    }

    #[test]
    fn an_unknown_flag_names_what_was_meant() {
        for (text, meant) in [
            ("call -plantext a:1 s", "--plaintext"),
            ("call --emit-default a:1 s", "--emit-defaults"),
            ("gateway --lisen 0.0.0.0:1", "--listen"),
            ("list -protset x a:1", "--protoset"),
            ("--versoin", "--version"),
        ] {
            match failure(text) {
                Failure::Unknown {
                    meant: Some(found), ..
                } => assert_eq!(found, meant, "{text}"),
                other => panic!("{text} gave {other:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_verb_names_what_was_meant() {
        match failure("cal a:1 s") {
            Failure::Unknown {
                meant: Some(meant), ..
            } => assert_eq!(meant, "call"),
            other => panic!("{other:?}"),
        }
        assert_eq!(failure("frobnicate").exit_code(), 64);
    }

    #[test]
    fn what_is_missing_or_contradicts_itself_is_a_fault_of_use() {
        for text in [
            "call -plaintext -insecure a:1 s",
            "call -max-time soon a:1 s",
            "call -format xml a:1 s",
            "call -max-time",
            "health",
            "gateway",
        ] {
            assert_eq!(failure(text).exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn help_and_version_are_no_faults() {
        for text in ["--help", "-help", "-h", "call -help", "-version"] {
            assert!(matches!(line(text), Err(Stop::Asked(_))), "{text}");
        }
    }
}

//! What clap has to say about a wrong line, as a failure with the documented exit code.

use super::{Flag, Stop};
use crate::failure::Failure;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use sampan_wire::suggest;

/// `flags` and `verbs` are all there are.
pub(super) fn stop(error: &clap::Error, flags: &[Flag], verbs: &[String]) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Asked(error.to_string()),
        ErrorKind::UnknownArgument => match context(error, ContextKind::InvalidArg) {
            Some(flag) if flag.starts_with('-') => Stop::Wrong(unknown_flag(flag, flags)),
            _ => Stop::Wrong(usage(error)),
        },
        ErrorKind::InvalidSubcommand => {
            let verb = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            Stop::Wrong(Failure::Unknown {
                what: format!("unknown verb \"{verb}\"; see sampan --help"),
                meant: suggest::nearest(verb, verbs.iter().map(String::as_str)).map(str::to_owned),
            })
        }
        _ => Stop::Wrong(usage(error)),
    }
}

fn unknown_flag(written: &str, flags: &[Flag]) -> Failure {
    let name = written.trim_start_matches('-');
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    let known = flags
        .iter()
        .flat_map(|flag| std::iter::once(&flag.long).chain(&flag.aliases))
        .map(String::as_str)
        // One letter is near to everything short.
        .filter(|known| known.len() > 1);
    // A flag that exists is unknown only where it stands.
    let misplaced = known.clone().any(|known| known == name);
    Failure::Unknown {
        what: if misplaced {
            format!("flag --{name} does not belong to this verb; see its --help")
        } else {
            format!("unknown flag --{name}")
        },
        meant: (!misplaced)
            .then(|| suggest::nearest(name, known))
            .flatten()
            .map(|known| format!("--{known}")),
    }
}

/// Clap's own words, without its prefix.
fn usage(error: &clap::Error) -> Failure {
    let text = error.to_string();
    Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end())
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

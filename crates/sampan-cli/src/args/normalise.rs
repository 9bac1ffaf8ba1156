//! Turns a command line as Go's flag package reads it into one that clap reads.
//!
//! | written | becomes |
//! |---|---|
//! | `-plaintext`, `--plaintext`, `-plaintext=true` | `--plaintext` |
//! | `-plaintext=false` | nothing: a switch is off unless given |
//! | `-use-reflection`, `-use-reflection=0` | `--use-reflection=true`, `--use-reflection=false` |
//! | `-max-time 5`, `-max-time=5` | `--max-time=5` |
//! | `-d '{}'`, `-d={}`, `-d -5` | `--data={}`, `--data=-5` |
//! | `-vv` | `--vv`: letters are never bundled |
//! | whatever follows `--` | itself |

use std::ffi::OsString;

/// What one flag is called and whether a value follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// The canonical long name, without dashes.
    pub(crate) long: String,
    /// Every other name, one letter or more, without dashes.
    pub(crate) aliases: Vec<String>,
    pub(crate) takes: Takes,
}

/// What follows a flag's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: off unless given.
    Nothing,
    /// Nothing or `=BOOL`: neither on nor off unless given.
    Boolean,
    /// `=VALUE` or the next argument, whatever it looks like.
    Value,
}

/// Rewrites arguments, without the program's name; what is not understood is left for clap to
/// refuse.
pub(crate) fn normalise(args: impl IntoIterator<Item = OsString>, flags: &[Flag]) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut normal = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            normal.push(arg);
            normal.extend(args);
            break;
        }
        let Some((name, value)) = arg.to_str().and_then(split) else {
            normal.push(arg);
            continue;
        };
        let flag = flags
            .iter()
            .find(|flag| flag.long == name || flag.aliases.iter().any(|alias| alias == name));
        let Some(flag) = flag else {
            let is_short = name.len() == 1 && !arg.to_string_lossy().starts_with("--");
            let mut long = OsString::from(if is_short { "-" } else { "--" });
            long.push(arg.to_string_lossy().trim_start_matches('-'));
            normal.push(long);
            continue;
        };
        let long = format!("--{}", flag.long);
        if flag.takes == Takes::Value {
            let mut joined = OsString::from(long);
            if let Some(value) = value.map(OsString::from).or_else(|| args.next()) {
                joined.push("=");
                joined.push(value);
            }
            normal.push(joined);
            continue;
        }
        match value.map_or(Some(true), boolean) {
            Some(on) if flag.takes == Takes::Boolean => normal.push(format!("{long}={on}").into()),
            Some(true) => normal.push(long.into()),
            Some(false) => {}
            None => normal.push(format!("{long}={}", value.unwrap_or_default()).into()),
        }
    }
    normal
}

/// Name and value of a flag; `None` for what is no flag, such as `-`, `-5` or `host:1`.
fn split(arg: &str) -> Option<(&str, Option<&str>)> {
    let bare = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    let (name, value) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (bare, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_name.then_some((name, value))
}

/// A boolean as Go's `strconv.ParseBool` reads it.
fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(line: &[&str]) -> Vec<String> {
        let flag = |long: &str, alias: &str, takes| Flag {
            long: long.to_owned(),
            aliases: vec![alias.to_owned()],
            takes,
        };
        let flags = [
            flag("plaintext", "", Takes::Nothing),
            flag("data", "d", Takes::Value),
            flag("header", "H", Takes::Value),
            flag("max-time", "", Takes::Value),
            flag("verbose", "v", Takes::Nothing),
            flag("vv", "", Takes::Nothing),
            flag("use-reflection", "", Takes::Boolean),
        ];
        normalise(line.iter().map(OsString::from), &flags)
            .into_iter()
            .map(|arg| arg.into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_grpcurl_line_becomes_double_dashed() {
        assert_eq!(
            normal(&[
                "call",
                "-plaintext",
                "-d",
                "{\"a\": 1}",
                "-H",
                "k: v",
                "-max-time",
                "5",
                "host:1",
                "a.B/C"
            ]),
            [
                "call",
                "--plaintext",
                "--data={\"a\": 1}",
                "--header=k: v",
                "--max-time=5",
                "host:1",
                "a.B/C"
            ]
        );
    }

    #[test]
    fn double_dashes_and_equal_signs_mean_the_same() {
        assert_eq!(
            normal(&["--plaintext", "--max-time", "5"]),
            ["--plaintext", "--max-time=5"]
        );
        assert_eq!(
            normal(&["-max-time=5", "-d={}"]),
            ["--max-time=5", "--data={}"]
        );
    }

    #[test]
    fn a_value_that_looks_like_a_flag_stays_a_value() {
        assert_eq!(normal(&["-d", "-plaintext"]), ["--data=-plaintext"]);
        assert_eq!(normal(&["-d", "-5"]), ["--data=-5"]);
        assert_eq!(normal(&["-d", "@"]), ["--data=@"]);
        assert_eq!(normal(&["-d", ""]), ["--data="]);
    }

    #[test]
    fn a_switch_takes_the_booleans_of_go() {
        assert_eq!(
            normal(&["-plaintext=true", "-plaintext=1"]),
            ["--plaintext", "--plaintext"]
        );
        assert_eq!(normal(&["-plaintext=false", "x"]), ["x"]);
        assert_eq!(normal(&["-plaintext=perhaps"]), ["--plaintext=perhaps"]);
    }

    #[test]
    fn a_boolean_never_takes_the_next_argument() {
        assert_eq!(
            normal(&["-use-reflection", "a:1"]),
            ["--use-reflection=true", "a:1"]
        );
        assert_eq!(normal(&["-use-reflection=0"]), ["--use-reflection=false"]);
        assert_eq!(normal(&["-use-reflection=so"]), ["--use-reflection=so"]);
    }

    #[test]
    fn letters_are_not_bundled() {
        assert_eq!(normal(&["-v", "-vv"]), ["--verbose", "--vv"]);
    }

    #[test]
    fn what_is_unknown_reaches_the_parser_as_a_long_flag() {
        assert_eq!(
            normal(&["-plantext", "-x", "--y=1"]),
            ["--plantext", "-x", "--y=1"]
        );
        assert_eq!(normal(&["-", "-5"]), ["-", "-5"]);
    }

    #[test]
    fn nothing_is_touched_after_two_dashes() {
        assert_eq!(
            normal(&["--", "-plaintext", "-d"]),
            ["--", "-plaintext", "-d"]
        );
    }

    #[test]
    fn a_missing_value_is_left_for_the_parser_to_name() {
        assert_eq!(normal(&["-max-time"]), ["--max-time"]);
    }
}

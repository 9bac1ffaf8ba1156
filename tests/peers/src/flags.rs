//! Flags as Go's programs take them: `-name=value`, `--name=value`, `--name value`, and a bare
//! name for a switch.

use crate::Failure;
use std::{collections::BTreeMap, str::FromStr};

/// The flags of a program.
#[derive(Debug)]
pub struct Flags(BTreeMap<String, String>);

// === impl Flags ===

impl Flags {
    /// Reads the command line.
    ///
    /// # Errors
    /// For a flag that is not in `known`, and for words that belong to none.
    pub fn read(known: &[&str]) -> Result<Self, Failure> {
        let mut flags = BTreeMap::new();
        let mut words = std::env::args().skip(1).peekable();
        while let Some(word) = words.next() {
            let flag = word
                .strip_prefix("--")
                .or_else(|| word.strip_prefix('-'))
                .ok_or_else(|| format!("{word} belongs to no flag"))?;
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => {
                    let value = words.next_if(|next| !next.starts_with('-'));
                    (flag, value.unwrap_or_else(|| "true".to_owned()))
                }
            };
            if !known.contains(&name) {
                return Err(format!("unknown flag {name}; known are {}", known.join(", ")).into());
            }
            flags.insert(name.to_owned(), value);
        }
        Ok(Self(flags))
    }

    /// The text of a flag that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        self.optional(name)
            .ok_or_else(|| format!("--{name} is missing").into())
    }

    /// The text of a flag, if it is there.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.optional(name) == Some("true")
    }

    /// The value of a flag, or its default.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn value<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failure> {
        match self.optional(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("--{name}={text} cannot be read").into()),
        }
    }
}
